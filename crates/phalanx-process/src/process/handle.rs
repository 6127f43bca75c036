//! The handle of a child process.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::Builder;
use super::family::Child;
use crate::error::{Error, ErrorKind, Result};
use crate::ready::Ready;
use crate::sys::Deadline;

/// How a process ended: 0 for a function that returned, 101 for one that panicked, what it gave to
/// `std::process::exit`, or a negative number for the signal that killed it, as in Python.
pub type ExitCode = i32;

/// A function that runs in another process, which is a child of this one.
///
/// A handle that is dropped leaves the process running. Before this process exits it waits for its children, and
/// ends those in the [background](Builder::background). When it is killed its children end within a second.
///
/// ```
/// use phalanx_process::Process;
///
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// assert_eq!(Process::spawn(square, 5)?.join()?, 25);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
#[must_use = "a process that nobody joins runs on; its result is lost"]
pub struct Process<R> {
    child: Arc<Child>,
    result: PhantomData<fn() -> R>,
}

impl Process<()> {
    /// A process with a name, or in the background.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl<R> Process<R> {
    pub(super) fn new(child: Arc<Child>) -> Self {
        Process { child, result: PhantomData }
    }

    /// Runs a function in a new process.
    ///
    /// It is a plain `fn`, or a closure that captures nothing: what a closure would capture is an argument. Several
    /// arguments are a tuple. Arguments and result are any serde values; queues, locks and other objects of this
    /// crate travel as handles.
    ///
    /// The child is this program again, started anew: no memory is copied, threads and locks of this process do not
    /// matter, and `main` is not run in it.
    ///
    /// ```
    /// use phalanx_process::Process;
    ///
    /// let power = Process::spawn(|(base, exponent): (u32, u32)| base.pow(exponent), (2, 10))?;
    /// assert_eq!(power.join()?, 1024);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Encode` when the arguments cannot be encoded, `Function` when the function is not part of the program itself,
    /// `System` when the system refuses a process.
    #[track_caller]
    pub fn spawn<A>(function: fn(A) -> R, arguments: A) -> Result<Process<R>>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        Builder::default().spawn(function, arguments)
    }

    pub(crate) fn child(&self) -> &Arc<Child> {
        &self.child
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.child.name
    }

    /// The process id of the system.
    pub fn pid(&self) -> u32 {
        self.child.pid
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        self.child.exit_code().is_none()
    }

    /// How it ended, if it has.
    pub fn exit_code(&self) -> Option<ExitCode> {
        self.child.exit_code()
    }

    /// Asks it to end, with SIGTERM. A process that has ended is left alone.
    ///
    /// # Errors
    /// `System` when the system refuses the signal.
    #[track_caller]
    pub fn terminate(&self) -> Result<()> {
        self.signal("terminate", Signal::TERM)
    }

    /// Ends it, with SIGKILL. What it did in shared memory is complete or did not happen; locks that it held are
    /// poisoned. A process that has ended is left alone.
    ///
    /// # Errors
    /// `System` when the system refuses the signal.
    #[track_caller]
    pub fn kill(&self) -> Result<()> {
        self.signal("kill", Signal::KILL)
    }

    #[track_caller]
    fn signal(&self, operation: &'static str, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        match self.child.signal(signal) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                Err(self.named(Error::new(ErrorKind::System, operation, error.to_string())))
            }
            _ => Ok(()),
        }
    }

    /// Waits until it has ended, however it ends, and says how; its result stays.
    ///
    /// ```
    /// use phalanx_process::Process;
    ///
    /// let process = Process::spawn(|()| loop { std::thread::park() }, ())?;
    /// process.kill()?;
    /// assert_eq!(process.wait(), -9);
    /// # let _: Result<(), _> = process.join();
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    pub fn wait(&self) -> ExitCode {
        self.child.wait(Deadline::NEVER);
        self.child.exit_code().unwrap_or_default()
    }

    /// [`wait`](Process::wait), for so long at most.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<ExitCode> {
        self.child.wait(Deadline::after(timeout));
        self.child.exit_code()
    }

    #[track_caller]
    fn named(&self, error: Error) -> Error {
        error
            .of(format_args!("process `{}` (pid {})", self.child.name, self.child.pid))
            .at(Location::caller())
    }
}

impl<R: DeserializeOwned + 'static> Process<R> {
    /// Waits until it has ended, and gives what its function returned.
    ///
    /// # Errors
    /// `Panicked` with message, place and backtrace when the function panicked; `Died` with the exit code when the
    /// process was killed or exited by itself; `Encode` or `Decode` when arguments or result could not travel.
    #[track_caller]
    pub fn join(self) -> Result<R> {
        self.child.wait(Deadline::NEVER);
        self.open("join")
    }

    /// [`join`](Process::join), for so long at most: `None` when the time is up, and the process goes on.
    ///
    /// # Errors
    /// As [`join`](Process::join); `State` when the result was taken already.
    #[track_caller]
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<Option<R>> {
        if self.child.wait(Deadline::after(timeout)) {
            self.open("join").map(Some)
        } else {
            Ok(None)
        }
    }

    /// The result, if the process has ended.
    ///
    /// # Errors
    /// As [`join`](Process::join); `State` when the result was taken already.
    #[track_caller]
    pub fn try_join(&mut self) -> Result<Option<R>> {
        self.join_timeout(Duration::ZERO)
    }

    #[track_caller]
    fn open(&self, operation: &'static str) -> Result<R> {
        // In a closure the caller would be this line.
        let outcome = match self.child.take_remains() {
            Some(remains) => remains.open(operation),
            None => Err(Error::new(ErrorKind::State, operation, "its result was taken already")),
        };
        match outcome {
            Ok(result) => Ok(result),
            Err(error) => Err(self.named(error)),
        }
    }

    /// Gives up the handle of a process that has ended.
    ///
    /// # Errors
    /// `State` while it runs.
    #[track_caller]
    pub fn close(self) -> Result<()> {
        if self.is_alive() {
            return Err(self.named(Error::new(
                ErrorKind::State,
                "close",
                "it is still running: join or kill it first",
            )));
        }
        Ok(())
    }
}

impl<R> Ready for Process<R> {
    fn is_ready(&self) -> bool {
        !self.is_alive()
    }

    /// The end of a child always wakes its parent.
    fn watch(&self, _process: u32) {}
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.exit_code() {
            None => "running".to_owned(),
            Some(code) => format!("ended with {code}"),
        };
        write!(f, "Process `{}` (pid {}, {state})", self.name(), self.pid())
    }
}

//! Processes with state: a type whose fields are the arguments.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::Builder;
use super::handle::Process;
use crate::error::{Error, ErrorKind, Result};

/// A process as a type: its fields are what it begins with, and `run` is what it does.
///
/// It is what a subclass of `multiprocessing.Process` is in Python.
///
/// ```
/// use phalanx_process::{Process, Worker};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Counter {
///     from: u64,
///     to: u64,
/// }
///
/// impl Worker for Counter {
///     type Output = u64;
///
///     fn run(self) -> u64 {
///         (self.from..=self.to).sum()
///     }
/// }
///
/// let counter = Process::builder().name("counter").start(Counter { from: 1, to: 100 })?;
/// assert_eq!(counter.join()?, 5050);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub trait Worker: Serialize + DeserializeOwned + 'static {
    /// What it gives when it ends.
    type Output: Serialize + DeserializeOwned + 'static;

    /// Runs in the new process.
    fn run(self) -> Self::Output;
}

impl Builder {
    /// Starts a [`Worker`] in a new process.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    #[track_caller]
    pub fn start<W: Worker>(self, worker: W) -> Result<Process<W::Output>> {
        self.spawn(W::run, worker)
    }

    /// Starts a [`Worker`], and starts it again, from the same state, when it dies or panics: so often at most.
    ///
    /// ```
    /// use phalanx_process::{Process, Queue, Worker};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Clone, Serialize, Deserialize)]
    /// struct Unlucky {
    ///     starts: Queue<u32>,
    /// }
    ///
    /// impl Worker for Unlucky {
    ///     type Output = usize;
    ///
    ///     fn run(self) -> usize {
    ///         self.starts.put(std::process::id()).expect("it is open");
    ///         if self.starts.len() < 3 {
    ///             std::process::abort();
    ///         }
    ///         self.starts.len()
    ///     }
    /// }
    ///
    /// let worker = Process::builder().name("unlucky").supervise(Unlucky { starts: Queue::new()? }, 5)?;
    /// assert_eq!(worker.join()?, 3);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Process::spawn`], for the first start.
    #[track_caller]
    pub fn supervise<W: Worker + Clone + Send>(
        self,
        worker: W,
        restarts: u32,
    ) -> Result<Supervised<W::Output>>
    where
        W::Output: Send,
    {
        let location = Location::caller();
        let first = self.clone().start(worker.clone())?;
        let state = Arc::new(Mutex::new(State { pid: first.pid(), restarts: 0, stopped: false }));
        let watched = state.clone();
        let run = move || -> Result<W::Output> {
            let mut process = first;
            loop {
                process.wait();
                let mut now = lock(&watched);
                match process.join() {
                    Ok(output) => return Ok(output),
                    Err(error) if now.stopped || now.restarts == restarts => return Err(error),
                    // What cannot travel will not travel the next time.
                    Err(error)
                        if !matches!(error.kind(), ErrorKind::Died | ErrorKind::Panicked) =>
                    {
                        return Err(error);
                    }
                    Err(_) => {}
                }
                process = self.clone().start(worker.clone()).map_err(|error| error.at(location))?;
                now.restarts += 1;
                now.pid = process.pid();
            }
        };
        let thread =
            std::thread::Builder::new().name("phalanx-supervisor".to_owned()).spawn(run).map_err(
                |error| Error::new(ErrorKind::System, "supervise", error.to_string()).at(location),
            )?;
        Ok(Supervised { state, thread })
    }
}

/// A worker that is started again when it dies; see [`Builder::supervise`].
pub struct Supervised<R> {
    state: Arc<Mutex<State>>,
    thread: JoinHandle<Result<R>>,
}

struct State {
    pid: u32,
    restarts: u32,
    stopped: bool,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R> Supervised<R> {
    /// The process id of the one that runs now, or ran last.
    pub fn pid(&self) -> u32 {
        lock(&self.state).pid
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u32 {
        lock(&self.state).restarts
    }

    /// It is not started again.
    pub fn stop(&self) {
        lock(&self.state).stopped = true;
    }

    /// Waits until it returns, or dies once too often.
    ///
    /// # Errors
    /// The error of its last end; as [`Process::join`].
    pub fn join(self) -> Result<R> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl<R> fmt::Debug for Supervised<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supervised (pid {}, {} restarts)", self.pid(), self.restarts())
    }
}

//! Arguments of the program, read by all ranks and talked about by one.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::{launch, leaving};
use crate::raw;

/// Runs `f`, which reads the arguments of the program, so that people see its help and its complaints once:
/// what the other ranks print meanwhile is discarded.
///
/// Every rank calls it, before [`run`](crate::run) or in it. A parser that leaves the process
/// inside of it, as `clap` does after `--help` and after wrong arguments, ends all ranks without a report and
/// with its exit code. So what `f` does follows from the arguments alone.
///
/// ```
/// use phalanx::prelude::*;
///
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// // With clap: phalanx::parse_arguments(Args::parse)
/// let steps: u32 = phalanx::parse_arguments(|| {
///     let text = std::env::args().nth(1).unwrap_or("100".to_owned());
///     text.parse().unwrap_or_else(|error| {
///         eprintln!("the number of steps: {error}"); // once, on however many ranks
///         std::process::exit(2)
///     })
/// });
/// assert_eq!(world.allreduce(&steps, Max)?, steps);
/// # Ok(())
/// # });
/// ```
pub fn parse_arguments<A>(f: impl FnOnce() -> A) -> A {
    let _parsing = Parsing::begin();
    f()
}

/// While this exists, arguments are read. In the ranks that are not to speak, standard output and standard error
/// lead nowhere.
struct Parsing {
    quiet: Option<[Redirected; 2]>,
}

impl Parsing {
    fn begin() -> Self {
        leaving::set_parsing(true);
        let speaks = match super::world() {
            Some(world) => world.rank() == 0,
            None if raw::state::is_running() => true,
            None => launch::is_first_process(),
        };
        // A rank that cannot be made quiet says it once more.
        let quiet = if speaks { None } else { redirect_both().ok() };
        Parsing { quiet }
    }
}

impl Drop for Parsing {
    fn drop(&mut self) {
        self.quiet = None;
        leaving::set_parsing(false);
    }
}

fn redirect_both() -> io::Result<[Redirected; 2]> {
    // What was printed before is not lost.
    io::stdout().flush()?;
    Ok([Redirected::new(libc::STDOUT_FILENO)?, Redirected::new(libc::STDERR_FILENO)?])
}

/// A stream of the process that leads nowhere until this is dropped.
struct Redirected {
    stream: RawFd,
    before: OwnedFd,
}

impl Redirected {
    fn new(stream: RawFd) -> io::Result<Self> {
        let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
        // SAFETY: the stream is open or the call fails.
        let copy = unsafe { libc::fcntl(stream, libc::F_DUPFD_CLOEXEC, 3) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else owns it.
        let before = unsafe { OwnedFd::from_raw_fd(copy) };
        // SAFETY: both descriptors are open; the stream stays a valid descriptor.
        if unsafe { libc::dup2(nowhere.as_raw_fd(), stream) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Redirected { stream, before })
    }
}

impl Drop for Redirected {
    fn drop(&mut self) {
        if self.stream == libc::STDOUT_FILENO {
            // What the parser has printed goes where it was to go: nowhere.
            let _ = io::stdout().flush();
        }
        // SAFETY: both descriptors are open.
        unsafe { libc::dup2(self.before.as_raw_fd(), self.stream) };
    }
}

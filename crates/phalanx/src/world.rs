//! The life of a program: start, ranks, end, and what happens when a rank fails.

pub(crate) mod failure;
mod farewell;
mod launch;
mod node;
mod outcome;

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

pub(crate) use failure::{FailureKind, set_failure_observer};
pub use outcome::Outcome;

use crate::comm::{self, Comm};
use crate::error::{Error, ErrorKind, Result};
use crate::raw;
pub use crate::raw::state::Threading;
use crate::record::{Call, INIT, WTIME};
use crate::watch;

struct Communicators {
    world: Comm,
    itself: Comm,
}

/// Ends the job from a place that cannot return an error.
pub(crate) fn end_job(message: String) -> ! {
    failure::end_job(FailureKind::Error, message)
}

static COMMUNICATORS: Mutex<Option<Communicators>> = Mutex::new(None);

/// Runs `f` on every rank, with MPI initialised before and finalized after it.
///
/// A panic in `f`, or an `Err` from it, on any rank ends all ranks: one report on stderr says which
/// rank, on which host, what and where, and the job's exit code is not zero (101 after a panic, 1
/// after an error). No rank is left waiting for the one that failed.
///
/// `f` returns nothing, a `Result`, or an [`ExitCode`]. Without a launcher there is one rank.
///
/// A panic that the program catches itself is not printed: what runs under `run` reports the panics
/// that end it.
///
/// MPI: `MPI_Init_thread`, `MPI_Finalize`, `MPI_Abort`; MPI-4.1 sections 11.2 and 9.7.
///
/// ```
/// use phalanx::prelude::*;
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     phalanx::run(|world| -> phalanx::Result<()> {
///         let total = world.allreduce(&1, Sum)?;
///         assert_eq!(total as usize, world.size());
///         Ok(())
///     })
/// }
/// ```
#[track_caller]
pub fn run<R: Outcome>(f: impl FnOnce(Comm) -> R) -> ExitCode {
    run_with(Threading::Funneled, f)
}

/// [`run`] with a thread level: how many threads may make MPI calls.
///
/// ```
/// use phalanx::{Threading, prelude::*};
///
/// phalanx::run_with(Threading::Multiple, |world| {
///     std::thread::scope(|scope| {
///         scope.spawn(|| world.barrier().expect("any thread may call"));
///     });
/// });
/// ```
#[track_caller]
pub fn run_with<R: Outcome>(level: Threading, f: impl FnOnce(Comm) -> R) -> ExitCode {
    let location = Location::caller();
    failure::install_hook();
    let session = match start(level, location) {
        Ok(session) => session,
        Err(error) => failure::end_before_start(&error),
    };
    let world = session.world.clone();
    let result = catch_unwind(AssertUnwindSafe(|| f(world).into_result()));
    let code = match result {
        Ok(Ok(code)) => code,
        Ok(Err(message)) => failure::end_job(FailureKind::Error, message),
        Err(panic) => failure::end_job(FailureKind::Panic, failure::panic_text(&*panic)),
    };
    if let Err(error) = session.finish(location) {
        failure::end_job(FailureKind::Error, error.to_string());
    }
    code
}

/// MPI, initialised by [`init`]. Ends with [`finalize`](Session::finalize).
///
/// Dropping it ends the whole job with an error: whoever leaves `main` early, with `?` or a panic,
/// must not leave other ranks waiting.
#[must_use = "dropping the session ends the job"]
#[derive(Debug)]
pub struct Session {
    world: Comm,
    ours: bool,
    finalized: bool,
}

/// Initialises MPI, for programs to which [`run`] does not fit.
///
/// If another library of the process has initialised MPI already, its MPI is used and stays its own
/// to finalize.
///
/// # Errors
/// [`Launch`](ErrorKind::Launch) if the program was started by the launcher of another MPI,
/// [`Unsupported`](ErrorKind::Unsupported) if the thread level is not granted,
/// [`State`](ErrorKind::State) if MPI was finalized or Phalanx runs already.
///
/// MPI: `MPI_Init_thread`, MPI-4.1 section 11.2.1.
///
/// ```
/// use phalanx::{Threading, prelude::*};
///
/// # fn main() -> phalanx::Result<()> {
/// let session = phalanx::init(Threading::Funneled)?;
/// session.world().barrier()?;
/// session.finalize()
/// # }
/// ```
#[track_caller]
pub fn init(level: Threading) -> Result<Session> {
    failure::install_hook();
    start(level, Location::caller())
}

fn start(level: Threading, location: &'static Location<'static>) -> Result<Session> {
    let call = Call::local(&INIT, location);
    if lock().is_some() {
        return Err(Error::new(ErrorKind::State, &call, "Phalanx runs already in this process"));
    }
    launch::refuse_before_start(&call)?;
    let ours = raw::world::init(level, location)?;
    let world_call = Call::local(&INIT, location);
    let (_, size) = raw::comm::rank_and_size(&world_call, raw::comm::world())?;
    launch::refuse_mismatch(&call, size)?;
    comm::set_tag_upper_bound(raw::comm::tag_upper_bound(&call)?);
    let world = raw::comm::dup(&call, raw::comm::world())?;
    raw::comm::return_errors(&call, world)?;
    agree_on_watch(&call, world)?;
    let world = Comm::adopt(&INIT, world, "world".to_owned(), location)?;
    let itself = raw::comm::dup(&call, raw::comm::itself())?;
    let itself = Comm::adopt(&INIT, itself, "self".to_owned(), location)?;
    failure::set_rank(world.rank(), world.size());
    node::prepare(&world, location)?;
    // A guest's MPI may live longer than this, and its owner may end it when the process exits.
    if ours {
        failure::watch_exit();
    }
    *lock() = Some(Communicators { world: world.clone(), itself });
    Ok(Session { world, ours, finalized: false })
}

/// How much is watched must be the same on all ranks: what strict mode sends, others must receive.
fn agree_on_watch(call: &Call<'_>, world: phalanx_sys::MPI_Comm) -> Result<()> {
    /// More than any mode: a rank whose settings make no sense. All ranks hear of it, and none waits.
    const INVALID: u64 = 100;
    let settings = watch::settings();
    let mine = settings.as_ref().map_or(INVALID, |settings| settings.wanted as u64);
    let agreed = raw::comm::largest(call, world, mine)?;
    if let Err(detail) = settings {
        return Err(Error::new(ErrorKind::Unsupported, call, detail));
    }
    if agreed == INVALID {
        let detail = "another rank was started with settings of the watch that make no sense";
        return Err(Error::new(ErrorKind::Unsupported, call, detail));
    }
    watch::agree_on(agreed);
    if watch::mode() == watch::Mode::Strict {
        raw::strict::turn_on();
    }
    Ok(())
}

fn lock() -> std::sync::MutexGuard<'static, Option<Communicators>> {
    COMMUNICATORS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// All ranks.
    pub fn world(&self) -> &Comm {
        &self.world
    }

    /// Finalizes MPI. Collective: every rank calls it.
    ///
    /// Says on stderr which requests were never completed and which messages never received, with the
    /// lines that made them; in strict mode (`PHALANX_WATCH=strict`) also which requests nobody waited
    /// for and which communicators were not freed.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Finalize`, MPI-4.1 section 11.2.2.
    #[track_caller]
    pub fn finalize(self) -> Result<()> {
        self.finish(Location::caller())
    }

    fn finish(mut self, location: &'static Location<'static>) -> Result<()> {
        *lock() = None;
        // A rank that never comes here is told of by the watch.
        let farewell = farewell::say(&self.world, location);
        let result = if self.ours {
            farewell.and_then(|()| raw::world::finalize(location))
        } else {
            raw::state::set_left();
            farewell
        };
        if result.is_ok() {
            watch::finalized();
        }
        watch::stop();
        self.finalized = true;
        result
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.finalized {
            let message = if std::thread::panicking() {
                failure::end_job(FailureKind::Panic, String::new());
            } else {
                "the session was dropped before `finalize`".to_owned()
            };
            failure::end_job(FailureKind::Error, message);
        }
    }
}

/// The communicator of all ranks, or `None` while MPI does not run.
///
/// ```
/// # phalanx::run(|world| {
/// assert_eq!(phalanx::world().map(|comm| comm.size()), Some(world.size()));
/// # });
/// ```
pub fn world() -> Option<Comm> {
    lock().as_ref().map(|communicators| communicators.world.clone())
}

/// The communicator of this process alone, or `None` while MPI does not run.
///
/// ```
/// # phalanx::run(|_| assert_eq!(phalanx::self_().map(|comm| comm.size()), Some(1)));
/// ```
pub fn self_() -> Option<Comm> {
    lock().as_ref().map(|communicators| communicators.itself.clone())
}

/// Seconds since some moment in the past, from the clock that MPI recommends for timing.
///
/// # Panics
/// If MPI is not running.
///
/// MPI: `MPI_Wtime`, MPI-4.1 section 9.6.
///
/// ```
/// # phalanx::run(|world| {
/// let start = phalanx::wtime();
/// // … work …
/// let seconds = phalanx::wtime() - start;
/// assert!(seconds >= 0.0);
/// # let _ = world;
/// # });
/// ```
#[track_caller]
pub fn wtime() -> f64 {
    let call = Call::local(&WTIME, Location::caller());
    assert!(raw::state::is_running(), "{}", Error::new(ErrorKind::State, &call, ""));
    raw::world::wtime()
}

/// The name of the machine this rank runs on.
///
/// # Errors
/// If MPI is not running.
///
/// MPI: `MPI_Get_processor_name`, MPI-4.1 section 9.1.2.
///
/// ```
/// # phalanx::run(|_| -> phalanx::Result<()> {
/// assert!(!phalanx::processor_name()?.is_empty());
/// # Ok(())
/// # });
/// ```
#[track_caller]
pub fn processor_name() -> Result<String> {
    raw::world::processor_name(Location::caller())
}

/// The version of the MPI standard that the library implements, as (major, minor). Works at any time.
///
/// # Errors
/// What the MPI library reports.
///
/// MPI: `MPI_Get_version`, MPI-4.1 section 9.1.1.
///
/// ```
/// assert!(phalanx::mpi_version()? >= (3, 0));
/// # Ok::<(), phalanx::Error>(())
/// ```
#[track_caller]
pub fn mpi_version() -> Result<(u32, u32)> {
    raw::world::version(Location::caller())
}

/// The name and version of the MPI library, in its own words. Works at any time.
///
/// # Errors
/// What the MPI library reports.
///
/// MPI: `MPI_Get_library_version`, MPI-4.1 section 9.1.1.
///
/// ```
/// println!("{}", phalanx::library_version()?);
/// # Ok::<(), phalanx::Error>(())
/// ```
#[track_caller]
pub fn library_version() -> Result<String> {
    raw::world::library_version(Location::caller())
}

/// The thread level that the MPI library granted.
///
/// MPI: `MPI_Query_thread`, MPI-4.1 section 11.2.1.
///
/// ```
/// use phalanx::Threading;
/// # phalanx::run(|_| assert!(phalanx::threading() >= Threading::Funneled));
/// ```
pub fn threading() -> Threading {
    raw::state::level()
}

impl Comm {
    /// The communicator of this process alone.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) if MPI does not run any more.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// assert_eq!(world.self_comm()?.size(), 1);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn self_comm(&self) -> Result<Comm> {
        let call = self.call(&INIT, Location::caller());
        self_().ok_or_else(|| Error::new(ErrorKind::State, &call, "MPI does not run"))
    }

    /// Ends all ranks of the job at once, with one report on stderr and this exit code.
    ///
    /// MPI: `MPI_Abort`, MPI-4.1 section 9.7.
    ///
    /// ```
    /// # phalanx::run(|world| {
    /// if world.size() > 64 {
    ///     world.abort(3, "the input has work for 64 ranks at most");
    /// }
    /// # });
    /// ```
    pub fn abort(&self, code: i32, message: &str) -> ! {
        failure::end_job_with(FailureKind::Error, message.to_owned(), code)
    }
}

//! The life of a program: start, ranks, end, and what happens when a rank fails.

mod arguments;
pub(crate) mod failure;
mod launch;
mod leaks;
mod leaving;
mod nested;
mod node;
mod outcome;
mod panics;
mod totals;

use std::any::Any;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::Duration;

pub use arguments::parse_arguments;
pub(crate) use failure::{FailureKind, set_failure_observer};
pub use outcome::Outcome;

use crate::comm::{self, Comm};
use crate::error::{Error, ErrorKind, Result};
use crate::raw;
pub use crate::raw::state::Threading;
use crate::record::{self, Call, FINALIZE, INIT, WTIME};
use crate::{request, watch};

struct Communicators {
    world: Comm,
    itself: Comm,
    /// Whether MPI is this library's to finalize.
    ours: bool,
}

/// Ends the job from a place that cannot return an error.
pub(crate) fn end_job(message: String) -> ! {
    failure::end_job(FailureKind::Error, message)
}

/// The same because of a panic that was caught, and that nobody waits for.
pub(crate) fn end_job_by_panic(panic: &(dyn Any + Send)) -> ! {
    failure::end_job(FailureKind::Panic, panics::panic_text(panic))
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
/// Arguments of the program are read with [`parse_arguments`], before `run` or in `f`. A rank that leaves by
/// [`exit(0)`](std::process::exit) before its first call of this library has nothing to do, which is no
/// failure; who leaves later, or with another code, ends the job with a report.
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
    panics::install_hook();
    let session = match start(level, location) {
        Ok(session) => session,
        Err(error) => failure::end_before_start(&error),
    };
    let world = session.world.clone();
    let result = catch_unwind(AssertUnwindSafe(|| f(world).into_result()));
    let code = match result {
        Ok(Ok(code)) => code,
        Ok(Err(message)) => failure::end_job(FailureKind::Error, message),
        Err(panic) => end_job_by_panic(&*panic),
    };
    if let Err(error) = session.finish(location) {
        failure::end_job(FailureKind::Error, error.to_string());
    }
    code
}

/// MPI, initialised by [`init`]. Ends with [`finalize`](Session::finalize).
///
/// Dropping it before that ends the whole job with an error: whoever leaves `main` early, with `?` or a
/// panic, must not leave other ranks waiting.
#[must_use = "dropping the session ends the job"]
#[derive(Debug)]
pub struct Session {
    world: Comm,
    ours: bool,
    finalized: AtomicBool,
    /// Why it could not be finalized.
    refused: Mutex<Option<String>>,
}

/// Initialises MPI, for programs to which [`run`] does not fit.
///
/// If another library of the process has initialised MPI already, its MPI is used and stays its own
/// to finalize.
///
/// # Errors
/// [`Launch`](ErrorKind::Launch) if the program was started by the launcher of another MPI,
/// [`Unsupported`](ErrorKind::Unsupported) if the thread level is not granted,
/// [`State`](ErrorKind::State) if MPI was finalized, or Phalanx runs already or is being started by another
/// thread. Where one rank cannot start, all ranks get an error that names the rank and says why.
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
    panics::install_hook();
    start(level, Location::caller())
}

/// While this exists, no other thread can start MPI.
struct Starting(());

impl Starting {
    fn begin(call: &Call<'_>) -> Result<Self> {
        if BEGUN.swap(true, Ordering::Acquire) {
            let detail = "another thread is starting Phalanx at this moment";
            return Err(Error::new(ErrorKind::State, call, detail));
        }
        Ok(Starting(()))
    }
}

static BEGUN: AtomicBool = AtomicBool::new(false);

impl Drop for Starting {
    fn drop(&mut self) {
        BEGUN.store(false, Ordering::Release);
    }
}

fn start(level: Threading, location: &'static Location<'static>) -> Result<Session> {
    let call = Call::local(&INIT, location);
    let _starting = Starting::begin(&call)?;
    if lock().is_some() {
        return Err(Error::new(ErrorKind::State, &call, "Phalanx runs already in this process"));
    }
    nested::refuse_inside_a_rank(&call)?;
    launch::refuse_before_start(&call)?;
    let raw::world::Started { ours, problem } = raw::world::init(level, location)?;
    // From here on other ranks may wait for this one. A guest's MPI may live longer than this, and its owner
    // may end it when the process exits.
    if ours {
        leaving::watch_exit();
    }
    panics::watch_abort();
    let (rank, size) = raw::comm::rank_and_size(&call, raw::comm::world())?;
    failure::set_rank(rank, size);
    raw::world::set_ranks(size);
    launch::refuse_mismatch(&call, size)?;
    comm::set_tag_upper_bound(raw::comm::tag_upper_bound(&call)?);
    let world = raw::comm::dup(&call, raw::comm::world())?;
    raw::comm::return_errors(&call, world)?;
    // What can go wrong on one rank alone is known before the ranks begin to work together.
    let (waiting, unclear) = match node::wanted_waiting(&call) {
        Ok(waiting) => (waiting, None),
        Err(error) => (None, Some(error)),
    };
    let problem = problem.or_else(|| wrong_settings(&call)).or(unclear);
    agree_to_start(&call, world, rank, problem)?;
    agree_on_watch(&call, world)?;
    let world = Comm::adopt(&INIT, world, "world".to_owned(), location)?;
    let itself = raw::comm::dup(&call, raw::comm::itself())?;
    let itself = Comm::adopt(&INIT, itself, "self".to_owned(), location)?;
    node::prepare(&world, waiting)?;
    failure::set_speaker(None);
    leaving::started();
    *lock() = Some(Communicators { world: world.clone(), itself, ours });
    Ok(Session { world, ours, finalized: AtomicBool::new(false), refused: Mutex::new(None) })
}

fn wrong_settings(call: &Call<'_>) -> Option<Error> {
    let detail = watch::settings().err()?;
    Some(Error::new(ErrorKind::Setting, call, detail))
}

/// Lets all ranks hear whether one of them cannot start, so that nobody waits for it. The lowest of these
/// says why.
fn agree_to_start(
    call: &Call<'_>,
    world: phalanx_sys::MPI_Comm,
    rank: usize,
    problem: Option<Error>,
) -> Result<()> {
    const LONGEST: usize = 1024;
    let code = |rank: usize| u64::from(u32::MAX) - rank as u64;
    let mine = if problem.is_some() { code(rank) } else { 0 };
    let agreed = raw::comm::largest(call, world, mine)?;
    if agreed == 0 {
        return Ok(());
    }
    let first = (u64::from(u32::MAX) - agreed) as usize;
    let mut text = [0; LONGEST];
    if let Some(problem) = &problem {
        let detail = problem.detail().as_bytes();
        let length = detail.len().min(LONGEST - 1);
        text[0] = u8::from(problem.kind() == ErrorKind::Setting);
        text[1..=length].copy_from_slice(&detail[..length]);
    }
    raw::comm::bcast_bytes(call, world, first, &mut text)?;
    failure::set_speaker(Some(rank == first));
    Err(problem.unwrap_or_else(|| {
        let (kind, why) = text.split_at(1);
        let length = why.iter().position(|&byte| byte == 0).unwrap_or(why.len());
        let why = String::from_utf8_lossy(&why[..length]);
        let detail = format!("rank {first} cannot start, so no rank does: {why}");
        let kind = if kind == [1] { ErrorKind::Setting } else { ErrorKind::Unsupported };
        Error::new(kind, call, detail)
    }))
}

/// How much is watched must be the same on all ranks: what strict mode sends, others must receive.
fn agree_on_watch(call: &Call<'_>, world: phalanx_sys::MPI_Comm) -> Result<()> {
    let mine = watch::settings().map_or(0, |settings| settings.wanted as u64);
    watch::agree_on(raw::comm::largest(call, world, mine)?);
    // Where several threads receive, nobody knows which of them was first.
    let one_thread = raw::state::level() <= Threading::Funneled;
    let without_types = !one_thread || !watch::settings().is_ok_and(|settings| settings.types);
    let without_types = raw::comm::largest(call, world, u64::from(without_types))?;
    watch::agree_on_types(without_types == 0);
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

    /// Finalizes MPI. Collective: every rank calls it, on the thread that initialised MPI.
    ///
    /// Other threads that are inside an MPI call are waited for, for five seconds; from the moment
    /// at which this is called they cannot make new ones.
    ///
    /// Says on stderr which requests were never completed, which messages never received and which
    /// collective calls not made by all, with the lines that made them; in strict mode (`PHALANX_WATCH=strict`) also which requests nobody waited
    /// for and which communicators were not freed.
    ///
    /// # Errors
    /// [`Thread`](ErrorKind::Thread) on another thread than the one that initialised MPI;
    /// [`InUse`](ErrorKind::InUse) if other threads stay inside MPI calls, with the lines of these;
    /// [`State`](ErrorKind::State) if it was finalized already; what the MPI library reports. After an
    /// error MPI runs as before, and the session may be finalized later.
    ///
    /// MPI: `MPI_Finalize`, MPI-4.1 section 11.2.2.
    ///
    /// ```
    /// use phalanx::{Threading, prelude::*};
    ///
    /// # fn main() -> phalanx::Result<()> {
    /// let session = phalanx::init(Threading::Multiple)?;
    /// let elsewhere = std::thread::scope(|scope| {
    ///     scope.spawn(|| session.finalize()).join().expect("no panic")
    /// });
    /// assert!(elsewhere.is_err_and(|error| error.is_thread())); // and nothing has happened
    /// session.world().barrier()?;
    /// session.finalize()
    /// # }
    /// ```
    #[track_caller]
    pub fn finalize(&self) -> Result<()> {
        self.finish(Location::caller())
    }

    fn finish(&self, location: &'static Location<'static>) -> Result<()> {
        let call = Call::local(&FINALIZE, location);
        if self.finalized.load(Ordering::Acquire) {
            let detail = "this session is finalized already";
            return Err(Error::new(ErrorKind::State, &call, detail));
        }
        let result = leave(&call, &self.world, self.ours);
        match &result {
            Ok(()) => self.finalized.store(true, Ordering::Release),
            Err(error) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(error.to_string());
            }
        }
        result
    }
}

/// How long finalize waits for calls of other threads.
const OTHERS_LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Ends MPI, or leaves one that is a guest's. What is refused has no effect.
fn leave(call: &Call<'_>, world: &Comm, ours: bool) -> Result<()> {
    raw::state::check_thread(call)?;
    if ours {
        raw::world::check_main_thread(call)?;
    }
    let alone = raw::state::close_to_others(call, OTHERS_LEAVE_WITHIN)?;
    // A rank that never comes here is told of by the watch.
    leaks::report(world, call.location)?;
    // Of a reduction that has not completed.
    if let Some(panic) = raw::op::unheard_panic() {
        end_job_by_panic(&*panic);
    }
    let communicators = lock().take();
    if ours {
        if let Err(error) = raw::world::finalize(call.location) {
            *lock() = communicators;
            return Err(error);
        }
    } else {
        raw::state::set_left();
    }
    drop(alone);
    watch::finalized();
    watch::stop();
    Ok(())
}

/// Ends MPI when the process leaves by `exit` and has communicated nothing. Returns whether it could.
fn leave_at_exit() -> bool {
    let communicators = match COMMUNICATORS.try_lock() {
        Ok(communicators) => communicators,
        Err(TryLockError::Poisoned(communicators)) => communicators.into_inner(),
        Err(TryLockError::WouldBlock) => return false,
    };
    let Some((world, ours)) = communicators.as_ref().map(|it| (it.world.clone(), it.ours)) else {
        return false;
    };
    drop(communicators);
    leave(&Call::local(&FINALIZE, Location::caller()), &world, ours).is_ok()
}

impl Drop for Session {
    fn drop(&mut self) {
        if *self.finalized.get_mut() {
            return;
        }
        if std::thread::panicking() {
            failure::end_job(FailureKind::Panic, String::new());
        }
        let refused = self.refused.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let message = match refused {
            None => "the session was dropped before `finalize`".to_owned(),
            Some(error) => {
                format!("the session was dropped although `finalize` had failed: {error}")
            }
        };
        failure::end_job(FailureKind::Error, message);
    }
}

/// What calls leave behind on this rank that belongs to no communicator.
pub(crate) fn traces() -> String {
    let (mut requests, lanes, calls) = (0, record::lanes().len(), record::calls());
    record::for_each(|_, _| requests += 1);
    let (orphans, handles) = (request::orphans(), raw::later::waiting());
    let comms = record::known_comms().len();
    format!(
        "{lanes} lanes, {calls} calls; {requests} requests, {orphans} dropped; {comms} communicators, \
         {} reductions, {handles} handles",
        raw::op::in_use()
    )
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
    assert!(
        raw::state::is_running(),
        "{}",
        Error::new(ErrorKind::State, &call, "MPI is not running")
    );
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

/// # The process itself and the end of the job
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

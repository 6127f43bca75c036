//! Start and end of MPI, and what it says of itself.

use std::mem;
use std::os::raw::{c_char, c_int};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mpi::environment::Threading as RsmpiThreading;
use phalanx_sys as ffi;

use super::comm;
use super::state::{self, Threading};
use super::{SUCCESS, gate, gate_as, string_from, transports, ungated};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{
    ABORT, Call, FINALIZE, INIT, Kind, LIBRARY_VERSION, PROCESSOR_NAME, VERSION, What, no_name,
};

pub(crate) fn is_finalized() -> bool {
    let mut flag = 0;
    // SAFETY: MPI_Finalized may be called at any time and from any thread.
    unsafe { ffi::MPI_Finalized(&mut flag) == SUCCESS && flag != 0 }
}

/// Whether this library has initialised MPI, and so finalizes it.
static OURS: AtomicBool = AtomicBool::new(false);

static RANKS: AtomicUsize = AtomicUsize::new(0);

/// Says how many ranks the world has.
pub(crate) fn set_ranks(ranks: usize) {
    RANKS.store(ranks, Ordering::Relaxed);
}

/// Whether the program runs on one rank.
pub(crate) fn is_alone() -> bool {
    RANKS.load(Ordering::Relaxed) == 1
}

/// MPI as it was started.
pub(crate) struct Started {
    /// Whether this library did it: a guest may have been first.
    pub ours: bool,
    /// Why this rank cannot go on. The others have to hear of it, and MPI runs.
    pub problem: Option<Error>,
}

/// Initialises MPI through rsmpi, so that its derive works in the same program.
pub(crate) fn init(level: Threading, location: &'static Location<'static>) -> Result<Started> {
    let call = Call::local(&INIT, location);
    if is_finalized() {
        return Err(Error::new(
            ErrorKind::State,
            &call,
            "MPI is finalized, and it cannot be started twice in one process",
        ));
    }
    let wanted = match level {
        Threading::Single => RsmpiThreading::Single,
        Threading::Funneled => RsmpiThreading::Funneled,
        Threading::Serialized => RsmpiThreading::Serialized,
        Threading::Multiple => RsmpiThreading::Multiple,
    };
    transports::keep_within_buffers()
        .map_err(|detail| Error::new(ErrorKind::State, &call, detail))?;
    let ours = match mpi::initialize_with_threading(wanted) {
        // Its drop would finalize while a panic unwinds, and look at no return code.
        Some((universe, _)) => {
            mem::forget(universe);
            OURS.store(true, Ordering::Relaxed);
            true
        }
        // An earlier `init` that failed later on has left MPI running.
        None => OURS.load(Ordering::Relaxed),
    };
    let mut provided = 0;
    // SAFETY: MPI is initialised and the result is writable.
    ungated(&call, || unsafe { ffi::MPI_Query_thread(&mut provided) })?;
    let mut main = 0;
    // SAFETY: as above.
    ungated(&call, || unsafe { ffi::MPI_Is_thread_main(&mut main) })?;
    let granted = level_from(provided);
    if main == 0 && granted <= Threading::Funneled {
        return Err(Error::new(
            ErrorKind::Thread,
            &call,
            "MPI was initialised by another thread at a level that allows no other",
        ));
    }
    state::set_running(granted);
    // A guest may count on errors that end the program.
    if ours {
        for communicator in [comm::world(), comm::itself()] {
            comm::return_errors(&call, communicator)?;
        }
    }
    // A guest that chose Single has one thread, which is what Funneled needs.
    let enough = granted >= level || (!ours && level <= Threading::Funneled);
    let problem = (!enough).then(|| {
        let detail = format!("the level {level:?} was asked for, this MPI grants {granted:?}");
        Error::new(ErrorKind::Unsupported, &call, detail)
    });
    Ok(Started { ours, problem })
}

/// Whether this thread is the one that has to finalize MPI (MPI-4.1, section 11.2.2).
pub(crate) fn check_main_thread(call: &Call<'_>) -> Result<()> {
    let mut main = 0;
    // SAFETY: MPI is initialised, and the result is writable. Every thread may ask.
    ungated(call, || unsafe { ffi::MPI_Is_thread_main(&mut main) })?;
    if main != 0 {
        return Ok(());
    }
    let detail = "MPI is finalized by the thread that initialised it: call it there, when the other \
                  threads are through";
    Err(Error::new(ErrorKind::Thread, call, detail))
}

fn level_from(provided: c_int) -> Threading {
    // SAFETY: reading constants of the C library.
    let levels = unsafe {
        [
            (ffi::RSMPI_THREAD_MULTIPLE, Threading::Multiple),
            (ffi::RSMPI_THREAD_SERIALIZED, Threading::Serialized),
            (ffi::RSMPI_THREAD_FUNNELED, Threading::Funneled),
        ]
    };
    levels
        .into_iter()
        .find(|(code, _)| *code == provided)
        .map_or(Threading::Single, |(_, level)| level)
}

/// Waits until all members have come to the end of their programs.
pub(crate) fn barrier_at_end(call: &Call<'_>) -> Result<()> {
    let comm = super::p2p::identity(call);
    super::wait::blocking(
        call,
        || What::of(Kind::Finalize, 0, no_name),
        // SAFETY: the communicator is live; no memory is involved.
        || unsafe { ffi::MPI_Barrier(comm) },
        // SAFETY: as above.
        |request| unsafe { ffi::MPI_Ibarrier(comm, request) },
        super::wait::ignore,
    )
}

pub(crate) fn finalize(location: &'static Location<'static>) -> Result<()> {
    let call = Call::local(&FINALIZE, location);
    // SAFETY: the caller owns the world and gives it up.
    gate_as(&call, || What::of(Kind::Finalize, 0, no_name), || unsafe { ffi::MPI_Finalize() })?;
    state::set_finalized();
    Ok(())
}

/// Ends all processes of the world, if this thread may say so; ends this one in any case.
pub(crate) fn abort(code: i32) -> ! {
    if state::is_running() && (state::is_main_thread() || state::level() >= Threading::Serialized) {
        let call = Call::local(&ABORT, Location::caller());
        crate::record::enter(&call, &What::local());
        // SAFETY: MPI runs. If the function returns nevertheless, the exit below ends the process.
        unsafe { ffi::MPI_Abort(comm::world(), code) };
    }
    // Not `exit`: handlers that run at exit may wait for peers that are gone. The launcher sees a
    // process that ended without finalizing and ends the others.
    // SAFETY: `_exit` is always allowed.
    unsafe { libc::_exit(code) }
}

pub(crate) fn wtime() -> f64 {
    // SAFETY: MPI is initialised, which the caller has checked.
    unsafe { ffi::RSMPI_Wtime() }
}

pub(crate) fn processor_name(location: &'static Location<'static>) -> Result<String> {
    let call = Call::local(&PROCESSOR_NAME, location);
    // SAFETY: reading a constant of the C library.
    let longest = unsafe { ffi::RSMPI_MAX_PROCESSOR_NAME } as usize;
    let mut name = vec![0 as c_char; longest + 1];
    let mut length = 0;
    // SAFETY: the buffer has MPI_MAX_PROCESSOR_NAME characters.
    gate(&call, || unsafe { ffi::MPI_Get_processor_name(name.as_mut_ptr(), &mut length) })?;
    Ok(string_from(&name))
}

pub(crate) fn version(location: &'static Location<'static>) -> Result<(u32, u32)> {
    let call = Call::local(&VERSION, location);
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both results are writable; MPI_Get_version may be called at any time.
    ungated(&call, || unsafe { ffi::MPI_Get_version(&mut major, &mut minor) })?;
    Ok((major.unsigned_abs(), minor.unsigned_abs()))
}

pub(crate) fn library_version(location: &'static Location<'static>) -> Result<String> {
    let call = Call::local(&LIBRARY_VERSION, location);
    // SAFETY: reading a constant of the C library.
    let longest = unsafe { ffi::RSMPI_MAX_LIBRARY_VERSION_STRING } as usize;
    let mut text = vec![0 as c_char; longest + 1];
    let mut length = 0;
    // SAFETY: the buffer is as long as MPI asks; the function may be called at any time.
    ungated(&call, || unsafe { ffi::MPI_Get_library_version(text.as_mut_ptr(), &mut length) })?;
    Ok(string_from(&text))
}

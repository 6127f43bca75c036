//! A process that leaves by `exit` while MPI runs.

use std::os::raw::{c_int, c_void};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::failure::{self, FailureKind};
use crate::{raw, record};

/// The process that was started as a rank.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// How many calls had been noted when MPI was started.
static CALLS_AT_START: AtomicU64 = AtomicU64::new(u64::MAX);
/// Whether the arguments of the program are being read: who leaves then has said why.
static PARSING: AtomicBool = AtomicBool::new(false);

/// Says whether the arguments of the program are being read.
pub(super) fn set_parsing(parsing: bool) {
    PARSING.store(parsing, Ordering::Relaxed);
}

/// Says that what follows are calls of the program.
pub(super) fn started() {
    CALLS_AT_START.store(record::calls(), Ordering::Relaxed);
}

/// Whether the program has called MPI since it was started.
fn has_communicated() -> bool {
    record::calls() != CALLS_AT_START.load(Ordering::Relaxed)
}

/// Ends the job when this process exits while MPI runs: other ranks may wait for it. Not every
/// launcher takes that for a failure, and none says which rank it was.
pub(super) fn watch_exit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        PROCESS.store(std::process::id(), Ordering::Relaxed);
        // SAFETY: the handler is a function of this program. Without room for it the launcher's own
        // watch is left.
        unsafe { on_exit(exited, std::ptr::null_mut()) };
    });
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// `atexit` with the exit code, of the GNU C library.
    fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

/// Other C libraries do not tell.
#[cfg(not(target_env = "gnu"))]
unsafe fn on_exit(_: extern "C" fn(c_int, *mut c_void), _: *mut c_void) -> c_int {
    extern "C" fn without_code() {
        exited(0, std::ptr::null_mut());
    }
    // SAFETY: the handler is a function of this program.
    unsafe { libc::atexit(without_code) }
}

extern "C" fn exited(code: c_int, _: *mut c_void) {
    // A forked child is no rank.
    let is_rank = std::process::id() == PROCESS.load(Ordering::Relaxed);
    // The MPI library leaves by `exit` too when it aborts.
    if !is_rank || !raw::state::is_running() || failure::is_ending() {
        return;
    }
    // To leave before anything was communicated, as `--help` does, is the same as to have nothing to do.
    // A test that leaves has not passed.
    let has_said_why = code == 0 || PARSING.load(Ordering::Relaxed);
    if has_said_why && !failure::is_observed() && !has_communicated() && super::leave_at_exit() {
        return;
    }
    if !failure::begin_to_end() {
        return;
    }
    let message = format!("the process left with exit code {code} before MPI was finalized");
    failure::report_and_abort_at_exit(FailureKind::Error, message, if code == 0 { 1 } else { code })
}

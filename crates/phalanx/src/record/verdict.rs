//! What the watch has found out of the call that this rank is inside of. In strict mode the loops that
//! wait ask for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::lane;

/// The sequence number of a call of which it is proved that it never returns, or 0.
static VERDICT_ON: AtomicU64 = AtomicU64::new(0);
static DELIVERED: AtomicBool = AtomicBool::new(false);
static REPORT: Mutex<String> = Mutex::new(String::new());

/// Says that a call never returns, and why.
pub(crate) fn deliver_verdict(sequence: u64, report: &str) {
    report.clone_into(&mut REPORT.lock().unwrap_or_else(PoisonError::into_inner));
    VERDICT_ON.store(sequence, Ordering::Release);
}

/// Whether the call that this thread is inside of never returns.
#[inline]
pub(crate) fn has_verdict() -> bool {
    let call = VERDICT_ON.load(Ordering::Acquire);
    call != 0 && lane::inside() == Some(call)
}

/// The report on the call that this thread is inside of.
pub(crate) fn take_verdict() -> String {
    VERDICT_ON.store(0, Ordering::Release);
    DELIVERED.store(true, Ordering::Release);
    REPORT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Whether a call of this rank has ever returned because of a report.
pub(crate) fn had_verdict() -> bool {
    DELIVERED.load(Ordering::Acquire)
}

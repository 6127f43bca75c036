//! What the watch has found out of the call that this rank is inside of. In strict mode the loops that
//! wait ask for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::lane;

/// The sequence number of a call of which it is proved that it never returns, or 0.
static TOLD: AtomicU64 = AtomicU64::new(0);
static WAS_TOLD: AtomicBool = AtomicBool::new(false);
static REPORT: Mutex<String> = Mutex::new(String::new());

/// Says that a call never returns, and why.
pub(crate) fn tell(sequence: u64, report: &str) {
    report.clone_into(&mut REPORT.lock().unwrap_or_else(PoisonError::into_inner));
    TOLD.store(sequence, Ordering::Release);
}

/// Whether the call that this thread is inside of never returns.
#[inline]
pub(crate) fn is_told() -> bool {
    let told = TOLD.load(Ordering::Acquire);
    told != 0 && lane::inside() == Some(told)
}

/// The report on the call that this thread is inside of.
pub(crate) fn take_told() -> String {
    TOLD.store(0, Ordering::Release);
    WAS_TOLD.store(true, Ordering::Release);
    REPORT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Whether a call of this rank has ever returned because of a report.
pub(crate) fn was_told() -> bool {
    WAS_TOLD.load(Ordering::Acquire)
}

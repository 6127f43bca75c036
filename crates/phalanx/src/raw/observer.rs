//! What looks on while calls are made. The gate and the waits lie below it and know of it only what is here:
//! whether it is there, and what it wants to be asked before a collective call.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::error::Result;
use crate::record::{Call, What};

/// Looks at a blocking collective call that is about to be made, inside the gate. An error is what the call
/// returns instead.
pub(crate) type BeforeCollective = fn(&Call<'_>, &What) -> Result<()>;

static STRICT: AtomicBool = AtomicBool::new(false);
static COMPARES: AtomicBool = AtomicBool::new(false);
static BEFORE_COLLECTIVE: OnceLock<BeforeCollective> = OnceLock::new();

/// Whether strict mode is on.
#[inline(always)]
pub(crate) fn is_strict() -> bool {
    STRICT.load(Relaxed)
}

/// Whether what messages hold is compared with what they are received as: in strict mode, and where types are
/// compared without it.
#[inline(always)]
pub(crate) fn compares() -> bool {
    COMPARES.load(Relaxed)
}

/// Compares types, once all ranks have agreed on it.
pub(crate) fn compare_types() {
    COMPARES.store(true, Relaxed);
}

/// Turns strict mode on, once all ranks have agreed on it.
pub(super) fn turn_strict_on(before_collective: BeforeCollective) {
    BEFORE_COLLECTIVE.get_or_init(|| before_collective);
    STRICT.store(true, Relaxed);
    COMPARES.store(true, Relaxed);
}

/// To be called inside the gate of a blocking collective call.
#[cold]
pub(super) fn before_collective(call: &Call<'_>, what: &What) -> Result<()> {
    BEFORE_COLLECTIVE.get().map_or(Ok(()), |look| look(call, what))
}

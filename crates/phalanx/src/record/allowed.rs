//! The proof that a call may be noted.

use std::marker::PhantomData;

/// The proof that the gate has allowed the calls of this thread. What counts, notes or registers
/// something asks for it, so that a call which is refused leaves no trace: the watch would take a
/// request that was never started for one that is in flight, and ranks whose tags are shifted
/// against each other never meet again.
#[derive(Clone, Copy)]
pub(crate) struct Allowed<'permit>(PhantomData<&'permit ()>);

impl Allowed<'_> {
    /// For `raw/state.rs` alone, where a thread is asked whether it may call.
    #[inline(always)]
    pub fn by_the_gate() -> Self {
        Allowed(PhantomData)
    }
}

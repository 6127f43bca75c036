//! Receives that MPI does not know of, because the length of their message is not known: while there
//! are any, every wait looks for their messages.
//!
//! The library's own blocking calls cannot look for them. So while the list is not empty, messages are
//! waited for by polling; collective calls are not, because all ranks must wait in the same way.

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::wait;

/// A receive that has no message yet.
pub(crate) trait Unmatched: Send + Sync {
    /// Looks for its message, inside of a call that the gate has allowed. Returns whether it has to go on
    /// looking.
    fn look(&self) -> bool;
}

static LIST: Mutex<Vec<Arc<dyn Unmatched>>> = Mutex::new(Vec::new());
static SOME: AtomicBool = AtomicBool::new(false);

fn with_list(change: impl FnOnce(&mut Vec<Arc<dyn Unmatched>>)) {
    let mut list = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut list);
    SOME.store(!list.is_empty(), Ordering::Release);
    wait::poll_messages(!list.is_empty());
}

pub(crate) fn add(receive: Arc<dyn Unmatched>) {
    with_list(|list| list.push(receive));
}

pub(crate) fn remove(receive: &dyn Unmatched) {
    with_list(|list| list.retain(|it| !ptr::addr_eq(Arc::as_ptr(it), receive)));
}

/// Looks for the messages of all of them, in the order in which they were posted. Inside of a call.
#[inline]
pub(super) fn look() {
    if SOME.load(Ordering::Acquire) {
        look_at_all();
    }
}

#[cold]
fn look_at_all() {
    let all = LIST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let done: Vec<_> = all.into_iter().filter(|it| !it.look()).collect();
    for receive in done {
        remove(&*receive);
    }
}

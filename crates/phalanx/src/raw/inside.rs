//! The threads that are inside an MPI call, at the levels at which several threads may call.
//!
//! Each thread has a state of its own, so that a call costs one read-modify-write of memory that no other
//! thread writes. A thread enters first and asks afterwards whether MPI still runs; who finalizes closes
//! MPI first and looks afterwards who is inside. Both are sequentially consistent, so at least one of
//! the two sees the other.

use std::cell::Cell;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::record::{Call, Operation};

/// What one thread does inside MPI.
#[repr(align(64))]
pub(super) struct ThreadState {
    /// How many permits the thread holds: calls are made of calls.
    depth: AtomicU32,
    operation: AtomicPtr<Operation>,
    location: AtomicPtr<Location<'static>>,
}

impl ThreadState {
    const fn new() -> Self {
        ThreadState {
            depth: AtomicU32::new(0),
            operation: AtomicPtr::new(ptr::null_mut()),
            location: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The outermost call of the thread, for people.
    fn describe(&self) -> String {
        let (operation, location) = (self.operation.load(Relaxed), self.location.load(Relaxed));
        // SAFETY: both are null or were made from `&'static` references in `enter`.
        match unsafe { (operation.as_ref(), location.as_ref()) } {
            (Some(operation), Some(location)) => format!("{} at {location}", operation.name),
            _ => "a call".to_owned(),
        }
    }
}

struct States {
    all: Vec<&'static ThreadState>,
    free: Vec<&'static ThreadState>,
}

static STATES: Mutex<States> = Mutex::new(States { all: Vec::new(), free: Vec::new() });

/// The state of threads that are about to end and have given theirs back. Several may use it at once.
static LAST: ThreadState = ThreadState::new();

/// Gives the state of a thread that ends to another.
struct Lease(Cell<Option<&'static ThreadState>>);

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(state) = self.0.take() {
            STATES.lock().unwrap_or_else(PoisonError::into_inner).free.push(state);
        }
    }
}

thread_local! {
    static LEASE: Lease = const { Lease(Cell::new(None)) };
}

fn mine() -> &'static ThreadState {
    let known = LEASE.try_with(|lease| {
        lease.0.get().unwrap_or_else(|| {
            let mut states = STATES.lock().unwrap_or_else(PoisonError::into_inner);
            let state = states.free.pop().unwrap_or_else(|| {
                let state: &'static ThreadState = Box::leak(Box::new(ThreadState::new()));
                states.all.push(state);
                state
            });
            lease.0.set(Some(state));
            state
        })
    });
    known.unwrap_or(&LAST)
}

/// Notes that this thread goes inside.
pub(super) fn enter(call: &Call<'_>) -> &'static ThreadState {
    let state = mine();
    if state.depth.load(Relaxed) == 0 {
        state.operation.store(ptr::from_ref(call.operation).cast_mut(), Relaxed);
        state.location.store(ptr::from_ref(call.location).cast_mut(), Relaxed);
    }
    state.depth.fetch_add(1, Ordering::SeqCst);
    state
}

/// Notes that it is out again.
pub(super) fn leave(state: &'static ThreadState) {
    state.depth.fetch_sub(1, Ordering::Release);
}

/// The calls that other threads are inside of.
pub(super) fn others() -> Vec<String> {
    let mine = mine();
    let states = STATES.lock().unwrap_or_else(PoisonError::into_inner);
    states
        .all
        .iter()
        .copied()
        .chain([&LAST])
        .filter(|&state| !ptr::eq(state, mine) && state.depth.load(Ordering::SeqCst) > 0)
        .map(ThreadState::describe)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::record::BARRIER;

    #[test]
    fn a_thread_that_is_inside_is_named_with_its_line_until_it_leaves() {
        let call = Call::local(&BARRIER, Location::caller());
        let line = format!("barrier at {}", call.location);
        let (inside, is_inside) = mpsc::channel();
        let (leave_now, may_leave) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let call = &call;
            let thread = scope.spawn(move || {
                let outer = enter(call);
                // Calls are made of calls: the outermost one is named.
                let inner = enter(&Call::local(&crate::record::SEND, Location::caller()));
                leave(inner);
                inside.send(()).expect("the test waits");
                may_leave.recv().expect("the test says so");
                leave(outer);
            });
            is_inside.recv().expect("the thread goes inside");
            assert!(others().contains(&line), "{:?}", others());
            leave_now.send(()).expect("the thread waits");
            thread.join().expect("no panic");
            assert!(!others().contains(&line), "{:?}", others());
            // One's own calls are no others.
            let own = enter(call);
            assert!(!others().contains(&line), "{:?}", others());
            leave(own);
        });
    }
}

//! Waiting for several things at once: queues, pipes and processes.

use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::arena::arena;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::{Deadline, futex};

/// What [`wait_any`] can wait for: a [`Queue`](crate::Queue), an end of a [`pipe`](crate::pipe()), a
/// [`Process`](crate::Process).
pub trait Ready {
    /// Whether a call would not wait now: there is an item or the end of file, or the process has ended.
    fn is_ready(&self) -> bool;

    /// Something that may make it ready wakes this process.
    #[doc(hidden)]
    fn watch(&self, process: u32);
}

/// Waits until something is ready, and says what: the indices, in order. An empty list when the time is up.
///
/// It is Python's `multiprocessing.connection.wait`.
///
/// ```
/// use phalanx_process::{Process, Queue, wait_any};
///
/// let queue: Queue<u32> = Queue::new()?;
/// let process = Process::spawn(|queue: Queue<u32>| queue.put(1).expect("it is open"), queue.clone())?;
/// let ready = wait_any(&[&queue, &process], None)?;
/// assert!(!ready.is_empty());
/// process.join()?;
/// assert_eq!(queue.get()?, 1);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
///
/// # Errors
/// `Argument` when there is nothing to wait for.
#[track_caller]
pub fn wait_any(things: &[&dyn Ready], timeout: Option<Duration>) -> Result<Vec<usize>> {
    let location = Location::caller();
    if things.is_empty() {
        return Err(Error::new(ErrorKind::Argument, "wait_any", "there is nothing to wait for")
            .at(location));
    }
    let arena = arena().map_err(|error| error.at(location))?;
    let deadline = timeout.map_or(Deadline::NEVER, Deadline::after);
    let event = &arena.process(arena.me()).event;
    loop {
        let before = event.load(Ordering::Acquire);
        for thing in things {
            thing.watch(arena.me());
        }
        let ready: Vec<usize> = things
            .iter()
            .enumerate()
            .filter(|(_, thing)| thing.is_ready())
            .map(|(index, _)| index)
            .collect();
        if !ready.is_empty() || deadline.has_passed() {
            return Ok(ready);
        }
        futex::wait(event, before, deadline.slice());
    }
}

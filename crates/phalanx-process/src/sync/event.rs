//! A flag that threads wait for.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

use super::handle;
use crate::arena::{Arena, Kind, Object, Shared, fingerprint};
use crate::error::Result;
use crate::sys::{Deadline, comes_soon, futex};

#[repr(C, align(64))]
pub struct Body {
    /// Counts how often it was set, in twos; the lowest bit says that it is set.
    state: AtomicU32,
    /// Somebody may sleep.
    sleepers: AtomicU32,
}

// SAFETY: it is `repr(C)`, of atomics, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::Event;

    fn destroy(&self, _arena: &Arena) {}
}

/// A flag that is set or not, and that any number of processes wait for.
///
/// ```
/// use phalanx_process::{Event, Process};
///
/// let ready = Event::new()?;
/// let waiter = Process::spawn(|ready: Event| ready.wait(), ready.clone())?;
/// ready.set();
/// waiter.join()?;
/// assert!(ready.is_set());
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct Event {
    object: Object<Body>,
}

handle!(Event, "event");

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new() -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Self>(), |_, body: &Body| {
            body.state.store(0, Ordering::Relaxed);
            body.sleepers.store(0, Ordering::Relaxed);
            Ok(())
        })
        .map_err(|error| error.of("event").at(location))?;
        Ok(Event { object })
    }

    /// Sets it, and wakes all who wait, also when it is cleared at once.
    pub fn set(&self) {
        let set = |state: u32| (state & 1 == 0).then(|| state.wrapping_add(2) | 1);
        if self.object.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, set).is_ok() {
            fence(Ordering::SeqCst);
            if self.object.sleepers.swap(0, Ordering::AcqRel) != 0 {
                futex::wake(&self.object.state, u32::MAX);
            }
        }
    }

    /// Clears it: who waits from now on waits until it is set again.
    pub fn clear(&self) {
        self.object.state.fetch_and(!1, Ordering::AcqRel);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.object.state.load(Ordering::Acquire) & 1 != 0
    }

    /// Waits until it is set.
    pub fn wait(&self) {
        self.wait_until(Deadline::NEVER);
    }

    /// Waits until it is set, for so long at most. Says whether it was set.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event = phalanx_process::Event::new()?;
    /// assert!(!event.wait_timeout(Duration::from_millis(10)));
    /// event.set();
    /// assert!(event.wait_timeout(Duration::from_millis(10)));
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> bool {
        let Body { state, sleepers } = &*self.object;
        let before = state.load(Ordering::Acquire);
        loop {
            let now = state.load(Ordering::Acquire);
            if now & 1 != 0 || now & !1 != before & !1 {
                return true;
            }
            if deadline.has_passed() {
                return false;
            }
            if comes_soon(|| state.load(Ordering::Acquire) != now) {
                continue;
            }
            sleepers.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            futex::wait(state, now, deadline.slice());
        }
    }
}

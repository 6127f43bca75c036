//! Waiting, without a lock, for what others do with it.

use std::panic::Location;
use std::time::Duration;

use super::core::{Caller, Refusal};
use super::handle;
use super::line::{Line, PLACES};
use super::lock::{Lock, LockGuard};
use crate::arena::{Arena, Kind, Object, Shared, fingerprint};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::{Deadline, comes_soon};

#[repr(C, align(64))]
pub struct Body {
    line: Line,
}

// SAFETY: it is `repr(C)`, of atomics and mutexes, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::Condition;

    fn destroy(&self, _arena: &Arena) {}
}

/// Lets threads wait until another one says that something has changed.
///
/// It belongs to a [`Lock`]: who waits gives the lock up meanwhile. Those who wait are woken in the order in which
/// they came; one that has died is passed over, and a notification that it can no longer use goes to the next.
///
/// ```
/// use phalanx_process::{Condition, Lock, Process, Shared};
///
/// fn produce((lock, filled, item): (Lock, Condition, Shared<u32>)) {
///     let _guard = lock.lock().expect("nobody died");
///     item.set(5).expect("nobody died");
///     filled.notify_one();
/// }
///
/// let lock = Lock::new()?;
/// let (filled, item) = (Condition::new(&lock)?, Shared::new(0)?);
/// let mut guard = lock.lock()?;
/// let producer = Process::spawn(produce, (lock.clone(), filled.clone(), item.clone()))?;
/// filled.wait_for(&mut guard, || item.get().is_ok_and(|item| item != 0))?;
/// assert_eq!(item.get()?, 5);
/// drop(guard);
/// producer.join()?;
/// # Ok::<(), phalanx_process::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Condition {
    bell: Bell,
    lock: Lock,
}

/// The object of a condition.
struct Bell {
    object: Object<Body>,
}

handle!(Bell, "condition");

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Condition {} of {:?}", self.bell.object.number(), self.lock)
    }
}

impl Condition {
    /// A condition of this lock.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new(lock: &Lock) -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Bell>(), |_, body: &Body| body.line.init())
            .map_err(|error| error.of("condition").at(location))?;
        Ok(Condition { bell: Bell { object }, lock: lock.clone() })
    }

    /// Gives the lock up, waits to be notified, and takes the lock again.
    ///
    /// # Errors
    /// `Poisoned` when somebody died or panicked with the lock meanwhile, also when nobody notifies: the guard holds it
    /// nevertheless. `Argument`
    /// when the guard is one of another lock, `System` when a thousand threads wait already.
    #[track_caller]
    pub fn wait(&self, guard: &mut LockGuard<'_>) -> Result<()> {
        self.sleep(guard, "wait", Deadline::NEVER, Location::caller()).map(drop)
    }

    /// [`wait`](Condition::wait), for so long at most. Says whether it was notified. The lock is taken again in any
    /// case, which may take longer.
    ///
    /// # Errors
    /// As [`wait`](Condition::wait).
    #[track_caller]
    pub fn wait_timeout(&self, guard: &mut LockGuard<'_>, timeout: Duration) -> Result<bool> {
        self.sleep(guard, "wait_timeout", Deadline::after(timeout), Location::caller())
    }

    /// Waits until something is so. It is asked with the lock held: at once, and after each notification.
    ///
    /// # Errors
    /// As [`wait`](Condition::wait).
    #[track_caller]
    pub fn wait_for(
        &self,
        guard: &mut LockGuard<'_>,
        mut is_so: impl FnMut() -> bool,
    ) -> Result<()> {
        let location = Location::caller();
        while !is_so() {
            self.sleep(guard, "wait_for", Deadline::NEVER, location)?;
        }
        Ok(())
    }

    /// [`wait_for`](Condition::wait_for), for so long at most. Says whether it is so.
    ///
    /// # Errors
    /// As [`wait`](Condition::wait).
    #[track_caller]
    pub fn wait_for_timeout(
        &self,
        guard: &mut LockGuard<'_>,
        timeout: Duration,
        mut is_so: impl FnMut() -> bool,
    ) -> Result<bool> {
        let (location, deadline) = (Location::caller(), Deadline::after(timeout));
        loop {
            if is_so() {
                return Ok(true);
            }
            if deadline.has_passed() {
                return Ok(false);
            }
            self.sleep(guard, "wait_for_timeout", deadline, location)?;
        }
    }

    fn sleep(
        &self,
        guard: &mut LockGuard<'_>,
        operation: &'static str,
        deadline: Deadline,
        location: Caller,
    ) -> Result<bool> {
        let failed = |error: Error| error.of(self.bell.subject()).at(location);
        if *guard.lock != self.lock {
            let detail =
                format!("it belongs to {}, not to {}", self.lock.subject(), guard.lock.subject());
            return Err(failed(Error::new(ErrorKind::Argument, operation, detail)));
        }
        let line = &self.bell.object.line;
        let seat = line.enter(&line.hold()).map_err(failed)?;
        let core = guard.hold.core();
        core.unlock();
        comes_soon(|| line.is_called(seat));
        while !line.is_called(seat) && !deadline.has_passed() {
            line.sleep(seat, deadline);
            if !line.is_called(seat) {
                line.pass_on_lost_calls();
                // Whoever would have called may be the one that died.
                if core.is_poisoned() {
                    break;
                }
            }
        }
        let site = guard.lock.site(location);
        let relocked = core.relock(&site);
        // Not before the lock is held: until then a death passes the call on.
        let was_called = line.leave(seat);
        match relocked {
            Ok(true) => Ok(was_called),
            Ok(false) => Err(core.fail(Refusal::Poisoned, operation, &site)),
            // The lock was not held, and no circle is reported for one that takes it again.
            Err(refusal) => unreachable!("{refusal:?}"),
        }
    }

    /// Wakes one that waits. Says whether there was one.
    pub fn notify_one(&self) -> bool {
        self.notify(1) > 0
    }

    /// Wakes so many of those that wait, at most. Says how many there were.
    pub fn notify(&self, count: usize) -> usize {
        self.bell.object.line.call(count)
    }

    /// Wakes all that wait. Says how many there were.
    pub fn notify_all(&self) -> usize {
        self.notify(PLACES)
    }
}

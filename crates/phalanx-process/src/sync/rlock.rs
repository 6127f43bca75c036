//! A lock that its holder may take again.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::core::{Caller, Core, Hold, Refusal};
use super::handle;
use super::watch::Site;
use crate::arena::{Arena, Kind, Object, Shared, fingerprint};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::Deadline;

#[repr(C, align(64))]
pub struct Body {
    core: Core,
    /// Guards of the thread that holds it. Only that thread changes it.
    count: AtomicU32,
}

// SAFETY: it is `repr(C)`, of atomics and mutexes, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::ReentrantLock;

    fn destroy(&self, _arena: &Arena) {}

    fn is_free(&self) -> bool {
        self.core.is_free()
    }
}

/// A [`Lock`](crate::Lock) that the thread which holds it may take again. It is released when the last guard is
/// dropped.
///
/// ```
/// let lock = phalanx_process::RLock::new()?;
/// let outer = lock.lock()?;
/// let inner = lock.lock()?;
/// drop(outer);
/// assert!(std::thread::scope(|scope| scope.spawn(|| lock.try_lock().unwrap().is_none()).join().unwrap()));
/// drop(inner);
/// assert!(std::thread::scope(|scope| scope.spawn(|| lock.try_lock().unwrap().is_some()).join().unwrap()));
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct RLock {
    object: Object<Body>,
}

handle!(RLock, "RLock");

impl RLock {
    /// A lock that nobody holds.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new() -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Self>(), |_, body: &Body| {
            body.count.store(0, Ordering::Relaxed);
            body.core.init()
        })
        .map_err(|error| error.of("RLock").at(location))?;
        Ok(RLock { object })
    }

    /// Waits until no other thread holds it, and holds it until the guard is dropped.
    ///
    /// # Errors
    /// `Poisoned` when its last holder died or panicked; with `PHALANX_WATCH=error`, `Deadlock` when processes wait
    /// for each other in a circle.
    #[track_caller]
    pub fn lock(&self) -> Result<RLockGuard<'_>> {
        let guard = self.take("lock", Deadline::NEVER, Location::caller())?;
        Ok(guard.expect("a wait without an end"))
    }

    /// Holds it if no other thread does now.
    ///
    /// # Errors
    /// As [`lock`](RLock::lock).
    #[track_caller]
    pub fn try_lock(&self) -> Result<Option<RLockGuard<'_>>> {
        self.take("try_lock", Deadline::after(Duration::ZERO), Location::caller())
    }

    /// [`lock`](RLock::lock), waiting so long at most: `None` when the time is up.
    ///
    /// # Errors
    /// As [`lock`](RLock::lock).
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<RLockGuard<'_>>> {
        self.take("lock_timeout", Deadline::after(timeout), Location::caller())
    }

    /// Waits for it and holds it, poisoned or not; it is sound afterwards. See
    /// [`Lock::recover`](crate::Lock::recover).
    ///
    /// # Errors
    /// As [`lock`](RLock::lock), but for `Poisoned`; `Deadlock` when this thread holds it.
    #[track_caller]
    pub fn recover(&self) -> Result<RLockGuard<'_>> {
        let hold = super::core::recover(&self.object.core, &self.site(Location::caller()))?;
        self.object.count.store(1, Ordering::Relaxed);
        Ok(RLockGuard::new(self, hold))
    }

    /// Whether its last holder died or panicked.
    pub fn is_poisoned(&self) -> bool {
        self.object.core.is_poisoned()
    }

    fn take(
        &self,
        operation: &'static str,
        deadline: Deadline,
        location: Caller,
    ) -> Result<Option<RLockGuard<'_>>> {
        let Body { core, count } = &*self.object;
        let site = self.site(location);
        match core.lock(&site, deadline) {
            Ok(()) => count.store(1, Ordering::Relaxed),
            Err(Refusal::HeldHere) => {
                let more = count.load(Ordering::Relaxed).checked_add(1).ok_or_else(|| {
                    Error::new(ErrorKind::State, operation, "this thread has too many guards of it")
                        .of(self.subject())
                        .at(location)
                })?;
                count.store(more, Ordering::Relaxed);
            }
            Err(Refusal::TimedOut) => return Ok(None),
            Err(refusal) => return Err(core.fail(refusal, operation, &site)),
        }
        Ok(Some(RLockGuard::new(self, Hold::new(core))))
    }

    fn site(&self, location: Caller) -> Site {
        Site { what: "RLock", number: self.object.number(), place: self.object.place(), location }
    }
}

/// An [`RLock`] that is held, once more than before: see there.
#[must_use = "the lock is released at once when the guard is dropped"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    /// Dropped with the last guard of the thread.
    hold: std::mem::ManuallyDrop<Hold<'a>>,
}

impl<'a> RLockGuard<'a> {
    fn new(lock: &'a RLock, hold: Hold<'a>) -> Self {
        RLockGuard { lock, hold: std::mem::ManuallyDrop::new(hold) }
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        let count = &self.lock.object.count;
        let left = count.load(Ordering::Relaxed) - 1;
        count.store(left, Ordering::Relaxed);
        if left == 0 {
            self.hold.release();
        } else if self.hold.panics() {
            self.hold.core().poison_by_panic();
        }
    }
}

impl std::fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, held", self.lock)
    }
}

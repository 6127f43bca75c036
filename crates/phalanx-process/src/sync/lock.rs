//! The lock that people use.

use std::panic::Location;
use std::time::Duration;

use super::core::{Caller, Core, Hold, recover, take};
use super::handle;
use super::watch::Site;
use crate::arena::{Arena, Kind, Object, Shared, fingerprint};
use crate::error::Result;
use crate::sys::Deadline;

#[repr(C, align(64))]
pub struct Body {
    core: Core,
}

// SAFETY: it is `repr(C)`, of atomics and mutexes, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::Lock;

    fn destroy(&self, _arena: &Arena) {}

    fn is_free(&self) -> bool {
        self.core.is_free()
    }
}

/// A lock between processes and threads: one at a time holds it.
///
/// When its holder dies, or panics, the lock is *poisoned*: everybody who locks it is told so, with the name of that
/// process and the line where it had locked. [`recover`](Lock::recover) takes a poisoned lock.
///
/// ```
/// use phalanx_process::{Lock, Process, Shared};
///
/// fn count((lock, steps): (Lock, Shared<u64>)) {
///     for _ in 0..100 {
///         let _guard = lock.lock().expect("nobody died");
///         let now = steps.get().expect("nobody died");
///         steps.set(now + 1).expect("nobody died");
///     }
/// }
///
/// let (lock, steps) = (Lock::new()?, Shared::new(0)?);
/// let other = Process::spawn(count, (lock.clone(), steps.clone()))?;
/// count((lock, steps.clone()));
/// other.join()?;
/// assert_eq!(steps.get()?, 200);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct Lock {
    pub(super) object: Object<Body>,
}

handle!(Lock, "lock");

impl Lock {
    /// A lock that nobody holds.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new() -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Self>(), |_, body: &Body| body.core.init())
            .map_err(|error| error.of("lock").at(location))?;
        Ok(Lock { object })
    }

    /// Waits until nobody else holds it, and holds it until the guard is dropped.
    ///
    /// ```
    /// let lock = phalanx_process::Lock::new()?;
    /// let guard = lock.lock()?;
    /// assert!(lock.lock().unwrap_err().is_deadlock());
    /// drop(guard);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Poisoned` when its last holder died or panicked; `Deadlock` when this thread holds it, or, with
    /// `PHALANX_WATCH=error`, when processes wait for each other in a circle.
    #[track_caller]
    pub fn lock(&self) -> Result<LockGuard<'_>> {
        let guard = self.take("lock", Deadline::NEVER, Location::caller())?;
        Ok(guard.expect("a wait without an end"))
    }

    /// Holds it if nobody else does now.
    ///
    /// # Errors
    /// As [`lock`](Lock::lock).
    #[track_caller]
    pub fn try_lock(&self) -> Result<Option<LockGuard<'_>>> {
        self.take("try_lock", Deadline::after(Duration::ZERO), Location::caller())
    }

    /// [`lock`](Lock::lock), waiting so long at most: `None` when the time is up.
    ///
    /// # Errors
    /// As [`lock`](Lock::lock).
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_>>> {
        self.take("lock_timeout", Deadline::after(timeout), Location::caller())
    }

    /// Waits for it and holds it, poisoned or not. It is sound afterwards: call it when what the lock protects is
    /// to be put right.
    ///
    /// ```
    /// use phalanx_process::{Lock, Process};
    ///
    /// let lock = Lock::new()?;
    /// let careless = |lock: Lock| -> () {
    ///     let _guard = lock.lock().expect("it is sound");
    ///     std::process::exit(0);
    /// };
    /// Process::spawn(careless, lock.clone())?.wait();
    /// assert!(lock.lock().unwrap_err().is_poisoned());
    /// drop(lock.recover()?);
    /// assert!(lock.lock().is_ok());
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Deadlock` as for [`lock`](Lock::lock).
    #[track_caller]
    pub fn recover(&self) -> Result<LockGuard<'_>> {
        let hold = recover(&self.object.core, &self.site(Location::caller()))?;
        Ok(LockGuard { lock: self, hold })
    }

    /// Whether its last holder died or panicked.
    pub fn is_poisoned(&self) -> bool {
        self.object.core.is_poisoned()
    }

    pub(super) fn take(
        &self,
        operation: &'static str,
        deadline: Deadline,
        location: Caller,
    ) -> Result<Option<LockGuard<'_>>> {
        let hold = take(&self.object.core, &self.site(location), operation, deadline)?;
        Ok(hold.map(|hold| LockGuard { lock: self, hold }))
    }

    pub(super) fn site(&self, location: Caller) -> Site {
        Site { what: "lock", number: self.object.number(), place: self.object.place(), location }
    }
}

/// A [`Lock`] that is held: it is released when the guard is dropped. It stays in the thread that has locked:
///
/// ```compile_fail
/// let lock = phalanx_process::Lock::new().unwrap();
/// let guard = lock.lock().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
#[must_use = "the lock is released at once when the guard is dropped"]
pub struct LockGuard<'a> {
    pub(super) lock: &'a Lock,
    pub(super) hold: Hold<'a>,
}

impl std::fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, held", self.lock)
    }
}

//! A lock that is given in the order in which it was asked for.

use std::panic::Location;
use std::time::Duration;

use super::core::{Caller, Core, Hold, Refusal};
use super::handle;
use super::line::Line;
use super::watch::{Site, Waiting};
use crate::arena::{Arena, Kind, Object, Shared, fingerprint};
use crate::error::Result;
use crate::sys::Deadline;

#[repr(C, align(64))]
pub struct Body {
    core: Core,
    line: Line,
}

// SAFETY: it is `repr(C)`, of atomics and mutexes, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::FairLock;

    fn destroy(&self, _arena: &Arena) {}

    fn is_free(&self) -> bool {
        self.core.is_free()
    }
}

/// A [`Lock`](crate::Lock) that is given in the order in which it was asked for.
///
/// With a `Lock` a process that releases it and asks again at once is often the next one to have it. That is fast,
/// and unfair; a `FairLock` is slow when many want it, and nobody waits longer than all who came before.
///
/// ```
/// use phalanx_process::FairLock;
///
/// let lock = FairLock::new()?;
/// let guard = lock.lock()?;
/// assert!(lock.lock().unwrap_err().is_deadlock());
/// drop(guard);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct FairLock {
    object: Object<Body>,
}

handle!(FairLock, "FairLock");

impl FairLock {
    /// A lock that nobody holds.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new() -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Self>(), |_, body: &Body| {
            body.line.init()?;
            body.core.init()
        })
        .map_err(|error| error.of("FairLock").at(location))?;
        Ok(FairLock { object })
    }

    /// Waits for its turn, and holds the lock until the guard is dropped.
    ///
    /// # Errors
    /// As [`Lock::lock`](crate::Lock::lock).
    #[track_caller]
    pub fn lock(&self) -> Result<FairGuard<'_>> {
        let guard = self.take("lock", Deadline::NEVER, Location::caller())?;
        Ok(guard.expect("a wait without an end"))
    }

    /// Holds it if nobody else holds it or waits for it now.
    ///
    /// # Errors
    /// As [`lock`](FairLock::lock).
    #[track_caller]
    pub fn try_lock(&self) -> Result<Option<FairGuard<'_>>> {
        self.take("try_lock", Deadline::after(Duration::ZERO), Location::caller())
    }

    /// [`lock`](FairLock::lock), waiting so long at most: `None` when the time is up.
    ///
    /// # Errors
    /// As [`lock`](FairLock::lock).
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<FairGuard<'_>>> {
        self.take("lock_timeout", Deadline::after(timeout), Location::caller())
    }

    /// Holds it, poisoned or not, before all who wait; it is sound afterwards. See
    /// [`Lock::recover`](crate::Lock::recover).
    ///
    /// # Errors
    /// As [`lock`](FairLock::lock), but for `Poisoned`.
    #[track_caller]
    pub fn recover(&self) -> Result<FairGuard<'_>> {
        let hold = super::core::recover(&self.object.core, &self.site(Location::caller()))?;
        Ok(FairGuard { lock: self, _hold: hold })
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
    ) -> Result<Option<FairGuard<'_>>> {
        let site = self.site(location);
        let outcome = self
            .enter(&site)
            .map_err(|error| error.of(self.subject()).at(location))?
            .unwrap_or_else(|seat| self.wait(seat, &site, deadline));
        match outcome {
            Ok(()) => Ok(Some(FairGuard { lock: self, _hold: Hold::new(&self.object.core) })),
            Err(Refusal::TimedOut) => Ok(None),
            Err(refusal) => Err(self.object.core.fail(refusal, operation, &site)),
        }
    }

    /// Takes it when nobody waits or holds it, and a seat in the line otherwise.
    fn enter(&self, site: &Site) -> Result<Result<Result<(), Refusal>, usize>> {
        let Body { core, line } = &*self.object;
        let held = line.hold();
        if core.is_held_here() {
            return Ok(Ok(Err(Refusal::HeldHere)));
        }
        if line.is_empty(&held) {
            match core.try_lock(site) {
                Err(Refusal::TimedOut) => {}
                outcome => return Ok(Ok(outcome)),
            }
        }
        line.enter(&held).map(Err)
    }

    /// Only the first in the line asks for the lock itself.
    fn wait(&self, seat: usize, site: &Site, deadline: Deadline) -> Result<(), Refusal> {
        let Body { core, line } = &*self.object;
        let mut waiting = Waiting::begin(site);
        let outcome = loop {
            if line.is_first(seat) {
                break core.lock(site, deadline);
            }
            if deadline.has_passed() {
                break Err(Refusal::TimedOut);
            }
            line.sleep(seat, waiting.until(deadline));
            if let Err(report) = waiting.look() {
                break Err(Refusal::Circle(report));
            }
        };
        line.leave(seat);
        // The next is the first now.
        line.nudge();
        outcome
    }

    fn site(&self, location: Caller) -> Site {
        Site {
            what: "FairLock",
            number: self.object.number(),
            place: self.object.place(),
            location,
        }
    }
}

/// A [`FairLock`] that is held, until the guard is dropped. It stays in the thread that has locked.
#[must_use = "the lock is released at once when the guard is dropped"]
pub struct FairGuard<'a> {
    lock: &'a FairLock,
    _hold: Hold<'a>,
}

impl std::fmt::Debug for FairGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, held", self.lock)
    }
}

//! A value with its lock.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::ptr::NonNull;
use std::time::Duration;

use bytemuck::Pod;

use super::block::Block;
use crate::arena::{self, Arena, Kind, Object, existing, fingerprint};
use crate::error::Result;
use crate::sync::core::{Caller, Core, Hold, recover, take};
use crate::sync::handle;
use crate::sync::watch::Site;
use crate::sys::Deadline;

#[repr(C, align(64))]
pub struct Body {
    core: Core,
    block: Block,
}

// SAFETY: it is `repr(C)`, of atomics and mutexes, and aligned to 64.
unsafe impl arena::Shared for Body {
    const KIND: Kind = Kind::Value;

    fn destroy(&self, arena: &Arena) {
        self.block.give(arena);
    }

    fn is_free(&self) -> bool {
        self.core.is_free()
    }
}

/// A value that processes share, with its own lock.
///
/// The value is plain data, of any size: numbers, arrays of them, and structures that derive
/// [`bytemuck::Pod`](crate::bytemuck::Pod). A process that dies while it changes the value poisons it, as a
/// [`Lock`](crate::Lock).
///
/// ```
/// use phalanx_process::{Process, Shared};
///
/// let sum = Shared::new(0_u64)?;
/// let add = |sum: Shared<u64>| sum.update(|sum| *sum += 5).expect("nobody died");
/// Process::spawn(add, sum.clone())?.join()?;
/// sum.update(|sum| *sum += 2)?;
/// assert_eq!(sum.get()?, 7);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct Shared<T> {
    object: Object<Body>,
    value: PhantomData<fn(T) -> T>,
}

handle!(Shared<T>, "value", value);

impl<T: Pod> Shared<T> {
    /// Shares a value.
    ///
    /// # Errors
    /// `System` when there is no memory; `Argument` for a type that is aligned to more than 64 bytes.
    #[track_caller]
    pub fn new(value: T) -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Self>(), |arena, body: &Body| {
            body.core.init()?;
            let address = body.block.take::<T>(arena, 1)?;
            // SAFETY: the block is new, has room for one, and is aligned.
            unsafe { address.write(value) };
            Ok(())
        })
        .map_err(|error| error.of("value").at(location))?;
        Ok(Shared { object, value: PhantomData })
    }

    /// The value now.
    ///
    /// # Errors
    /// As [`lock`](Shared::lock).
    #[track_caller]
    pub fn get(&self) -> Result<T> {
        let core = &self.object.core;
        let site = self.site(Location::caller());
        core.lock_unnoted(&site, Deadline::NEVER)
            .map_err(|refusal| core.fail(refusal, "get", &site))?;
        // SAFETY: the lock is held.
        let value = self.address(site.location).map(|address| unsafe { address.read() });
        core.unlock();
        value
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// As [`lock`](Shared::lock).
    #[track_caller]
    pub fn set(&self, value: T) -> Result<()> {
        *self.take("set", Deadline::NEVER, Location::caller())?.expect("a wait without an end") =
            value;
        Ok(())
    }

    /// Changes the value with the lock held: nobody sees it half changed. A panic in the function poisons it.
    ///
    /// ```
    /// let pair = phalanx_process::Shared::new([1, 2])?;
    /// let first = pair.update(|pair| {
    ///     pair.swap(0, 1);
    ///     pair[0]
    /// })?;
    /// assert_eq!(first, 2);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`lock`](Shared::lock).
    #[track_caller]
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R> {
        let guard = self.take("update", Deadline::NEVER, Location::caller())?;
        Ok(change(&mut guard.expect("a wait without an end")))
    }

    /// Holds the lock: the guard is the value.
    ///
    /// # Errors
    /// `Poisoned` when a process died or panicked while it could change the value; `Deadlock` when this thread has a
    /// guard of it, or, with `PHALANX_WATCH=error`, when processes wait for each other in a circle.
    #[track_caller]
    pub fn lock(&self) -> Result<SharedGuard<'_, T>> {
        let guard = self.take("lock", Deadline::NEVER, Location::caller())?;
        Ok(guard.expect("a wait without an end"))
    }

    /// Holds the lock if nobody else does now.
    ///
    /// # Errors
    /// As [`lock`](Shared::lock).
    #[track_caller]
    pub fn try_lock(&self) -> Result<Option<SharedGuard<'_, T>>> {
        self.take("try_lock", Deadline::after(Duration::ZERO), Location::caller())
    }

    /// [`lock`](Shared::lock), waiting so long at most: `None` when the time is up.
    ///
    /// # Errors
    /// As [`lock`](Shared::lock).
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<SharedGuard<'_, T>>> {
        self.take("lock_timeout", Deadline::after(timeout), Location::caller())
    }

    /// Holds the lock, poisoned or not: look at the value, and put it right. It is sound afterwards.
    ///
    /// # Errors
    /// As [`lock`](Shared::lock), but for `Poisoned`.
    #[track_caller]
    pub fn recover(&self) -> Result<SharedGuard<'_, T>> {
        let location = Location::caller();
        let hold = recover(&self.object.core, &self.site(location))?;
        Ok(SharedGuard { value: self.address(location)?, _hold: hold, shared: PhantomData })
    }

    /// Whether a process died or panicked while it could change the value.
    pub fn is_poisoned(&self) -> bool {
        self.object.core.is_poisoned()
    }

    fn take(
        &self,
        operation: &'static str,
        deadline: Deadline,
        location: Caller,
    ) -> Result<Option<SharedGuard<'_, T>>> {
        let Some(hold) = take(&self.object.core, &self.site(location), operation, deadline)? else {
            return Ok(None);
        };
        Ok(Some(SharedGuard { value: self.address(location)?, _hold: hold, shared: PhantomData }))
    }

    fn address(&self, location: Caller) -> Result<NonNull<T>> {
        self.object
            .block
            .address(existing(), 1)
            .map_err(|error| error.of(self.subject()).at(location))
    }

    fn site(&self, location: Caller) -> Site {
        Site { what: "value", number: self.object.number(), place: self.object.place(), location }
    }
}

/// The value of a [`Shared`], with its lock held until the guard is dropped. It stays in the thread that has locked.
#[must_use = "the lock is released at once when the guard is dropped"]
pub struct SharedGuard<'a, T> {
    value: NonNull<T>,
    _hold: Hold<'a>,
    shared: PhantomData<&'a Shared<T>>,
}

impl<T: Pod> Deref for SharedGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held, and the handle keeps the memory.
        unsafe { self.value.as_ref() }
    }
}

impl<T: Pod> DerefMut for SharedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; nobody else has the lock.
        unsafe { self.value.as_mut() }
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for SharedGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

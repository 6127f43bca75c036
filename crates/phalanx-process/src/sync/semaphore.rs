//! A number of permits.
//!
//! The truth is how many permits there are, and how many each process holds: what is free is computed. So each
//! change is one store, and the permits of a dead process come back by no longer being counted.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use super::core::Caller;
use super::handle;
use super::party::{is_gone, me};
use crate::arena::{Arena, Kind, MAX_PROCESSES, Object, Shared, existing, fingerprint};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::robust::RobustMutex;
use crate::sys::{Deadline, comes_soon, futex};

/// What each process has of something, and whether it lives.
#[repr(C)]
pub struct Shares {
    /// The slots that have ever had any, a bit each.
    used: [AtomicU64; MAX_PROCESSES / 64],
    /// The generation of the process, and how many it has.
    counts: [AtomicU64; MAX_PROCESSES],
}

impl Shares {
    pub fn reset(&self) {
        for slot in self.used() {
            self.counts[slot].store(0, Ordering::Relaxed);
        }
        for bits in &self.used {
            bits.store(0, Ordering::Relaxed);
        }
    }

    fn used(&self) -> impl Iterator<Item = usize> {
        self.used.iter().enumerate().flat_map(|(word, bits)| {
            let mut bits = bits.load(Ordering::Acquire);
            std::iter::from_fn(move || {
                (bits != 0).then(|| {
                    let slot = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    slot
                })
            })
        })
    }

    /// This process has one more. The caller has the lock that goes with it, or this process has some already.
    pub fn add(&self) {
        let slot = existing().me() as usize;
        let bit = 1 << (slot % 64);
        if self.used[slot / 64].load(Ordering::Relaxed) & bit == 0 {
            self.used[slot / 64].fetch_or(bit, Ordering::AcqRel);
        }
        let mine = me() >> 32 << 32;
        let count = &self.counts[slot];
        if count.load(Ordering::Acquire) & !0xffff_ffff == mine {
            count.fetch_add(1, Ordering::AcqRel);
        } else {
            // What a former process of the slot had.
            count.store(mine | 1, Ordering::Release);
        }
    }

    /// This process has one less. Says whether it has none now.
    pub fn remove(&self) -> bool {
        let before = self.counts[existing().me() as usize].fetch_sub(1, Ordering::AcqRel);
        before as u32 == 1
    }

    /// What a process has, by its slot.
    pub fn owners(&self) -> impl Iterator<Item = (u64, u32)> {
        self.used().filter_map(|slot| {
            let count = self.counts[slot].load(Ordering::Acquire);
            let who = count >> 32 << 32 | (slot as u64 + 1);
            (count as u32 != 0).then_some((who, count as u32))
        })
    }

    /// What all have together.
    pub fn total(&self) -> u64 {
        self.owners().map(|(_, count)| u64::from(count)).sum()
    }

    /// Forgets those that are gone. The caller has the lock that goes with it.
    pub fn forget_the_dead(&self) {
        for (who, count) in self.owners().filter(|(who, _)| is_gone(*who)) {
            let slot = (who as u32 - 1) as usize;
            let dead = who >> 32 << 32 | u64::from(count);
            // A new process of the slot may be faster.
            let _kept =
                self.counts[slot].compare_exchange(dead, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

#[repr(C, align(64))]
pub struct Body {
    /// Who takes a permit holds it, and who waits for one.
    gate: RobustMutex,
    sleeps: AtomicU32,
    is_bounded: AtomicU32,
    /// Permits that there are, free and taken.
    permits: AtomicU64,
    /// At most so many.
    bound: AtomicU64,
    shares: Shares,
}

// SAFETY: it is `repr(C)`, of atomics and mutexes, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::Semaphore;

    fn destroy(&self, _arena: &Arena) {}
}

impl Body {
    fn free(&self) -> u64 {
        self.permits.load(Ordering::Acquire).saturating_sub(self.shares.total())
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.sleeps.load(Ordering::Relaxed) != 0 && self.sleeps.swap(0, Ordering::AcqRel) != 0 {
            futex::wake(&self.sleeps, 1);
        }
    }
}

/// A number of permits: so many processes and threads at a time go on, the others wait.
///
/// The permits of a process that dies are free again.
///
/// ```
/// use phalanx_process::Semaphore;
///
/// let seats = Semaphore::new(2)?;
/// let first = seats.acquire()?;
/// let second = seats.acquire()?;
/// assert!(seats.try_acquire()?.is_none());
/// drop(first);
/// assert!(seats.try_acquire()?.is_some());
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct Semaphore {
    object: Object<Body>,
}

handle!(Semaphore, "semaphore");

impl Semaphore {
    /// A semaphore with so many permits. [`release`](Semaphore::release) adds more.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new(permits: usize) -> Result<Self> {
        Self::create(permits, false, Location::caller())
    }

    /// A semaphore that never has more permits than at the beginning: a [`release`](Semaphore::release) too many is
    /// an error.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn bounded(permits: usize) -> Result<Self> {
        Self::create(permits, true, Location::caller())
    }

    fn create(permits: usize, is_bounded: bool, location: Caller) -> Result<Self> {
        let object = Object::create(fingerprint::<Self>(), |_, body: &Body| {
            // SAFETY: nobody else knows it yet.
            unsafe { body.gate.init() }
                .map_err(|error| Error::new(ErrorKind::System, "new", error.to_string()))?;
            body.sleeps.store(0, Ordering::Relaxed);
            body.is_bounded.store(is_bounded.into(), Ordering::Relaxed);
            body.permits.store(permits as u64, Ordering::Relaxed);
            body.bound.store(permits as u64, Ordering::Relaxed);
            body.shares.reset();
            Ok(())
        })
        .map_err(|error| error.of("semaphore").at(location))?;
        Ok(Semaphore { object })
    }

    /// Waits for a permit, and takes it until it is dropped.
    ///
    /// # Errors
    /// None of the semaphore's own: waiting for a permit cannot fail.
    #[track_caller]
    pub fn acquire(&self) -> Result<Permit<'_>> {
        Ok(self.take(Deadline::NEVER).expect("a wait without an end"))
    }

    /// Takes a permit, if one is free now.
    ///
    /// # Errors
    /// As [`acquire`](Semaphore::acquire).
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Option<Permit<'_>>> {
        Ok(self.take(Deadline::after(Duration::ZERO)))
    }

    /// Takes a permit, and waits so long for one: `None` when the time is up.
    ///
    /// # Errors
    /// As [`acquire`](Semaphore::acquire).
    #[track_caller]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<Permit<'_>>> {
        Ok(self.take(Deadline::after(timeout)))
    }

    fn take(&self, deadline: Deadline) -> Option<Permit<'_>> {
        let body = &*self.object;
        // Who waits for a permit sleeps with the gate: who finds it closed has nothing to get, unless somebody is
        // just busy.
        if body.gate.pass(deadline, || body.free() == 0).is_err() {
            return None;
        }
        let permit = loop {
            if body.free() == 0 {
                body.shares.forget_the_dead();
            }
            if body.free() > 0 {
                body.shares.add();
                break Some(Permit { semaphore: self });
            }
            if deadline.has_passed() {
                break None;
            }
            if comes_soon(|| body.free() > 0) {
                continue;
            }
            body.sleeps.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if body.free() == 0 {
                futex::wait(&body.sleeps, 1, deadline.slice());
            }
            body.sleeps.store(0, Ordering::Relaxed);
        };
        body.gate.unlock();
        permit
    }

    /// Adds a permit that nobody has: one that was [forgotten](Permit::forget), perhaps in another process, or a new
    /// one.
    ///
    /// ```
    /// use phalanx_process::Semaphore;
    ///
    /// let items = Semaphore::new(0)?;
    /// items.release()?;
    /// items.acquire()?.forget();
    /// assert!(items.try_acquire()?.is_none());
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// `State` when a [bounded](Semaphore::bounded) semaphore has all of its permits: those that are held count too.
    #[track_caller]
    pub fn release(&self) -> Result<()> {
        let body = &*self.object;
        let bound = match body.is_bounded.load(Ordering::Relaxed) {
            0 => u64::MAX,
            _ => body.bound.load(Ordering::Relaxed),
        };
        let more = |permits: u64| (permits < bound).then(|| permits + 1);
        if body.permits.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            let detail = format!(
                "it has all of its {bound} permits; one that is held is released by dropping it"
            );
            let error = Error::new(ErrorKind::State, "release", detail);
            return Err(error.of(self.subject()).at(Location::caller()));
        }
        body.wake();
        Ok(())
    }

    /// Permits that are free now.
    pub fn available(&self) -> usize {
        self.object.free() as usize
    }
}

/// A permit of a [`Semaphore`]: it is free again when this is dropped.
#[must_use = "the permit is free again when it is dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
}

impl Permit<'_> {
    /// Gives it back now.
    pub fn release(self) {
        drop(self);
    }

    /// The semaphore has a permit less from now on, also when this process ends:
    /// [`Semaphore::release`] brings it back.
    pub fn forget(self) {
        let body = &*self.semaphore.object;
        // In this order a death in between gives nothing back.
        body.permits.fetch_sub(1, Ordering::AcqRel);
        body.shares.remove();
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.object.shares.remove();
        self.semaphore.object.wake();
    }
}

impl std::fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a permit of {:?}", self.semaphore)
    }
}

//! Many values of one type. Ranges of them can be held at the same time.

use std::marker::PhantomData;
use std::ops::{Bound, Deref, DerefMut, Range, RangeBounds};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use bytemuck::Pod;

use super::block::Block;
use crate::arena::{self, Arena, Kind, Object, existing, fingerprint};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::core::Caller;
use crate::sync::handle;
use crate::sync::party::{Holder, is_gone, me, place, thread};
use crate::sys::robust::{Acquired, Held, RobustMutex};
use crate::sys::{Deadline, futex, image};

/// Ranges of one array that are held at the same time.
const CLAIMS: usize = 500;

const SOUND: u32 = 0;
const DIED: u32 = 1;
const PANICKED: u32 = 2;

/// A range that is held. It is taken by the store of `who`, and released by another one.
#[repr(C)]
struct Claim {
    /// The process; 0 for none.
    who: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
    line: AtomicU64,
    thread: AtomicU32,
    /// Its name is told when its slot has another process already.
    by: Holder,
}

#[repr(C, align(64))]
pub struct Body {
    /// Held for a moment by those who look at the claims.
    gate: RobustMutex,
    block: Block,
    length: AtomicU64,
    poisoned: AtomicU32,
    /// Changes when a claim is released.
    bell: AtomicU32,
    sleepers: AtomicU32,
    /// Claims that were ever used.
    used: AtomicU32,
    /// One who holds the gate writes a value.
    writes: AtomicU32,
    culprit: Holder,
    claims: [Claim; CLAIMS],
}

// SAFETY: it is `repr(C)`, of atomics and mutexes, and aligned to 64.
unsafe impl arena::Shared for Body {
    const KIND: Kind = Kind::Array;

    fn destroy(&self, arena: &Arena) {
        self.block.give(arena);
    }
}

/// Why a range was not claimed now.
enum Refusal {
    Overlaps,
    Failed(Error),
}

impl Body {
    fn used(&self) -> &[Claim] {
        &self.claims[..(self.used.load(Ordering::Acquire) as usize).min(CLAIMS)]
    }

    fn poison(&self, how: u32, who: u64, line: u64) {
        self.culprit.note_other(who, line);
        self.poisoned.store(how, Ordering::Release);
    }

    /// Looks at the claims: those of the dead go, and poison the array.
    fn hold(&self) -> Held<'_> {
        let (held, acquired) = self.gate.hold();
        if acquired == Acquired::HolderDied && self.writes.swap(0, Ordering::AcqRel) != 0 {
            self.poison(DIED, 0, 0);
        }
        held
    }

    /// What is in the way of a range. The caller has the gate.
    fn overlaps(&self, range: &Range<usize>) -> bool {
        let (start, end) = (range.start as u64, range.end as u64);
        // No values are in nobody's way.
        !range.is_empty()
            && self.used().iter().any(|claim| {
                let who = claim.who.load(Ordering::Acquire);
                if who == 0
                    || claim.start.load(Ordering::Relaxed) >= end
                    || claim.end.load(Ordering::Relaxed) <= start
                {
                    return false;
                }
                if is_gone(who) {
                    self.culprit.copy(&claim.by);
                    self.poisoned.store(DIED, Ordering::Release);
                    claim.who.store(0, Ordering::Release);
                    return false;
                }
                true
            })
    }

    fn held_here(&self, range: &Range<usize>) -> Option<u64> {
        let (start, end) = (range.start as u64, range.end as u64);
        self.used()
            .iter()
            .find(|claim| {
                claim.who.load(Ordering::Acquire) == me()
                    && claim.thread.load(Ordering::Relaxed) == thread()
                    && claim.start.load(Ordering::Relaxed) < end
                    && claim.end.load(Ordering::Relaxed) > start
            })
            .map(|claim| claim.line.load(Ordering::Relaxed))
    }

    /// Notes a claim. The caller has the gate, and nothing is in the way.
    fn note(&self, range: &Range<usize>, location: Caller) -> Option<usize> {
        let used = self.used();
        let free = used.iter().position(|claim| claim.who.load(Ordering::Acquire) == 0);
        let number = free.or((used.len() < CLAIMS).then_some(used.len()))?;
        if number == used.len() {
            self.used.store(number as u32 + 1, Ordering::Release);
        }
        let claim = &self.claims[number];
        claim.start.store(range.start as u64, Ordering::Relaxed);
        claim.end.store(range.end as u64, Ordering::Relaxed);
        claim.line.store(image::name_of_location(location), Ordering::Relaxed);
        claim.thread.store(thread(), Ordering::Relaxed);
        claim.by.note(location);
        claim.who.store(me(), Ordering::Release);
        Some(number)
    }

    fn ring(&self) {
        self.bell.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) != 0
            && self.sleepers.swap(0, Ordering::AcqRel) != 0
        {
            futex::wake(&self.bell, u32::MAX);
        }
    }

    fn why(&self) -> String {
        let how = match self.poisoned.load(Ordering::Acquire) {
            PANICKED => "panicked",
            _ => "died",
        };
        format!(
            "{} {how} while it held a part of it, taken at {}: put the values right, and call `recover`",
            self.culprit.person(),
            self.culprit.place()
        )
    }
}

/// An array that processes share.
///
/// Single values are read and written with [`get`](SharedArray::get) and [`set`](SharedArray::set);
/// [`claim`](SharedArray::claim) holds a range, so that several processes work on several ranges at the same time;
/// [`lock`](SharedArray::lock) holds all of it. A process that dies with a range poisons the array.
///
/// ```
/// use phalanx_process::{Process, SharedArray};
///
/// fn double((numbers, half): (SharedArray<u64>, usize)) {
///     for x in numbers.claim(half * 2..half * 2 + 2).expect("nobody died").iter_mut() {
///         *x *= 2;
///     }
/// }
///
/// let numbers = SharedArray::new(&[1, 2, 3, 4])?;
/// let other = Process::spawn(double, (numbers.clone(), 0))?;
/// double((numbers.clone(), 1));
/// other.join()?;
/// assert_eq!(numbers.to_vec()?, [2, 4, 6, 8]);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct SharedArray<T> {
    object: Object<Body>,
    value: PhantomData<fn(T) -> T>,
}

handle!(SharedArray<T>, "array", value);

impl<T> SharedArray<T> {
    /// How many values it has.
    pub fn len(&self) -> usize {
        self.object.length.load(Ordering::Relaxed) as usize
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a process died or panicked while it held a part.
    pub fn is_poisoned(&self) -> bool {
        let _held = self.object.hold();
        let _overlaps = self.object.overlaps(&(0..self.len()));
        self.object.poisoned.load(Ordering::Acquire) != SOUND
    }
}

impl<T: Pod> SharedArray<T> {
    /// Shares a copy of these values.
    ///
    /// # Errors
    /// `System` when there is no memory; `Argument` for a type that is aligned to more than 64 bytes.
    #[track_caller]
    pub fn new(values: &[T]) -> Result<Self> {
        Self::create(values.len(), Location::caller(), |start| {
            // SAFETY: there is room for so many, which nobody else knows yet.
            unsafe { start.copy_from_nonoverlapping(NonNull::from(values).cast(), values.len()) }
        })
    }

    /// So many values, all of them zero.
    ///
    /// # Errors
    /// As [`new`](SharedArray::new).
    #[track_caller]
    pub fn zeroed(length: usize) -> Result<Self> {
        Self::create(length, Location::caller(), |start| {
            // SAFETY: there is room for so many, which nobody else knows yet, and zeros are values.
            unsafe { start.write_bytes(0, length) }
        })
    }

    fn create(length: usize, location: Caller, fill: impl FnOnce(NonNull<T>)) -> Result<Self> {
        let object = Object::create(fingerprint::<Self>(), |arena, body: &Body| {
            // SAFETY: nobody else knows it yet.
            unsafe { body.gate.init() }
                .map_err(|error| Error::new(ErrorKind::System, "new", error.to_string()))?;
            for claim in body.used() {
                claim.who.store(0, Ordering::Relaxed);
            }
            for word in [&body.poisoned, &body.used, &body.sleepers, &body.writes] {
                word.store(0, Ordering::Relaxed);
            }
            body.culprit.reset();
            body.length.store(length as u64, Ordering::Relaxed);
            fill(body.block.take(arena, length)?);
            Ok(())
        })
        .map_err(|error| error.of("array").at(location))?;
        Ok(SharedArray { object, value: PhantomData })
    }

    /// A copy of all values, taken while nobody holds any of them.
    ///
    /// # Errors
    /// As [`claim`](SharedArray::claim).
    #[track_caller]
    pub fn to_vec(&self) -> Result<Vec<T>> {
        let guard = self.take(0..self.len(), "to_vec", Deadline::NEVER, Location::caller())?;
        Ok(guard.expect("a wait without an end").to_vec())
    }

    /// One value. Waits while somebody holds a range with it.
    ///
    /// # Errors
    /// As [`claim`](SharedArray::claim).
    #[track_caller]
    pub fn get(&self, index: usize) -> Result<T> {
        self.touch(index, "get", Location::caller(), |address| {
            // SAFETY: it is inside, and nobody changes it while the gate is held.
            unsafe { address.read() }
        })
    }

    /// Replaces one value. Waits while somebody holds a range with it.
    ///
    /// # Errors
    /// As [`claim`](SharedArray::claim).
    #[track_caller]
    pub fn set(&self, index: usize, value: T) -> Result<()> {
        self.touch(index, "set", Location::caller(), |address| {
            self.object.writes.store(1, Ordering::Relaxed);
            // SAFETY: it is inside, and nobody else uses it while the gate is held.
            unsafe { address.write(value) };
            self.object.writes.store(0, Ordering::Release);
        })
    }

    /// Holds all values. See [`claim`](SharedArray::claim).
    ///
    /// # Errors
    /// As [`claim`](SharedArray::claim).
    #[track_caller]
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>> {
        let guard = self.take(0..self.len(), "lock", Deadline::NEVER, Location::caller())?;
        Ok(guard.expect("a wait without an end"))
    }

    /// Holds the values of a range until the guard is dropped. It waits while somebody holds one of these; other
    /// ranges can be held at the same time.
    ///
    /// # Errors
    /// `Poisoned` when a process died or panicked while it held a part of the array; `Argument` for a range that is
    /// not inside; `Deadlock` when this thread holds one of the values; `System` when 500 ranges are held.
    #[track_caller]
    pub fn claim(&self, range: impl RangeBounds<usize>) -> Result<ArrayGuard<'_, T>> {
        let location = Location::caller();
        let range = self.inside(range, "claim", location)?;
        let guard = self.take(range, "claim", Deadline::NEVER, location)?;
        Ok(guard.expect("a wait without an end"))
    }

    /// Holds the values of a range, if nobody holds any of them now.
    ///
    /// # Errors
    /// As [`claim`](SharedArray::claim).
    #[track_caller]
    pub fn try_claim(&self, range: impl RangeBounds<usize>) -> Result<Option<ArrayGuard<'_, T>>> {
        let location = Location::caller();
        let range = self.inside(range, "try_claim", location)?;
        self.take(range, "try_claim", Deadline::after(Duration::ZERO), location)
    }

    /// [`claim`](SharedArray::claim), waiting so long at most: `None` when the time is up.
    ///
    /// # Errors
    /// As [`claim`](SharedArray::claim).
    #[track_caller]
    pub fn claim_timeout(
        &self,
        range: impl RangeBounds<usize>,
        timeout: Duration,
    ) -> Result<Option<ArrayGuard<'_, T>>> {
        let location = Location::caller();
        let range = self.inside(range, "claim_timeout", location)?;
        self.take(range, "claim_timeout", Deadline::after(timeout), location)
    }

    /// Holds all values, poisoned or not: look at them, and put them right. The array is sound afterwards.
    ///
    /// # Errors
    /// As [`claim`](SharedArray::claim), but for `Poisoned`.
    #[track_caller]
    pub fn recover(&self) -> Result<ArrayGuard<'_, T>> {
        let location = Location::caller();
        let guard = self.take(0..self.len(), "recover", Deadline::NEVER, location)?;
        let guard = guard.expect("a wait without an end");
        self.object.poisoned.store(SOUND, Ordering::Release);
        Ok(guard)
    }

    fn inside(
        &self,
        range: impl RangeBounds<usize>,
        operation: &'static str,
        location: Caller,
    ) -> Result<Range<usize>> {
        let start = match range.start_bound() {
            Bound::Included(start) => Some(*start),
            Bound::Excluded(before) => before.checked_add(1),
            Bound::Unbounded => Some(0),
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.checked_add(1),
            Bound::Excluded(end) => Some(*end),
            Bound::Unbounded => Some(self.len()),
        };
        match (start, end) {
            (Some(start), Some(end)) if start <= end && end <= self.len() => Ok(start..end),
            _ => {
                let (start, end) = (range.start_bound(), range.end_bound());
                let detail = format!("it has {} values, not {start:?} to {end:?}", self.len());
                Err(self.named(Error::new(ErrorKind::Argument, operation, detail), location))
            }
        }
    }

    fn named(&self, error: Error, location: Caller) -> Error {
        error.of(self.subject()).at(location)
    }

    /// Runs something with one value, as soon as nobody holds it, under the gate.
    fn touch<R>(
        &self,
        index: usize,
        operation: &'static str,
        location: Caller,
        f: impl FnOnce(NonNull<T>) -> R,
    ) -> Result<R> {
        let range = self.inside(index..=index, operation, location)?;
        let start = self.start(location)?;
        let held = self.wait(&range, operation, Deadline::NEVER, location)?;
        debug_assert!(held.is_some());
        // SAFETY: the index is inside.
        let result = f(unsafe { start.add(index) });
        drop(held);
        Ok(result)
    }

    fn start(&self, location: Caller) -> Result<NonNull<T>> {
        self.object
            .block
            .address(existing(), self.len())
            .map_err(|error| self.named(error, location))
    }

    fn take(
        &self,
        range: Range<usize>,
        operation: &'static str,
        deadline: Deadline,
        location: Caller,
    ) -> Result<Option<ArrayGuard<'_, T>>> {
        let start = self.start(location)?;
        let Some(held) = self.wait(&range, operation, deadline, location)? else {
            return Ok(None);
        };
        let Some(number) = self.object.note(&range, location) else {
            let detail = format!("{CLAIMS} ranges are held already");
            return Err(self.named(Error::new(ErrorKind::System, operation, detail), location));
        };
        drop(held);
        // SAFETY: the range is inside.
        let first = unsafe { start.add(range.start) };
        Ok(Some(ArrayGuard {
            body: &self.object,
            number,
            values: NonNull::slice_from_raw_parts(first, range.len()),
            in_panic: std::thread::panicking(),
            array: PhantomData,
        }))
    }

    /// Waits until nobody holds any of a range, and returns with the gate held.
    fn wait(
        &self,
        range: &Range<usize>,
        operation: &'static str,
        deadline: Deadline,
        location: Caller,
    ) -> Result<Option<Held<'_>>> {
        let body = &*self.object;
        loop {
            let bell = body.bell.load(Ordering::Acquire);
            match self.look(range, operation) {
                Ok(held) => return Ok(Some(held)),
                Err(Refusal::Failed(error)) => return Err(self.named(error, location)),
                Err(Refusal::Overlaps) if deadline.has_passed() => return Ok(None),
                Err(Refusal::Overlaps) => {}
            }
            body.sleepers.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            futex::wait(&body.bell, bell, deadline.slice());
        }
    }

    fn look(&self, range: &Range<usize>, operation: &'static str) -> Result<Held<'_>, Refusal> {
        let body = &*self.object;
        let held = body.hold();
        let overlaps = body.overlaps(range);
        if body.poisoned.load(Ordering::Acquire) != SOUND && operation != "recover" {
            return Err(Refusal::Failed(Error::new(ErrorKind::Poisoned, operation, body.why())));
        }
        if let Some(line) = overlaps.then(|| body.held_here(range)).flatten() {
            let detail = format!("this thread has held some of it since {}", place(line));
            return Err(Refusal::Failed(Error::new(ErrorKind::Deadlock, operation, detail)));
        }
        if overlaps { Err(Refusal::Overlaps) } else { Ok(held) }
    }
}

/// Values of a [`SharedArray`] that are held until the guard is dropped.
#[must_use = "the values are released at once when the guard is dropped"]
pub struct ArrayGuard<'a, T> {
    body: &'a Body,
    number: usize,
    values: NonNull<[T]>,
    in_panic: bool,
    array: PhantomData<&'a SharedArray<T>>,
}

impl<T: Pod> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: they are claimed, and the handle keeps the memory.
        unsafe { self.values.as_ref() }
    }
}

impl<T: Pod> DerefMut for ArrayGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; nobody else has claimed them.
        unsafe { self.values.as_mut() }
    }
}

impl<T> Drop for ArrayGuard<'_, T> {
    fn drop(&mut self) {
        let claim = &self.body.claims[self.number];
        if !self.in_panic && std::thread::panicking() {
            let _held = self.body.hold();
            self.body.poison(PANICKED, me(), claim.line.load(Ordering::Relaxed));
        }
        claim.who.store(0, Ordering::Release);
        self.body.ring();
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

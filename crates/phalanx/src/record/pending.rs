//! What has been started and is not complete: requests, and the parts of `sendrecv`.
//!
//! A table of fixed size, so that starting a request allocates nothing for it. A program with more
//! requests in flight than it has places loses nothing but the watch's certainty.

use std::sync::atomic::{
    AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed,
};
use std::sync::{Mutex, PoisonError};

use super::lane::{self, Entry, Noted};
use super::{Call, What};

const PLACES: usize = 4096;

/// The place of a request that found none.
pub(crate) const NONE: u16 = u16::MAX;

/// One request in flight.
struct Place {
    live: AtomicBool,
    /// The sequence number of the call that waits for it.
    waited_by: AtomicU64,
    entry: Entry,
}

static TABLE: [Place; PLACES] = [const {
    Place { live: AtomicBool::new(false), waited_by: AtomicU64::new(0), entry: Entry::new() }
}; PLACES];

/// Places that were used and are free again: a stack.
static FREE: [AtomicU16; PLACES] = [const { AtomicU16::new(0) }; PLACES];
static FREE_COUNT: AtomicUsize = AtomicUsize::new(0);
/// Places from here on were never used.
static UNUSED: AtomicUsize = AtomicUsize::new(0);
/// Requests in flight that found no place.
static WITHOUT_PLACE: AtomicU32 = AtomicU32::new(0);

static SHARED: AtomicBool = AtomicBool::new(false);
static LOCK: Mutex<()> = Mutex::new(());

/// Says that several threads may start requests at the same time.
pub(super) fn share() {
    SHARED.store(true, Relaxed);
}

#[inline(always)]
fn locked<R>(f: impl FnOnce() -> R) -> R {
    if SHARED.load(Relaxed) {
        let _guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        f()
    } else {
        f()
    }
}

/// Notes a request that was started. Nothing is noted where nobody watches.
#[inline(always)]
pub(crate) fn add(call: &Call<'_>, what: &What) -> u16 {
    if !lane::is_watched() {
        return NONE;
    }
    locked(|| {
        let free = FREE_COUNT.load(Relaxed);
        let place = if free > 0 {
            FREE_COUNT.store(free - 1, Relaxed);
            FREE[free - 1].load(Relaxed)
        } else {
            let unused = UNUSED.load(Relaxed);
            if unused == PLACES {
                WITHOUT_PLACE.fetch_add(1, Relaxed);
                return NONE;
            }
            UNUSED.store(unused + 1, Relaxed);
            unused as u16
        };
        let it = &TABLE[place as usize];
        it.entry.note(call, what);
        it.waited_by.store(0, Relaxed);
        it.live.store(true, Ordering::Release);
        place
    })
}

/// Notes that a request is complete.
#[inline(always)]
pub(crate) fn finish(place: u16) {
    if place == NONE {
        return;
    }
    locked(|| {
        let it = &TABLE[place as usize];
        if it.live.load(Relaxed) {
            it.live.store(false, Relaxed);
            let free = FREE_COUNT.load(Relaxed);
            FREE[free].store(place, Relaxed);
            FREE_COUNT.store(free + 1, Relaxed);
        }
    });
}

/// Notes that the call which this thread is inside of waits for a request.
#[inline(always)]
pub(crate) fn mark(place: u16) {
    if place != NONE
        && let Some(sequence) = lane::inside()
    {
        TABLE[place as usize].waited_by.store(sequence, Relaxed);
    }
}

/// A request, if it is in flight.
pub(crate) fn find(place: u16) -> Option<Noted> {
    let it = TABLE.get(place as usize)?;
    if it.live.load(Ordering::Acquire) { it.entry.read() } else { None }
}

/// Shows every request in flight, with the sequence number of the call that waits for it.
pub(crate) fn for_each(mut show: impl FnMut(Noted, u64)) {
    let used = UNUSED.load(Ordering::Acquire).min(PLACES);
    for it in &TABLE[..used] {
        if it.live.load(Ordering::Acquire)
            && let Some(noted) = it.entry.read()
        {
            show(noted, it.waited_by.load(Relaxed));
        }
    }
}

/// Whether there were ever more requests in flight than there are places.
pub(crate) fn overflowed() -> bool {
    WITHOUT_PLACE.load(Relaxed) > 0
}

//! What has been started and is not complete: requests, and the parts of `sendrecv`.
//!
//! A table of fixed size, so that starting a request allocates nothing for it. A program with more
//! requests in flight than it has places loses nothing but the watch's certainty.

use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed,
};

use super::lane::{self, Entry, Noted};
use super::{Call, What};

const PLACES: usize = 4096;

/// The place of a request that found none.
pub(crate) const NONE: u16 = u16::MAX;

/// One request in flight.
#[repr(C, align(64))]
struct Place {
    entry: Entry,
    live: AtomicBool,
    /// The sequence number of the last call that waited for what is here, or was here before.
    waited_by: AtomicU64,
}

static TABLE: [Place; PLACES] = [const {
    Place { entry: Entry::new(), live: AtomicBool::new(false), waited_by: AtomicU64::new(0) }
}; PLACES];

/// Where to look for a free place: those after it were in use for the longest time.
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// How many requests found no place.
static WITHOUT_PLACE: AtomicU32 = AtomicU32::new(0);
/// How many places to look at.
const TRIES: usize = 64;

static SHARED: AtomicBool = AtomicBool::new(false);

/// Says that several threads may start requests at the same time.
pub(crate) fn share() {
    SHARED.store(true, Relaxed);
}

/// Notes a request that was started. Nothing is noted where nobody watches.
#[inline(always)]
pub(crate) fn add(call: &Call<'_>, what: &What) -> u16 {
    if !lane::is_watched() {
        return NONE;
    }
    let place = NEXT.load(Relaxed) % PLACES;
    NEXT.store(place + 1, Relaxed);
    let it = &TABLE[place];
    if it.live.load(Relaxed) || SHARED.load(Relaxed) {
        return add_elsewhere(&call.copy(), what, place);
    }
    it.entry.note(call, what);
    it.live.store(true, Ordering::Release);
    place as u16
}

/// Where the first place is taken, or several threads look for one.
#[cold]
#[inline(never)]
fn add_elsewhere(call: &Call<'_>, what: &What, first: usize) -> u16 {
    for place in (first..first + TRIES).map(|place| place % PLACES) {
        let it = &TABLE[place];
        if !it.live.swap(true, Ordering::AcqRel) {
            it.entry.note(call, what);
            NEXT.store(place + 1, Relaxed);
            return place as u16;
        }
    }
    WITHOUT_PLACE.fetch_add(1, Relaxed);
    NONE
}

/// Notes that a request is complete.
#[inline(always)]
pub(crate) fn finish(place: u16) {
    if let Some(it) = TABLE.get(place as usize) {
        it.live.store(false, Ordering::Release);
    }
}

/// Notes that the call which this thread is inside of waits for a request.
#[inline(always)]
pub(crate) fn mark(place: u16) {
    if let Some(it) = TABLE.get(place as usize)
        && let Some(sequence) = lane::inside()
    {
        it.waited_by.store(sequence, Relaxed);
    }
}

/// A request, if it is in flight.
pub(crate) fn find(place: u16) -> Option<Noted> {
    let it = TABLE.get(place as usize)?;
    if it.live.load(Ordering::Acquire) { it.entry.read() } else { None }
}

/// Shows every request in flight, with the sequence number of the call that waits for it.
pub(crate) fn for_each(mut show: impl FnMut(Noted, u64)) {
    for it in &TABLE {
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

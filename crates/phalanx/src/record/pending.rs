//! What has been started and is not complete: requests, and the parts of `sendrecv`.
//!
//! A table of fixed size, so that starting a request allocates nothing for it. A program with more
//! requests in flight than it has places loses nothing but the watch's certainty.

use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed,
};

use super::lane::{self, Entry, Noted};
use super::{Allowed, Call, What};

const PLACES: usize = 4096;

/// The place of a request that found none.
pub(crate) const NONE: u16 = u16::MAX;

/// The requests, whether they are in flight, and the sequence number of the last call that waited for
/// what is there, or was there before. Tables of their own, so that few lines of memory are touched.
static ENTRIES: [Entry; PLACES] = [const { Entry::new() }; PLACES];
static LIVE: [AtomicBool; PLACES] = [const { AtomicBool::new(false) }; PLACES];
static WAITED_BY: [AtomicU64; PLACES] = [const { AtomicU64::new(0) }; PLACES];

/// Where to look for a free place: none before it is free. Low places are used again and again, so that
/// they stay in the cache.
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// How many requests found no place.
static WITHOUT_PLACE: AtomicU32 = AtomicU32::new(0);

static SHARED: AtomicBool = AtomicBool::new(false);

/// Says that several threads may start requests at the same time.
pub(crate) fn share() {
    SHARED.store(true, Relaxed);
}

/// Notes a request that was started. Nothing is noted where nobody watches.
#[inline(always)]
pub(crate) fn add(_: Allowed<'_>, call: &Call<'_>, what: &What) -> u16 {
    if !lane::is_watched() {
        return NONE;
    }
    let place = NEXT.load(Relaxed);
    if place >= PLACES || LIVE[place].load(Relaxed) || SHARED.load(Relaxed) {
        return add_elsewhere(&call.copy(), what, place);
    }
    NEXT.store(place + 1, Relaxed);
    ENTRIES[place].note(call, what);
    LIVE[place].store(true, Ordering::Release);
    place as u16
}

/// Where the first place is taken, or several threads look for one.
#[cold]
#[inline(never)]
fn add_elsewhere(call: &Call<'_>, what: &What, first: usize) -> u16 {
    // Nobody keeps the order of the places for several threads.
    let first = if SHARED.load(Relaxed) { 0 } else { first };
    for place in first..PLACES {
        if !LIVE[place].load(Relaxed) && !LIVE[place].swap(true, Ordering::AcqRel) {
            ENTRIES[place].note(call, what);
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
    if let Some(live) = LIVE.get(place as usize) {
        live.store(false, Ordering::Release);
        if (place as usize) < NEXT.load(Relaxed) {
            NEXT.store(place as usize, Relaxed);
        }
    }
}

/// Notes that the call which this thread is inside of waits for a request.
#[inline(always)]
pub(crate) fn mark(place: u16) {
    if let Some(waited_by) = WAITED_BY.get(place as usize)
        && let Some(sequence) = lane::inside()
    {
        waited_by.store(sequence, Relaxed);
    }
}

/// A request, if it is in flight.
pub(crate) fn find(place: u16) -> Option<Noted> {
    let live = LIVE.get(place as usize)?.load(Ordering::Acquire);
    if live { ENTRIES[place as usize].read() } else { None }
}

/// Shows every request in flight, with the sequence number of the call that waits for it.
pub(crate) fn for_each(mut show: impl FnMut(Noted, u64)) {
    for place in 0..PLACES {
        if LIVE[place].load(Ordering::Acquire)
            && let Some(noted) = ENTRIES[place].read()
        {
            show(noted, WAITED_BY[place].load(Relaxed));
        }
    }
}

/// Whether there were ever more requests in flight than there are places.
pub(crate) fn overflowed() -> bool {
    WITHOUT_PLACE.load(Relaxed) > 0
}

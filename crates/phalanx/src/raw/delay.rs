//! Delays of calls that look random and follow from a seed (`PHALANX_WATCH_DELAY`): they show mistakes that
//! depend on which rank is faster.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::record;

/// The state of the generator of delays, or 0 for none.
static DELAY: AtomicU64 = AtomicU64::new(0);

/// Makes calls late by times that look random and follow from the seed and the rank.
pub(crate) fn set_delays(seed: u64, rank: usize) {
    let mixed = record::message(rank as i32) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    DELAY.store(mixed | 1, Relaxed);
}

/// The longest delay of a call, in microseconds.
const LONGEST_DELAY: u64 = 4000;

/// Makes the call that begins late, where delays were asked for.
#[inline]
pub(crate) fn delay() {
    let state = DELAY.load(Relaxed);
    if state != 0 {
        // xorshift64
        let mut next = state;
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        DELAY.store(next, Relaxed);
        if next.is_multiple_of(2) {
            thread::sleep(Duration::from_micros(next / 2 % LONGEST_DELAY));
        }
    }
}

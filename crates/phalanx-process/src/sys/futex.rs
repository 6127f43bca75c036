//! Sleeping on a word of shared memory.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};

/// Sleeps while the word has this value, at most for `timeout`. May return early: ask again.
pub fn wait(word: &AtomicU32, value: u32, timeout: Duration) {
    if timeout.is_zero() || word.load(Ordering::Acquire) != value {
        return;
    }
    let timeout = Timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    match futex::wait(word, Flags::empty(), value, Some(&timeout)) {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
        Err(error) => unreachable!("futex wait: {error}"),
    }
}

/// Wakes at most `count` sleepers.
pub fn wake(word: &AtomicU32, count: u32) {
    // The kernel takes a signed number.
    let count = count.min(i32::MAX as u32);
    if let Err(error) = futex::wake(word, Flags::empty(), count) {
        unreachable!("futex wake: {error}");
    }
}

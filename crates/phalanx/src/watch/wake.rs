//! How the thread of the watch sleeps, and what wakes it: the end, or a signal.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A pair of sockets: a byte that is written to one wakes who reads from the other. It stays open for the
/// rest of the process, because a signal handler may write at any time.
pub(super) struct Wake {
    sleeper: UnixStream,
    waker: UnixStream,
    ended: AtomicBool,
}

/// The one of this process, or nothing where the system has no descriptors left.
pub(super) fn wake() -> Option<&'static Wake> {
    static WAKE: OnceLock<Option<Wake>> = OnceLock::new();
    WAKE.get_or_init(|| Wake::new().ok()).as_ref()
}

impl Wake {
    fn new() -> io::Result<Self> {
        let (sleeper, waker) = UnixStream::pair()?;
        // Nobody may wait for room: a byte that is there already wakes as well.
        waker.set_nonblocking(true)?;
        Ok(Wake { sleeper, waker, ended: AtomicBool::new(false) })
    }

    /// Begins anew, after an end.
    pub fn begin(&self) {
        self.ended.store(false, Ordering::Release);
    }

    /// Sleeps for so long, or until somebody wakes it. Returns whether the end has come.
    pub fn sleep(&self, time: Duration) -> bool {
        let mut bytes = [0; 64];
        // Without a time limit the thread would sleep for ever.
        if self.sleeper.set_read_timeout(Some(time)).is_err() {
            std::thread::sleep(time);
        } else {
            // A time-out is what it mostly ends with.
            let _ = (&self.sleeper).read(&mut bytes);
        }
        self.ended.load(Ordering::Acquire)
    }

    /// Ends the thread that sleeps.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.nudge();
    }

    /// Wakes the thread that sleeps.
    pub fn nudge(&self) {
        // Where there is no room for the byte, others wake it.
        let _ = (&self.waker).write(&[0]);
    }

    /// Where a signal handler writes a byte.
    pub fn descriptor(&self) -> i32 {
        self.waker.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_sleeper_is_woken_by_the_end_and_otherwise_by_the_time() {
        let wake = Wake::new().expect("a pair of sockets");
        assert!(!wake.sleep(Duration::from_millis(5)));
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                let start = Instant::now();
                (wake.sleep(Duration::from_secs(60)), start.elapsed())
            });
            wake.end();
            let (ended, slept) = sleeper.join().expect("it does not panic");
            assert!(ended && slept < Duration::from_secs(50), "{slept:?}");
        });
        wake.begin();
        assert!(!wake.sleep(Duration::from_millis(5)));
    }

    #[test]
    fn more_bytes_than_there_is_room_for_do_no_harm() {
        let wake = Wake::new().expect("a pair of sockets");
        let mut written = 0;
        while (&wake.waker).write(&[0; 4096]).is_ok() {
            written += 1;
            assert!(written < 10_000, "a socket has an end");
        }
        wake.end();
        assert!(wake.sleep(Duration::from_secs(60)));
    }
}

//! Points at which a test kills the process, to see what it leaves.
//!
//! There is one before each store that matters in shared memory. They are in the program only with the feature
//! `crash-points`: with `PHALANX_CRASH_AT=name` a process dies when it comes to that point, with `name:3` when it
//! comes there for the third time.

/// Dies here, when a test says so.
#[cfg(feature = "crash-points")]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::point($name)
    };
}

#[cfg(not(feature = "crash-points"))]
macro_rules! crash_point {
    ($name:literal) => {};
}

#[cfg(feature = "crash-points")]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSED: AtomicU32 = AtomicU32::new(0);

    let Ok(wanted) = std::env::var("PHALANX_CRASH_AT") else { return };
    let (wanted, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if wanted == name && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == times.parse().unwrap_or(1) {
        // SAFETY: it ends this process, and needs nothing.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

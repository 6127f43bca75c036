//! What the kernel and the C library give: futexes, robust locks, shared memory, process descriptors.

pub mod descriptor;
pub mod futex;
pub mod image;
pub mod memory;
pub mod robust;
pub mod socket;

use std::time::{Duration, Instant};

/// The longest sleep: after it a waiter looks around, which repairs a wake-up that died with its sender.
pub const SLICE: Duration = Duration::from_millis(200);

/// Who has something to do under a lock and does nothing for so long is stopped, or has no processor.
pub const STANDSTILL: Duration = Duration::from_secs(1);

/// Lets others run for a moment, until this is so: an answer often comes sooner than a thread could sleep and be woken.
pub fn comes_soon(mut is_so: impl FnMut() -> bool) -> bool {
    const YIELDS: u32 = 20;
    (0..YIELDS).any(|_| {
        std::thread::yield_now();
        is_so()
    })
}

/// Until when to wait.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    pub const NEVER: Deadline = Deadline(None);

    /// A time that no clock can show is never.
    pub fn after(timeout: Duration) -> Deadline {
        Deadline(Instant::now().checked_add(timeout))
    }

    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|end| end <= Instant::now())
    }

    /// Whether it has passed, and so much time since.
    pub fn has_passed_by(self, time: Duration) -> bool {
        self.0.is_some_and(|end| end.elapsed() >= time)
    }

    /// How long to sleep now.
    pub fn slice(self) -> Duration {
        self.0.map_or(SLICE, |end| SLICE.min(end.saturating_duration_since(Instant::now())))
    }

    /// How long is left; `None` for ever.
    pub fn left(self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }
}

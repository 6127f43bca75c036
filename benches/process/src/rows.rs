//! The rows of the table.

use phalanx_process::Result;

use crate::{locks, queues, starts};

/// Measures so many repetitions, and gives the seconds that one takes.
pub type Measure = fn(u64) -> Result<f64>;

/// The name of no measurement of Python's.
pub const NO_PYTHON: &str = "";

/// One comparison.
pub struct Row {
    /// What is measured.
    pub name: &'static str,
    /// What the table calls the other side.
    pub other: &'static str,
    /// The name of the measurement in `multiprocessing_peer.py`.
    pub python: &'static str,
    /// Our side.
    pub ours: Measure,
    /// The other side, where it is not Python.
    pub reference: Option<Measure>,
    /// Repetitions in a block of ours, and of the other side.
    pub ours_count: u64,
    /// Of the other side.
    pub python_count: u64,
    /// What should come out.
    pub goal: Goal,
}

/// What should come out.
#[derive(Clone, Copy)]
pub enum Goal {
    /// So many times as fast.
    Faster(f64),
    /// At most this part of the time.
    AtMost(f64),
}

/// A row against Python.
fn python(
    name: &'static str,
    python: &'static str,
    ours: Measure,
    (ours_count, python_count): (u64, u64),
    goal: Goal,
) -> Row {
    Row { name, other: "Python", python, ours, reference: None, ours_count, python_count, goal }
}

/// All rows.
pub fn all() -> Vec<Row> {
    use Goal::{AtMost, Faster};
    vec![
        python(
            "queue 1 to 1, u64",
            "queue_1_1",
            queues::small_1_1,
            (2_000_000, 100_000),
            Faster(20.0),
        ),
        python(
            "queue 4 to 4, u64",
            "queue_4_4",
            queues::small_4_4,
            (1_000_000, 60_000),
            Faster(10.0),
        ),
        python("queue of bytes, 1 MiB", "queue_mib", queues::large, (400, 400), Faster(2.0)),
        python(
            "bounded queue (4) of bytes, 1 MiB",
            "queue_mib_4",
            queues::large_bounded,
            (400, 400),
            Faster(2.0),
        ),
        Row {
            name: "queue of bytes, 1 MiB, and memcpy",
            other: "memcpy",
            python: NO_PYTHON,
            ours: queues::large,
            reference: Some(queues::memcpy),
            ours_count: 400,
            python_count: 400,
            goal: Faster(0.5),
        },
        Row {
            name: "bounded queue (4), 1 MiB, and memcpy",
            other: "memcpy",
            python: NO_PYTHON,
            ours: queues::large_bounded,
            reference: Some(queues::memcpy),
            ours_count: 400,
            python_count: 400,
            goal: Faster(0.5),
        },
        python("pipe, round trip", "round_trip", locks::round_trip, (50_000, 10_000), AtMost(0.25)),
        python(
            "increment with a lock, 2 processes",
            "increment",
            locks::increment,
            (1_000_000, 100_000),
            Faster(10.0),
        ),
        python("condition, ping-pong", "condition", locks::condition, (20_000, 5_000), AtMost(0.5)),
        python("event, ping-pong", "event", locks::event, (20_000, 3_000), AtMost(0.5)),
        python(
            "semaphore, ping-pong",
            "semaphore",
            locks::semaphore,
            (20_000, 10_000),
            AtMost(0.5),
        ),
        python("barrier of 4", "barrier", locks::barrier, (10_000, 2_000), AtMost(0.5)),
        python("start and join", "start_join", starts::start_join, (200, 200), AtMost(0.5)),
        python(
            "pi, 10⁷ steps, process and queue",
            "pi",
            starts::pi,
            (10_000_000, 10_000_000),
            Faster(20.0),
        ),
    ]
}

//! The rows of the table.

use phalanx_process::Result;

use crate::{locks, pools, queues, starts};

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

/// A row against something that is not Python.
fn against(
    name: &'static str,
    other: &'static str,
    ours: Measure,
    reference: Measure,
    count: u64,
    goal: Goal,
) -> Row {
    let (ours_count, python_count) = (count, count);
    Row {
        name,
        other,
        python: NO_PYTHON,
        ours,
        reference: Some(reference),
        ours_count,
        python_count,
        goal,
    }
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
        against(
            "queue of bytes, 1 MiB, and memcpy",
            "memcpy",
            queues::large,
            queues::memcpy,
            400,
            Faster(0.5),
        ),
        against(
            "bounded queue (4), 1 MiB, and memcpy",
            "memcpy",
            queues::large_bounded,
            queues::memcpy,
            400,
            Faster(0.5),
        ),
        python(
            "pool of 2, empty tasks, chunk 1",
            "pool_chunk_1",
            pools::chunk_1,
            (200_000, 10_000),
            Faster(15.0),
        ),
        python(
            "pool of 2, empty tasks",
            "pool_automatic",
            pools::automatic,
            (1_000_000, 500_000),
            Faster(2.0),
        ),
        against(
            "pool of 2, tasks of 10 µs",
            "ideal",
            pools::short,
            pools::short_ideal,
            20_000,
            Faster(0.95),
        ),
        against(
            "pool of 2, one task of 100 is long",
            "ideal",
            pools::uneven,
            pools::uneven_ideal,
            1,
            AtMost(1.1),
        ),
        python("managed list, append", "append", pools::append, (200_000, 5_000), Faster(5.0)),
        python("managed map, update", "update", pools::update, (200_000, 3_000), Faster(5.0)),
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

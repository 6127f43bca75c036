//! Locks and what else processes agree with; pipes.

use std::time::Instant;

use phalanx_process::{
    Barrier, Condition, Event, Lock, PipeEnd, Process, Result, Semaphore, Shared, SharedAtomic,
    pipe,
};

const ALIVE: &str = "nobody dies";

/// Starts processes with the same arguments, runs `between` when all are ready, and gives the seconds for each of
/// `count` repetitions of the slowest of them.
fn timed<A, const N: usize>(function: fn(A) -> f64, arguments: [A; N], count: u64) -> Result<f64>
where
    A: serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    let running = arguments.map(|argument| Process::spawn(function, argument));
    let mut slowest = 0.0_f64;
    for process in running {
        slowest = slowest.max(process?.join()?);
    }
    Ok(slowest / count as f64)
}

fn seconds(together: &Barrier, work: impl FnOnce()) -> f64 {
    together.wait().expect(ALIVE);
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn increments((value, together, count): (Shared<u64>, Barrier, u64)) -> f64 {
    seconds(&together, || {
        for _ in 0..count {
            *value.lock().expect(ALIVE) += 1;
        }
    })
}

/// Two processes increment a value under its lock: seconds for one increment.
pub fn increment(count: u64) -> Result<f64> {
    let (value, together) = (Shared::new(0_u64)?, Barrier::new(2)?);
    let share = (count / 2).max(1);
    let part = || (value.clone(), together.clone(), share);
    let time = timed(increments, [part(), part()], 2 * share)?;
    assert_eq!(value.get()?, 2 * share);
    Ok(time)
}

type Table = (Lock, Condition, SharedAtomic<u64>, Barrier, u64, u64);

fn strokes((lock, changed, turn, together, me, count): Table) -> f64 {
    seconds(&together, || {
        let mut guard = lock.lock().expect(ALIVE);
        for _ in 0..count {
            changed.wait_for(&mut guard, || turn.load() == me).expect(ALIVE);
            turn.store(1 - me);
            changed.notify_one();
        }
    })
}

/// Ping-pong with a condition: seconds for a round trip.
pub fn condition(count: u64) -> Result<f64> {
    let lock = Lock::new()?;
    let (changed, turn) = (Condition::new(&lock)?, SharedAtomic::new(0_u64)?);
    let together = Barrier::new(2)?;
    let part = |me| (lock.clone(), changed.clone(), turn.clone(), together.clone(), me, count);
    timed(strokes, [part(0), part(1)], count)
}

fn events((mine, other, together, count): (Event, Event, Barrier, u64)) -> f64 {
    seconds(&together, || {
        for _ in 0..count {
            mine.wait();
            mine.clear();
            other.set();
        }
    })
}

/// Ping-pong with two events: seconds for a round trip.
pub fn event(count: u64) -> Result<f64> {
    let (a, b, together) = (Event::new()?, Event::new()?, Barrier::new(2)?);
    a.set();
    let parts = [(a.clone(), b.clone(), together.clone(), count), (b, a, together.clone(), count)];
    timed(events, parts, count)
}

fn permits((mine, other, together, count): (Semaphore, Semaphore, Barrier, u64)) -> f64 {
    seconds(&together, || {
        for _ in 0..count {
            mine.acquire().expect(ALIVE).forget();
            other.release().expect(ALIVE);
        }
    })
}

/// Ping-pong with two semaphores: seconds for a round trip.
pub fn semaphore(count: u64) -> Result<f64> {
    let (a, b, together) = (Semaphore::new(1)?, Semaphore::new(0)?, Barrier::new(2)?);
    let parts = [(a.clone(), b.clone(), together.clone(), count), (b, a, together.clone(), count)];
    timed(permits, parts, count)
}

fn passes((barrier, count): (Barrier, u64)) -> f64 {
    seconds(&barrier, || {
        for _ in 0..count {
            barrier.wait().expect(ALIVE);
        }
    })
}

/// Four processes pass a barrier: seconds for each time.
pub fn barrier(count: u64) -> Result<f64> {
    let barrier = Barrier::new(4)?;
    timed(passes, [(); 4].map(|()| (barrier.clone(), count)), count)
}

fn echo((end, count): (PipeEnd<u64, u64>, u64)) {
    for _ in 0..count {
        let item = end.recv().expect(ALIVE);
        end.send(item).expect(ALIVE);
    }
}

/// Seconds for an item to the other process and back.
pub fn round_trip(count: u64) -> Result<f64> {
    let (ours, theirs) = pipe::<u64, u64>()?;
    let process = Process::spawn(echo, (theirs, count + 1))?;
    ours.send(0)?;
    ours.recv()?;
    let start = Instant::now();
    for number in 0..count {
        ours.send(number)?;
        ours.recv()?;
    }
    let time = start.elapsed().as_secs_f64() / count as f64;
    process.join()?;
    Ok(time)
}

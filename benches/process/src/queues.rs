//! Queues: small items, large items, many of each side.

use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use phalanx_process::{Process, Queue, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

const MIB: usize = 1 << 20;
const OPEN: &str = "the queue is open";

/// A clock that all processes share.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).as_ref().map_or(0.0, Duration::as_secs_f64)
}

/// What a process of a measurement gets: the queue, where it says that it is ready, where it waits, and how often.
type Part<T> = (Queue<T>, Queue<()>, Queue<()>, u64);

fn produce<T: Serialize + DeserializeOwned + 'static>(
    part: Part<T>,
    mut item: impl FnMut(u64) -> T,
) {
    let (queue, ready, go, count) = part;
    ready.put(()).expect(OPEN);
    go.get().expect(OPEN);
    for number in 0..count {
        queue.put(item(number)).expect(OPEN);
    }
}

fn produce_small(part: Part<u64>) {
    produce(part, |number| number);
}

fn produce_large(part: Part<Vec<u8>>) {
    let bytes = vec![7_u8; MIB];
    produce(part, |_| bytes.clone());
}

/// When the first item came, and when the last.
fn consume<T: Serialize + DeserializeOwned + 'static>(
    (queue, ready, go, count): Part<T>,
) -> (f64, f64) {
    ready.put(()).expect(OPEN);
    go.get().expect(OPEN);
    black_box(queue.get().expect(OPEN));
    let first = now();
    for _ in 1..count {
        black_box(queue.get().expect(OPEN));
    }
    (first, now())
}

/// Seconds for each of `count` items, from the first that any consumer got to the last.
fn run<T: Serialize + DeserializeOwned + 'static>(
    queue: &Queue<T>,
    sides: u64,
    count: u64,
    producer: fn(Part<T>),
) -> Result<f64> {
    let (ready, go) = (Queue::new()?, Queue::new()?);
    let share = (count / sides).max(2);
    let part = || (queue.clone(), ready.clone(), go.clone(), share);
    let producers =
        (0..sides).map(|_| Process::spawn(producer, part())).collect::<Result<Vec<_>>>()?;
    let consumers =
        (0..sides).map(|_| Process::spawn(consume, part())).collect::<Result<Vec<_>>>()?;
    for _ in 0..2 * sides {
        ready.get()?;
    }
    for _ in 0..2 * sides {
        go.put(())?;
    }
    for process in producers {
        process.join()?;
    }
    let times = consumers.into_iter().map(Process::join).collect::<Result<Vec<_>>>()?;
    let first = times.iter().map(|times| times.0).fold(f64::INFINITY, f64::min);
    let last = times.iter().map(|times| times.1).fold(0.0, f64::max);
    Ok((last - first) / (share * sides - 1) as f64)
}

pub fn small_1_1(count: u64) -> Result<f64> {
    run(&Queue::new()?, 1, count, produce_small)
}

pub fn small_4_4(count: u64) -> Result<f64> {
    run(&Queue::new()?, 4, count, produce_small)
}

pub fn large(count: u64) -> Result<f64> {
    run(&Queue::new()?, 1, count, produce_large)
}

pub fn large_bounded(count: u64) -> Result<f64> {
    run(&Queue::bounded(4)?, 1, count, produce_large)
}

/// What copying the bytes of an item takes, in memory that is there.
pub fn memcpy(count: u64) -> Result<f64> {
    let from = vec![7_u8; MIB];
    let mut to = vec![0_u8; MIB];
    to.copy_from_slice(&from);
    let start = Instant::now();
    for _ in 0..count {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    }
    Ok(start.elapsed().as_secs_f64() / count as f64)
}

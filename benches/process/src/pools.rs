//! Pools: empty tasks, short ones, uneven ones. Managed lists and maps.

use std::time::{Duration, Instant};

use phalanx_process::{ManagedMap, ManagedVec, Pool, Process, Result};

const WORKERS: usize = 2;

fn nothing(number: u64) -> u64 {
    number
}

fn spin(microseconds: u64) {
    let (start, time) = (Instant::now(), Duration::from_micros(microseconds));
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Seconds for each item of a map, in a pool that works already.
fn map<R>(
    pool: &Pool,
    function: fn(u64) -> R,
    items: impl ExactSizeIterator<Item = u64>,
) -> Result<f64>
where
    R: serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    pool.map(nothing, 0..2 * WORKERS as u64)?;
    let (count, start) = (items.len(), Instant::now());
    pool.map(function, items)?;
    Ok(start.elapsed().as_secs_f64() / count as f64)
}

/// Empty tasks, one by one.
pub fn chunk_1(count: u64) -> Result<f64> {
    let pool = Pool::builder().workers(WORKERS).chunk(1).start()?;
    map(&pool, nothing, (0..count as usize).map(|number| number as u64))
}

/// Empty tasks, as many at once as the pool finds right.
pub fn automatic(count: u64) -> Result<f64> {
    map(&Pool::new(WORKERS)?, nothing, (0..count as usize).map(|number| number as u64))
}

const SHORT: u64 = 10;

/// Tasks of 10 µs.
pub fn short(count: u64) -> Result<f64> {
    map(&Pool::new(WORKERS)?, spin, vec![SHORT; count as usize].into_iter())
}

/// What they take when nothing else does.
pub fn short_ideal(_: u64) -> Result<f64> {
    Ok(SHORT as f64 / WORKERS as f64 * 1e-6)
}

const EVEN: u64 = 1000;
const UNEVEN: usize = 100;

/// One of 100 tasks takes 100 times as long as the others: seconds until all are done.
pub fn uneven(_: u64) -> Result<f64> {
    let items = (0..UNEVEN).map(|number| if number == 0 { UNEVEN as u64 * EVEN } else { EVEN });
    Ok(map(&Pool::new(WORKERS)?, spin, items)? * UNEVEN as f64)
}

/// The one task beside all others.
pub fn uneven_ideal(_: u64) -> Result<f64> {
    Ok((UNEVEN as u64 * EVEN) as f64 * 1e-6)
}

fn appends((list, count): (ManagedVec<u64>, u64)) -> f64 {
    let start = Instant::now();
    for number in 0..count {
        list.push(number).expect("memory");
    }
    start.elapsed().as_secs_f64()
}

/// A child appends to a managed list: seconds for an item.
pub fn append(count: u64) -> Result<f64> {
    let list = ManagedVec::new()?;
    let time = Process::spawn(appends, (list.clone(), count))?.join()?;
    assert_eq!(list.len() as u64, count);
    Ok(time / count as f64)
}

fn updates((map, count): (ManagedMap<u64, u64>, u64)) -> f64 {
    let start = Instant::now();
    for number in 0..count {
        map.update(&(number % 100), |value| *value += 1).expect("nobody died");
    }
    start.elapsed().as_secs_f64()
}

/// A child increments values of a managed map: seconds for one of them.
pub fn update(count: u64) -> Result<f64> {
    let map = ManagedMap::new()?;
    for key in 0..100 {
        map.insert(key, 0)?;
    }
    let time = Process::spawn(updates, (map.clone(), count))?.join()?;
    assert_eq!(map.values()?.into_iter().sum::<u64>(), count);
    Ok(time / count as f64)
}

//! A process dies before each store in shared memory that matters; the others go on, and nothing is lost.
//!
//! `cargo test -p phalanx-process --features crash-points --test crash_points`

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use phalanx_process::{
    LifoQueue, ManagedMap, ManagedVec, Pool, PriorityQueue, Process, Queue, Result, Semaphore,
    SharedAtomic,
};
use serde::{Deserialize, Serialize};

/// Enough for the tables and rings to grow.
const ROUNDS: u64 = 200;
/// The queues, by their numbers in what is told.
const QUEUES: usize = 4;

#[derive(Clone, Serialize, Deserialize)]
struct Shared {
    line: Queue<u64>,
    large: Queue<Vec<u64>>,
    stack: LifoQueue<u64>,
    sorted: PriorityQueue<String>,
    list: ManagedVec<u64>,
    map: ManagedMap<String, u64>,
    handles: Queue<Queue<u64>>,
    told: Queue<Told>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Told {
    Put(usize, u64),
    Got(usize, u64),
    Updated(u64),
}

impl Shared {
    fn new() -> Result<Shared> {
        Ok(Shared {
            line: Queue::new()?,
            large: Queue::new()?,
            stack: LifoQueue::new()?,
            sorted: PriorityQueue::new()?,
            list: ManagedVec::from_items([0, 10, 20, 30])?,
            map: ManagedMap::new()?,
            handles: Queue::new()?,
            told: Queue::new()?,
        })
    }

    fn put(&self, queue: usize, x: u64) -> Result<()> {
        match queue {
            0 => self.line.put(x)?,
            1 => self.large.put(vec![x + (1 << 60); 600])?,
            2 => self.stack.put(x)?,
            _ => self.sorted.put((x % 7) as i64, format!("item {x}"))?,
        }
        Ok(())
    }

    fn get(&self, queue: usize) -> Result<Option<u64>> {
        Ok(match queue {
            0 => self.line.try_get()?,
            1 => self.large.try_get()?.map(|items| {
                assert!(items.len() == 600 && items.iter().all(|x| *x == items[0]));
                items[0] - (1 << 60)
            }),
            2 => self.stack.try_get()?,
            _ => self.sorted.try_get()?.map(|text| text[5..].parse().expect("a number")),
        })
    }

    /// Takes everything out of a queue.
    fn drain(&self, queue: usize) -> Result<Vec<u64>> {
        let mut items = Vec::new();
        while let Some(x) = self.get(queue)? {
            items.push(x);
        }
        Ok(items)
    }

    fn work(&self, rounds: u64) -> Result<()> {
        // No object of its kind is free: see `all_points`.
        let _new = Semaphore::new(1)?;
        for x in 0..rounds {
            for queue in 0..QUEUES {
                self.put(queue, x)?;
                self.told.put(Told::Put(queue, x))?;
                if x % 4 == 3
                    && let Some(x) = self.get(queue)?
                {
                    self.told.put(Told::Got(queue, x))?;
                }
            }
            self.map.insert(format!("key {x}"), x)?;
            self.map.remove(&format!("key {}", x / 2))?;
            self.map.update_or("count of all", 0, |count| *count += 1)?;
            self.list.update(0, |count| *count += 1)?;
            self.told.put(Told::Updated(x + 1))?;
            self.list.push(1000 + x)?;
            self.list.swap(1, 3)?;
            self.list.insert(4, u64::MAX)?;
            self.list.remove(4)?;
            self.list.push(u64::MAX)?;
            self.list.remove(self.list.len() - 1)?;
            self.list.push(u64::MAX)?;
            self.list.pop()?;
            let other = ManagedVec::from_items([x])?;
            other.clear()?;
            self.handles.put(Queue::new()?)?;
            if x % 2 == 0 {
                self.handles.get()?.close();
            }
        }
        self.map.clear()?;
        for queue in 0..QUEUES {
            while let Some(x) = self.get(queue)? {
                self.told.put(Told::Got(queue, x))?;
            }
            // Those after them are in new memory, for which the old is given back.
            for x in rounds..rounds + 4 {
                self.put(queue, x)?;
                self.told.put(Told::Put(queue, x))?;
                if let Some(x) = self.get(queue)? {
                    self.told.put(Told::Got(queue, x))?;
                }
            }
        }
        Ok(())
    }

    /// What is there after the death of the one process that has worked.
    fn check(&self, point: &str) -> Result<()> {
        let (mut put, mut got) =
            ([const { BTreeSet::new() }; QUEUES], [const { Vec::new() }; QUEUES]);
        let mut updates = 0;
        while let Some(told) = self.told.try_get()? {
            match told {
                Told::Put(queue, x) => drop(put[queue].insert(x)),
                Told::Got(queue, x) => got[queue].push(x),
                Told::Updated(count) => updates = count,
            }
        }
        let (mut lost, mut unknown) = (0, 0);
        for queue in 0..QUEUES {
            got[queue].extend(self.drain(queue)?);
            let seen: BTreeSet<u64> = got[queue].iter().copied().collect();
            assert_eq!(seen.len(), got[queue].len(), "{point}: doubled in queue {queue}");
            lost += put[queue].difference(&seen).count();
            unknown += seen.difference(&put[queue]).count();
        }
        // An item that it had just got, and one that it had just put.
        assert!(lost <= 1, "{point}: {lost} items are lost");
        assert!(unknown <= 1, "{point}: {unknown} items were never acknowledged");

        let items = self.list.to_vec()?;
        assert!((updates..=updates + 1).contains(&items[0]), "{point}: {} of {updates}", items[0]);
        assert_eq!(items.len(), self.list.len(), "{point}");
        let mut fixed = items[1..4].to_vec();
        fixed.sort_unstable();
        assert_eq!(fixed, [10, 20, 30], "{point}");
        let pushed: Vec<u64> = items[4..].iter().copied().filter(|&x| x != u64::MAX).collect();
        assert!(pushed.iter().copied().eq((1000..).take(pushed.len())), "{point}: {pushed:?}");
        assert!(pushed.len() as u64 + 1 >= updates, "{point}: {} of {updates}", pushed.len());

        let entries = self.map.to_vec()?;
        assert_eq!(entries.len(), self.map.len(), "{point}");
        let is_right =
            |(key, x): &(String, u64)| key == "count of all" || *key == format!("key {x}");
        assert!(entries.iter().all(is_right), "{point}: {entries:?}");
        if let Some(count) = self.map.get("count of all")? {
            assert!((updates..=updates + 1).contains(&count), "{point}: {count} of {updates}");
        }
        Ok(())
    }
}

fn die_at((point, shared): (String, Shared)) {
    // SAFETY: this process has no other thread that reads the environment but through `std`.
    unsafe { std::env::set_var("PHALANX_CRASH_AT", point) };
    shared.work(ROUNDS).expect("nothing is refused");
}

/// All points of the sources.
fn points() -> BTreeSet<String> {
    let mut points = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the sources are there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).expect("it is text");
            let calls = text.split("crash_point!(\"").skip(1);
            points.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    points
}

fn all_points(time: u32) -> Result<()> {
    // Objects that others give up would be used again.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let points = points();
    assert!(points.len() > 40, "{points:?}");
    let mut survived = Vec::new();
    let mut kept = Vec::new();
    for name in points {
        let point = format!("{name}:{time}");
        let shared = Shared::new()?;
        // So that the process needs memory for a new object, and not that of one that is gone.
        for _ in 0..10 {
            kept.push(Semaphore::new(1)?);
        }
        let begun = Instant::now();
        let process = Process::spawn(die_at, (point.clone(), shared.clone()))?;
        match process.wait() {
            -9 => {}
            0 => survived.push(name),
            code => panic!("{point}: exit code {code}"),
        }
        shared.check(&point)?;
        // Another process can do all of it.
        let others =
            Shared { told: Queue::new()?, list: ManagedVec::from_items([0, 1, 2, 3])?, ..shared };
        let again = |shared: Shared| shared.work(10).expect("nothing is refused");
        Process::spawn(again, others)?.join()?;
        assert!(begun.elapsed() < Duration::from_secs(20), "{point}: {:?}", begun.elapsed());
    }
    println!("not reached {time} times: {survived:?}");
    if time == 1 {
        assert!(survived.is_empty(), "no process came to {survived:?}");
    }
    Ok(())
}

#[test]
fn a_death_before_any_store_loses_and_doubles_nothing() -> Result<()> {
    all_points(1)
}

#[test]
fn nor_does_one_at_the_third_time() -> Result<()> {
    all_points(3)
}

/// A worker that dies just before it takes its first batch.
fn dies_at_its_first_batch((point, deaths): (String, SharedAtomic<i32>)) {
    if deaths.fetch_sub(1) > 0 {
        // SAFETY: a worker has one thread that looks at its environment.
        unsafe { std::env::set_var("PHALANX_CRASH_AT", point) };
    }
}

#[test]
fn a_worker_that_dies_before_it_has_a_batch_costs_nothing_and_runs_nothing_twice() -> Result<()> {
    for (point, length) in [("channel-get", 1), ("channel-get-block", 1000)] {
        let deaths = SharedAtomic::new(3)?;
        let pool = Pool::builder()
            .workers(2)
            .chunk(10)
            .initializer(dies_at_its_first_batch, (point.to_owned(), deaths.clone()))
            .start()?;
        let ran = Queue::new()?;
        let work = |ran: &Queue<u64>, item: Vec<u64>| {
            ran.put(item[0]).expect("it is open");
            item[0]
        };
        let results = pool.map_with(&ran, work, (0..200).map(|x| vec![x; length]))?;
        assert!(results.into_iter().eq(0..200));
        assert!(deaths.load() <= 0, "nobody died at {point}");
        let mut all: Vec<u64> = std::iter::from_fn(|| ran.try_get().expect("items")).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..200), "items were run twice, or not at all");
    }
    Ok(())
}

//! One producer and five consumers around a shelf: a condition says when it has changed.
//!
//! ```text
//! cargo run --release -p process-examples --bin producer_consumer
//! ```

use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Condition, Lock, Process, Result, SharedAtomic};
use process_examples::{sleep_ms, verdict};
use serde::{Deserialize, Serialize};

/// Hands items from one producer to some consumers, by way of a small shelf.
#[derive(Parser)]
#[command(name = "producer_consumer", version)]
struct Args {
    /// Items to produce
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    items: u64,
    /// Consumers
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    consumers: u64,
}

const ROOM: u64 = 3;

/// Whoever looks at the shelf, or changes it, holds its lock.
#[derive(Clone, Serialize, Deserialize)]
struct Shelf {
    lock: Lock,
    changed: Condition,
    items: SharedAtomic<u64>,
    closed: SharedAtomic<bool>,
}

impl Shelf {
    fn new() -> Result<Shelf> {
        let lock = Lock::new()?;
        let changed = Condition::new(&lock)?;
        Ok(Shelf { lock, changed, items: SharedAtomic::new(0)?, closed: SharedAtomic::new(false)? })
    }

    fn put(&self) -> Result<()> {
        let mut guard = self.lock.lock()?;
        self.changed.wait_for(&mut guard, || self.items.load() < ROOM)?;
        self.items.fetch_add(1);
        self.changed.notify_all();
        Ok(())
    }

    /// Whether there was an item: no more come when the shelf is closed and empty.
    fn take(&self) -> Result<bool> {
        let mut guard = self.lock.lock()?;
        self.changed.wait_for(&mut guard, || self.items.load() > 0 || self.closed.load())?;
        let is_there = self.items.load() > 0;
        if is_there {
            self.items.fetch_sub(1);
            self.changed.notify_all();
        }
        Ok(is_there)
    }

    fn close(&self) -> Result<()> {
        let _guard = self.lock.lock()?;
        self.closed.store(true);
        self.changed.notify_all();
        Ok(())
    }
}

fn produce((shelf, items): (Shelf, u64)) {
    for _ in 0..items {
        shelf.put().expect("nobody died with the lock");
    }
    shelf.close().expect("nobody died with the lock");
}

fn consume(shelf: Shelf) -> u64 {
    let mut taken = 0;
    while shelf.take().expect("nobody died with the lock") {
        taken += 1;
        sleep_ms(1);
    }
    taken
}

fn main() -> Result<ExitCode> {
    let Args { items, consumers } = Args::parse();
    let shelf = Shelf::new()?;
    let consumers: Vec<_> =
        (0..consumers).map(|_| Process::spawn(consume, shelf.clone())).collect::<Result<_>>()?;
    let producer = Process::spawn(produce, (shelf.clone(), items))?;
    producer.join()?;
    let taken: Vec<u64> = consumers.into_iter().map(Process::join).collect::<Result<_>>()?;
    let total: u64 = taken.iter().sum();
    println!("{items} items produced; taken: {taken:?}");
    let is_right = total == items && shelf.items.load() == 0;
    Ok(verdict(is_right, format!("{items} items to be taken, and not {total}")))
}

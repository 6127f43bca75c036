//! Many processes make random numbers, add them, and merge their sums through a queue.
//!
//! ```text
//! cargo run --release -p process-examples --bin sum_many
//! cargo run --release -p process-examples --bin sum_many -- --processes 20 --numbers 1000
//! ```

use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Process, Queue, Result};
use process_examples::verdict;

/// Adds random numbers in many processes.
#[derive(Parser)]
#[command(name = "sum_many", version)]
struct Args {
    /// Processes
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=100))]
    processes: u64,
    /// Numbers for each of them
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    numbers: u64,
    /// Where the random numbers start: the same seed, the same sum
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
}

/// The generator is seeded in each process: copies of one would all make the same numbers.
fn sum(seed: u64, numbers: u64) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..numbers).map(|_| random.u64(0..1000)).sum()
}

fn put_sum((seed, numbers, sums): (u64, u64, Queue<u64>)) {
    sums.put(sum(seed, numbers)).expect("the queue is open");
}

fn main() -> Result<ExitCode> {
    let Args { processes, numbers, seed } = Args::parse();
    let sums = Queue::new()?;
    let seeds = (0..processes).map(|number| seed.wrapping_add(number));
    for seed in seeds.clone() {
        let _running = Process::spawn(put_sum, (seed, numbers, sums.clone()))?;
    }
    let mut total = 0;
    for _ in 0..processes {
        total += sums.get()?;
    }
    println!("{processes} processes, {numbers} numbers each: {total}");

    let expected: u64 = seeds.map(|seed| sum(seed, numbers)).sum();
    Ok(verdict(total == expected, expected))
}

//! Results in the order of the input, although the processes end in any order.
//!
//! ```text
//! cargo run --release -p process-examples --bin squares
//! cargo run --release -p process-examples --bin squares -- --numbers 20
//! ```

use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Process, Queue, Result};
use process_examples::{sleep_ms, verdict};

/// Squares numbers, a process for each, and shows three ways to the results.
#[derive(Parser)]
#[command(name = "squares", version)]
struct Args {
    /// Numbers to square: 1, 2, …
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    numbers: u64,
}

fn random_delay() {
    sleep_ms(fastrand::u64(0..50));
}

fn square(x: u64) -> u64 {
    random_delay();
    x * x
}

fn put_square((x, results): (u64, Queue<u64>)) {
    random_delay();
    results.put(x * x).expect("the queue is open");
}

fn put_with_index((index, x, results): (usize, u64, Queue<(usize, u64)>)) {
    random_delay();
    results.put((index, x * x)).expect("the queue is open");
}

fn main() -> Result<ExitCode> {
    let numbers: Vec<u64> = (1..=Args::parse().numbers).collect();

    // By value: `join` gives what the function returned, and the processes are joined in order.
    let processes: Vec<_> =
        numbers.iter().map(|x| Process::spawn(square, *x)).collect::<Result<_>>()?;
    let joined: Vec<u64> = processes.into_iter().map(Process::join).collect::<Result<_>>()?;
    println!("joined:   {joined:?}");

    // Through a queue: the order in which the processes were done.
    let results = Queue::new()?;
    for x in &numbers {
        let _running = Process::spawn(put_square, (*x, results.clone()))?;
    }
    let mut as_done = numbers.iter().map(|_| results.get()).collect::<Result<Vec<u64>>>()?;
    println!("as done:  {as_done:?}");

    // By index: each result says which one it is.
    let results = Queue::new()?;
    for (index, x) in numbers.iter().enumerate() {
        let _running = Process::spawn(put_with_index, (index, *x, results.clone()))?;
    }
    let by_index: Vec<u64> = results.in_order(numbers.len()).collect::<Result<_>>()?;
    println!("by index: {by_index:?}");

    let expected: Vec<u64> = numbers.iter().map(|x| x * x).collect();
    as_done.sort_unstable();
    let is_right = [joined, as_done, by_index].iter().all(|squares| *squares == expected);
    Ok(verdict(is_right, format!("{expected:?}")))
}

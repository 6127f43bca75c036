//! One process fills a queue with squares, another one prints them.
//!
//! ```text
//! cargo run --release -p process-examples --bin queue_of_squares
//! ```

use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Process, Queue, Result};
use process_examples::verdict;

/// Sends squares from one process to another.
#[derive(Parser)]
#[command(name = "queue_of_squares", version)]
struct Args {
    /// Squares to send
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    numbers: u64,
}

fn produce((numbers, squares): (u64, Queue<u64>)) {
    for x in 1..=numbers {
        squares.put(x * x).expect("the queue is open");
    }
    // Those who read are told that no more will come.
    squares.close();
}

fn print(squares: Queue<u64>) -> u64 {
    let mut sum = 0;
    for square in &squares {
        println!("{square}");
        sum += square;
    }
    sum
}

fn main() -> Result<ExitCode> {
    let Args { numbers } = Args::parse();
    let squares = Queue::new()?;
    let producer = Process::spawn(produce, (numbers, squares.clone()))?;
    let printer = Process::spawn(print, squares.clone())?;
    producer.join()?;
    let sum = printer.join()?;
    println!("the queue is empty: {}", squares.is_empty());

    let expected = numbers * (numbers + 1) * (2 * numbers + 1) / 6;
    Ok(verdict(sum == expected && squares.is_empty(), format!("squares whose sum is {expected}")))
}

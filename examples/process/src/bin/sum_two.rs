//! Two processes add the two halves of a list.
//!
//! ```text
//! cargo run --release -p process-examples --bin sum_two
//! ```

use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Process, Result};
use process_examples::verdict;

/// Adds random numbers in two processes.
#[derive(Parser)]
#[command(name = "sum_two", version)]
struct Args {
    /// Numbers to add
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    numbers: u64,
}

fn sum(numbers: Vec<u64>) -> u64 {
    numbers.iter().sum()
}

fn main() -> Result<ExitCode> {
    let Args { numbers } = Args::parse();
    let numbers: Vec<u64> = (0..numbers).map(|_| fastrand::u64(0..1000)).collect();
    let (first, second) = numbers.split_at(numbers.len() / 2);

    let left = Process::spawn(sum, first.to_vec())?;
    let right = Process::spawn(sum, second.to_vec())?;
    let (left, right) = (left.join()?, right.join()?);
    println!("{left} + {right} = {}", left + right);

    let expected = sum(numbers);
    Ok(verdict(left + right == expected, expected))
}

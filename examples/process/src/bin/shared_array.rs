//! An array and a sum in shared memory: a child fills them, and its parent sees it.
//!
//! ```text
//! cargo run --release -p process-examples --bin shared_array
//! ```

use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Process, Result, Shared, SharedArray};
use process_examples::verdict;

/// Squares an array in a child process.
#[derive(Parser)]
#[command(name = "shared_array", version)]
struct Args {
    /// Elements of the array
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    elements: u64,
}

fn square((numbers, sum): (SharedArray<u64>, Shared<u64>)) {
    let mut numbers = numbers.lock().expect("nobody died with it");
    for x in numbers.iter_mut() {
        *x *= *x;
    }
    sum.set(numbers.iter().sum()).expect("nobody died with it");
}

fn main() -> Result<ExitCode> {
    let Args { elements } = Args::parse();
    let before: Vec<u64> = (1..=elements).collect();
    let numbers = SharedArray::new(&before)?;
    let sum = Shared::new(0_u64)?;
    Process::spawn(square, (numbers.clone(), sum.clone()))?.join()?;

    let (after, sum) = (numbers.to_vec()?, sum.get()?);
    let shown = after.len().min(10);
    println!("array: {:?}{}", &after[..shown], if shown < after.len() { " …" } else { "" });
    println!("sum:   {sum}");
    let expected: Vec<u64> = before.iter().map(|x| x * x).collect();
    let is_right = after == expected && sum == expected.iter().sum::<u64>();
    Ok(verdict(is_right, "the squares and their sum"))
}

//! Processes share no memory by themselves: a global list that a child fills stays empty in its parent.
//!
//! ```text
//! cargo run --release -p process-examples --bin no_sharing
//! ```

use std::process::ExitCode;
use std::sync::Mutex;

use clap::Parser;
use phalanx_process::{Process, Result};
use process_examples::verdict;

static SQUARES: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// Fills a global list in a child process, and looks at it in both.
#[derive(Parser)]
#[command(name = "no_sharing", version)]
struct Args {}

fn global() -> Vec<u64> {
    SQUARES.lock().expect("nobody panicked").clone()
}

/// What it returns travels to the parent; what it leaves in the global list does not.
fn fill(numbers: Vec<u64>) -> Vec<u64> {
    SQUARES.lock().expect("nobody panicked").extend(numbers.iter().map(|x| x * x));
    println!("in the child:      {:?}", global());
    global()
}

fn main() -> Result<ExitCode> {
    let Args {} = Args::parse();
    let returned = Process::spawn(fill, vec![1, 2, 3, 4])?.join()?;
    println!("in the parent:     {:?}", global());
    println!("what it returned:  {returned:?}");
    let is_right = global().is_empty() && returned == [1, 4, 9, 16];
    Ok(verdict(is_right, "an empty list here, and [1, 4, 9, 16] as the result"))
}

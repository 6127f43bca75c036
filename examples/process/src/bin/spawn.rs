//! Some processes that run at the same time, each with an argument of its own.
//!
//! ```text
//! cargo run --release -p process-examples --bin spawn
//! ```

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Process, Result, current, parent};
use process_examples::verdict;

/// Starts processes, and waits for all of them.
#[derive(Parser)]
#[command(name = "spawn", version)]
struct Args {
    /// Processes to start
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    processes: u32,
}

fn hello(number: u32) -> (u32, u32) {
    let me = current();
    let parent = parent().map_or("nobody".to_owned(), |parent| parent.name().to_owned());
    println!("{number}: I am {} with pid {}, started by {parent}", me.name(), me.pid());
    (number, me.pid())
}

fn main() -> Result<ExitCode> {
    let Args { processes } = Args::parse();
    let running: Vec<_> =
        (0..processes).map(|number| Process::spawn(hello, number)).collect::<Result<_>>()?;
    let results: Vec<_> = running.into_iter().map(Process::join).collect::<Result<_>>()?;

    let pids: BTreeSet<u32> = results.iter().map(|(_, pid)| *pid).collect();
    let in_order = results.iter().map(|(number, _)| *number).eq(0..processes);
    println!("{} processes have ended", pids.len());
    let is_right = in_order && pids.len() == processes as usize && !pids.contains(&current().pid());
    Ok(verdict(is_right, "a process of its own for each number"))
}

//! Lines that several processes write word by word: mixed without a lock, whole with one.
//!
//! ```text
//! cargo run --release -p process-examples --bin hello_lock
//! ```

use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Lock, Process, Queue, Result};
use process_examples::{sleep_ms, verdict};

/// Writes lines from several processes, with a lock and without.
#[derive(Parser)]
#[command(name = "hello_lock", version)]
struct Args {
    /// Processes that write a line each
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    processes: u32,
}

fn line(number: u32) -> String {
    format!("hello world from process {number}\n")
}

/// The queue is the sheet of paper: its order is the order in which the words were written.
fn write((number, lock, paper): (u32, Option<Lock>, Queue<String>)) {
    let _guard = lock.as_ref().map(|lock| lock.lock().expect("nobody died with it"));
    for word in line(number).split_inclusive(' ') {
        paper.put(word.to_owned()).expect("the queue is open");
        sleep_ms(2);
    }
}

fn written(processes: u32, lock: Option<Lock>) -> Result<String> {
    let paper = Queue::new()?;
    let writers: Vec<_> = (0..processes)
        .map(|number| Process::spawn(write, (number, lock.clone(), paper.clone())))
        .collect::<Result<_>>()?;
    for writer in writers {
        writer.join()?;
    }
    paper.close();
    Ok(paper.iter().collect())
}

fn main() -> Result<ExitCode> {
    let Args { processes } = Args::parse();
    println!("without a lock:\n{}", written(processes, None)?);
    let whole = written(processes, Some(Lock::new()?))?;
    println!("with a lock:\n{whole}");
    let is_right = (0..processes).all(|number| whole.contains(&line(number)));
    Ok(verdict(is_right, "whole lines with the lock"))
}

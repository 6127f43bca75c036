//! Uneven tasks in one queue: who is done with one takes the next, so that nobody is idle while there is work.
//!
//! ```text
//! cargo run --release -p process-examples --bin work_queue
//! ```

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use phalanx_process::{Process, Queue, Result};
use process_examples::{sleep_ms, verdict};

/// Shares uneven tasks among workers, and shows who did how many.
#[derive(Parser)]
#[command(name = "work_queue", version)]
struct Args {
    /// Tasks; every tenth takes ten times as long as the others
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    tasks: u64,
    /// Workers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    workers: u64,
}

fn milliseconds(task: u64) -> u64 {
    if task.is_multiple_of(10) { 20 } else { 2 }
}

/// The tasks that this worker did.
fn work(tasks: Queue<u64>) -> Vec<u64> {
    let mut done = Vec::new();
    for task in &tasks {
        sleep_ms(milliseconds(task));
        done.push(task);
    }
    done
}

fn main() -> Result<ExitCode> {
    let Args { tasks, workers } = Args::parse();
    let queue = Queue::new()?;
    let workers: Vec<_> =
        (0..workers).map(|_| Process::spawn(work, queue.clone())).collect::<Result<_>>()?;
    let start = Instant::now();
    for task in 0..tasks {
        queue.put(task)?;
    }
    queue.close();

    let mut all = Vec::new();
    for worker in workers {
        let name = worker.name().to_owned();
        let done = worker.join()?;
        let busy: u64 = done.iter().map(|task| milliseconds(*task)).sum();
        println!("{name}: {} tasks, {busy} ms of work", done.len());
        all.extend(done);
    }
    println!("{} tasks in {:.0} ms", all.len(), start.elapsed().as_secs_f64() * 1e3);
    all.sort_unstable();
    Ok(verdict(all.into_iter().eq(0..tasks), format!("each of {tasks} tasks once")))
}

//! A process in the background ends with its parent; any other one keeps its parent waiting.
//!
//! ```text
//! cargo run --release -p process-examples --bin background
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use phalanx_process::{Process, Queue, Result};
use process_examples::{sleep_ms, verdict};

/// Starts a program within the program, which leaves two processes behind: one of them in the background.
#[derive(Parser)]
#[command(name = "background", version)]
struct Args {
    /// How long the service and then the report take, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    work: u64,
}

fn heartbeat(beats: Queue<u32>) {
    for beat in 0.. {
        beats.put(beat).expect("the queue is open");
        sleep_ms(20);
    }
}

fn report(work: u64) {
    sleep_ms(work);
    println!("the report is written");
}

/// Leaves two processes behind when it returns: the heartbeat is ended then, the report is waited for.
fn service((beats, work): (Queue<u32>, u64)) {
    let background = Process::builder().background();
    let _heartbeat = background.spawn(heartbeat, beats).expect("a process can be started");
    sleep_ms(work);
    let _report = Process::spawn(report, work).expect("a process can be started");
}

fn main() -> Result<ExitCode> {
    let Args { work } = Args::parse();
    let beats = Queue::new()?;
    let start = Instant::now();
    Process::spawn(service, (beats.clone(), work))?.join()?;
    let waited = start.elapsed();
    let at_end = beats.len();
    println!("the service has ended after {at_end} heartbeats");
    sleep_ms(200);
    println!("{} more came later", beats.len() - at_end);
    let is_right = waited >= Duration::from_millis(2 * work) && beats.len() == at_end && at_end > 0;
    Ok(verdict(is_right, "a service that ends after the report, and no heartbeat after that"))
}

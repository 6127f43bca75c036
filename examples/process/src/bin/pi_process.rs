//! π as the area under 4/(1+x²) between 0 and 1, shared among processes that put their parts into a queue.
//!
//! ```text
//! cargo run --release -p process-examples --bin pi_process -- --steps 1e8 --processes 4
//! ```

use std::f64::consts::PI;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use phalanx_process::{Process, Queue, Result};
use process_examples::{verdict, whole};

/// Computes π with some processes and a queue.
#[derive(Parser)]
#[command(name = "pi_process", version)]
struct Args {
    /// Slices to cut the area into
    #[arg(long, value_name = "N", default_value = "1e7", value_parser = whole(1..=1_000_000_000_000))]
    steps: u64,
    /// Processes that share them
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=100))]
    processes: u64,
}

/// The area of every slice of this process.
fn area(first: u64, every: u64, steps: u64) -> f64 {
    let width = 1.0 / steps as f64;
    let height = |step: u64| {
        let x = (step as f64 + 0.5) * width;
        4.0 / (1.0 + x * x)
    };
    (first..steps).step_by(every as usize).map(height).sum::<f64>() * width
}

fn put_area((first, every, steps, areas): (u64, u64, u64, Queue<f64>)) {
    areas.put(area(first, every, steps)).expect("the queue is open");
}

fn main() -> Result<ExitCode> {
    let Args { steps, processes } = Args::parse();
    let start = Instant::now();
    let areas = Queue::new()?;
    for first in 0..processes {
        let _running = Process::spawn(put_area, (first, processes, steps, areas.clone()))?;
    }
    let mut pi = 0.0;
    for _ in 0..processes {
        pi += areas.get()?;
    }
    let error = (pi - PI).abs();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "pi = {pi:.15} (error {error:.1e}, {steps} steps, {processes} processes, {seconds:.3} s)"
    );
    let allowed = 1.0 / (12.0 * (steps as f64).powi(2)) + 1e-11;
    Ok(verdict(error <= allowed, PI))
}

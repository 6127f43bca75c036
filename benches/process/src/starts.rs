//! Processes: what a start takes, and a small program with two of them.

use std::time::Instant;

use phalanx_process::{Process, Queue, Result};

pub fn start_join(count: u64) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..count {
        Process::spawn(|()| (), ())?.join()?;
    }
    Ok(start.elapsed().as_secs_f64() / count as f64)
}

fn part((results, first, steps): (Queue<f64>, u64, u64)) {
    let width = 1.0 / steps as f64;
    let mut sum = 0.0;
    for step in (first..steps).step_by(2) {
        let x = (step as f64 + 0.5) * width;
        sum += 4.0 / (1.0 + x * x);
    }
    results.put(sum * width).expect("the queue is open");
}

/// π with two processes that put their parts into a queue: seconds for the whole of it.
pub fn pi(steps: u64) -> Result<f64> {
    let start = Instant::now();
    let results = Queue::new()?;
    let processes = (0..2)
        .map(|first| Process::spawn(part, (results.clone(), first, steps)))
        .collect::<Result<Vec<_>>>()?;
    let pi = results.get()? + results.get()?;
    for process in processes {
        process.join()?;
    }
    assert!((pi - std::f64::consts::PI).abs() < 1e-3, "{pi} is not π");
    Ok(start.elapsed().as_secs_f64())
}

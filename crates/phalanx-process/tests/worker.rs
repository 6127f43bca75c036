//! Processes with state, and such that are started again.

use phalanx_process::{Process, Queue, Result, Worker};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Breaks {
    starts: Queue<u32>,
    lives: usize,
}

impl Worker for Breaks {
    type Output = usize;

    fn run(self) -> usize {
        self.starts.put(std::process::id()).expect("it is open");
        assert!(self.starts.len() >= self.lives, "not yet");
        self.starts.len()
    }
}

#[test]
fn a_worker_begins_with_its_fields() -> Result<()> {
    let starts = Queue::new()?;
    let process =
        Process::builder().name("worker").start(Breaks { starts: starts.clone(), lives: 1 })?;
    let pid = process.pid();
    assert_eq!(process.join()?, 1);
    assert_eq!(starts.get()?, pid);
    Ok(())
}

#[test]
fn a_supervised_worker_is_started_again_as_often_as_allowed() -> Result<()> {
    let worker = Breaks { starts: Queue::new()?, lives: 4 };
    let supervised = Process::builder().name("again").supervise(worker, 3)?;
    assert_eq!(supervised.join()?, 4);

    let worker = Breaks { starts: Queue::new()?, lives: 4 };
    let starts = worker.starts.clone();
    let error = Process::builder().supervise(worker, 2)?.join().unwrap_err();
    assert!(error.is_panicked() && error.to_string().contains("not yet"), "{error}");
    assert_eq!(starts.len(), 3);
    Ok(())
}

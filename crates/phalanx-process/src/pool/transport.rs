//! What a pool needs of its workers, wherever they are.

use std::sync::Arc;

use super::batch::Callee;
use super::results::Head;
use crate::error::Result;
use crate::sys::Deadline;

/// A value that all calls of a job share, as its workers get it.
pub struct SharedValue {
    /// Where workers cannot read this process's memory.
    #[cfg_attr(not(feature = "mpi"), expect(dead_code, reason = "children read shared memory"))]
    pub bytes: Vec<u8>,
    /// What is to be done with it when the job is over.
    pub over: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Drop for SharedValue {
    fn drop(&mut self) {
        if let Some(over) = self.over.take() {
            over();
        }
    }
}

/// Brings batches to workers and records back.
pub trait Transport: Send + Sync {
    /// Starts a worker, also one that takes the place of another.
    fn start_worker(&self, worker: usize) -> Result<()>;

    /// Batches beyond one for each worker that are sent ahead in any case.
    fn least_ahead(&self) -> usize;

    /// Sends a batch to whichever worker takes it. It does not wait.
    fn send(&self, batch: &[u8], callee: &Callee, shared: Option<&Arc<SharedValue>>) -> Result<()>;

    /// Prepares a value for the workers of a job.
    fn share(&self, callee: &mut Callee, bytes: Vec<u8>) -> Result<SharedValue>;

    /// Waits for a record: `false` when the time is up.
    fn receive(&self, deadline: Deadline, record: &mut Vec<u8>) -> Result<bool>;

    /// Whether a record of an end is about the worker that is in this place now.
    fn is_current(&self, worker: usize, generation: u64) -> bool;

    /// Finds out what a worker that has ended had taken. `false` when that is not clear yet: a record says when it is.
    fn settle(&self, _head: Head) -> bool {
        true
    }

    /// What a worker that has ended had taken, and the results that it had stored.
    fn left(&self, worker: usize) -> Option<(u64, Vec<u8>)>;

    /// A worker has ended and is not started again.
    fn forget(&self, worker: usize);

    /// How many workers there are now.
    fn living(&self) -> usize;

    /// Process ids of workers that are children.
    fn pids(&self) -> Vec<u32>;

    /// No batch comes any more: waits until the workers have ended.
    fn finish(&self);

    /// Ends the workers whatever they do.
    fn end(&self);
}

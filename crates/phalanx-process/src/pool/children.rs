//! Workers that are children of this process, and get their batches through shared memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::{self, Callee};
use super::dispatch::Settings;
use super::lease::Leases;
use super::results::{About, Head};
use super::transport::{SharedValue, Transport};
use super::worker::{Batches, Start, work};
use crate::arena::{Handle, Object, existing, fingerprint};
use crate::error::{Error, ErrorKind, Result};
use crate::process::Process;
use crate::queue::{Queue, Record, Refused};
use crate::sys::Deadline;

pub struct Children {
    settings: Settings,
    batches: Queue<Batches>,
    results: Queue<Batches>,
    leases: Object<Leases>,
    workers: Mutex<Vec<Worker>>,
}

#[derive(Default)]
struct Worker {
    process: Option<Process<()>>,
    generation: u64,
}

impl Children {
    pub fn new(settings: Settings) -> Result<Children> {
        let mut workers = Vec::new();
        workers.resize_with(settings.workers, Worker::default);
        Ok(Children {
            batches: Queue::new()?,
            results: Queue::new()?,
            leases: Object::create(fingerprint::<Handle<Leases>>(), |_, _| Ok(()))?,
            workers: Mutex::new(workers),
            settings,
        })
    }

    fn workers(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_all(&self) -> Vec<Process<()>> {
        self.workers().iter_mut().filter_map(|worker| worker.process.take()).collect()
    }
}

fn refused(refused: Refused) -> Error {
    match refused {
        Refused::Channel(_) => Error::new(ErrorKind::Closed, "send", "the pool is closed"),
        Refused::System(error) => error,
    }
}

impl Transport for Children {
    fn start_worker(&self, worker: usize) -> Result<()> {
        self.leases.of(worker).begin()?;
        let start = Start {
            batches: self.batches.clone(),
            results: self.results.clone(),
            leases: Handle(self.leases.clone()),
            worker,
            limit: self.settings.limit,
            initializer: self.settings.initializer.clone(),
        };
        let name = format!("{}-{}", self.settings.name, worker + 1);
        let process = Process::builder().name(name).background().spawn(work, start)?;
        let child = process.child().clone();
        let generation = {
            let mut workers = self.workers();
            let place = &mut workers[worker];
            place.generation += 1;
            place.process = Some(process);
            place.generation
        };
        let results = self.results.clone();
        child.at_end(Box::new(move |exit_code| {
            let head = Head {
                about: About::End,
                worker: worker as u32,
                number: generation,
                figure: exit_code.into(),
            };
            // Closed: the pool is gone.
            let _gone = results.channel().put(existing(), &head.to_bytes(), Deadline::NEVER);
        }));
        Ok(())
    }

    fn least_ahead(&self) -> usize {
        self.settings.workers
    }

    fn send(
        &self,
        batch: &[u8],
        _callee: &Callee,
        _shared: Option<&Arc<SharedValue>>,
    ) -> Result<()> {
        self.batches.channel().put(existing(), batch, Deadline::NEVER).map_err(refused)
    }

    fn share(&self, callee: &mut Callee, bytes: Vec<u8>) -> Result<SharedValue> {
        let (place, length) = (existing().store(&bytes)?, bytes.len());
        (callee.shared, callee.shared_length) = (place.0, length as u64);
        let over = move || {
            // SAFETY: it was stored with this length for this job, all batches of which are gone.
            unsafe { existing().give(place, length) };
        };
        // Workers read the shared memory.
        Ok(SharedValue { bytes: Vec::new(), over: Some(Box::new(over)) })
    }

    fn receive(&self, deadline: Deadline, record: &mut Vec<u8>) -> Result<bool> {
        match self.results.channel().get(existing(), deadline, record) {
            Ok(Record::Copied) => Ok(true),
            Ok(Record::Block(block)) => {
                record.clear();
                record.extend_from_slice(block.bytes()?);
                Ok(true)
            }
            Err(Refused::Channel(_)) => Ok(false),
            Err(Refused::System(error)) => Err(error),
        }
    }

    fn is_current(&self, worker: usize, generation: u64) -> bool {
        self.workers().get(worker).is_some_and(|worker| worker.generation == generation)
    }

    /// A worker notes a batch before it takes it. One that died in between has not taken it: it is still there, or
    /// another worker has it, or has sent its results.
    fn settle(&self, head: Head) -> bool {
        let worker = head.worker as usize;
        let Some(number) = self.leases.of(worker).batch() else { return true };
        let mut first = None;
        // Without memory to look there, the batch counts as taken. Batches are there in the order of their numbers.
        let _looked = self.batches.channel().look(existing(), |beginning| {
            first = Some(batch::number(beginning));
        });
        let is_there = first.is_some_and(|first| first <= number);
        let mut others = (0..self.settings.workers).filter(|other| *other != worker);
        if is_there || others.any(|other| self.leases.of(other).batch() == Some(number)) {
            self.leases.of(worker).finish();
            return true;
        }
        let head = Head { about: About::Settled, ..head };
        self.results.channel().put(existing(), &head.to_bytes(), Deadline::NEVER).is_err()
    }

    fn left(&self, worker: usize) -> Option<(u64, Vec<u8>)> {
        let lease = self.leases.of(worker);
        let mut stored = Vec::new();
        let number = lease.batch()?;
        // What cannot be read is run again.
        lease.copy_to(&mut stored).unwrap_or_default();
        Some((number, stored))
    }

    fn forget(&self, worker: usize) {
        self.workers()[worker].process = None;
    }

    fn living(&self) -> usize {
        self.workers().iter().filter(|worker| worker.process.is_some()).count()
    }

    fn pids(&self) -> Vec<u32> {
        self.workers()
            .iter()
            .filter_map(|worker| worker.process.as_ref())
            .map(Process::pid)
            .collect()
    }

    fn finish(&self) {
        self.batches.close();
        for worker in self.take_all() {
            worker.wait();
        }
    }

    fn end(&self) {
        self.batches.close();
        self.results.close();
        let workers = self.take_all();
        for worker in &workers {
            // What refuses the signal has ended.
            let _ended = worker.kill();
        }
        for worker in &workers {
            worker.wait();
        }
    }
}

//! The loop of a worker: it takes a batch, runs the items, stores and sends the results.

use std::any::Any;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::batch::{self, Callee, Load, Run, View};
use super::lease::{Lease, Leases};
use super::results::{self, About, HEAD, Head, Status};
use crate::arena::{Handle, Place, existing};
use crate::error::Result;
use crate::queue::{Queue, Record, Refusal, Refused};
use crate::sys::{Deadline, image};

/// What a worker gets as its argument.
#[derive(Serialize, Deserialize)]
pub struct Start {
    pub batches: Queue<Batches>,
    pub results: Queue<Batches>,
    pub leases: Handle<Leases>,
    pub worker: usize,
    /// It ends after so many items.
    pub limit: Option<usize>,
    /// What it runs first, and the argument of that.
    pub initializer: Option<(u64, u64, Vec<u8>)>,
}

/// What the queues of a pool hold: bytes of its own.
#[derive(Serialize, Deserialize)]
pub struct Batches;

/// A value that all calls of a job share.
struct Loaded {
    job: u64,
    value: Box<dyn Any>,
}

struct Worker {
    start: Start,
    /// The record that is sent next: its head, and results.
    record: Vec<u8>,
    result: Vec<u8>,
    shared: Option<Loaded>,
}

/// Works until the pool is closed.
pub fn work(start: Start) {
    let mut worker = Worker { start, record: Vec::new(), result: Vec::new(), shared: None };
    if let Err(error) = worker.run() {
        // The pool is gone, or there is no memory: the parent sees the end of this process.
        let _lost = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("pool worker: {error}\n"),
        );
        std::process::exit(1);
    }
}

impl Worker {
    fn lease(&self) -> &Lease {
        self.start.leases.0.of(self.start.worker)
    }

    fn run(&mut self) -> Result<()> {
        if let Some((run, function, argument)) = self.start.initializer.take()
            && !self.initialize(run, function, &argument)?
        {
            return Ok(());
        }
        let mut left = self.start.limit.unwrap_or(usize::MAX);
        let mut buffer = Vec::new();
        while left > 0 {
            let lease = self.lease();
            let taken = self.start.batches.channel().get_noting(
                existing(),
                Deadline::NEVER,
                &mut buffer,
                |beginning| {
                    lease.take(batch::number(beginning));
                },
            );
            left = left.saturating_sub(match taken {
                Ok(Record::Copied) => self.work_on(&buffer)?,
                Ok(Record::Block(block)) => self.work_on(block.bytes()?)?,
                Err(Refused::Channel(Refusal::Closed)) => return Ok(()),
                Err(Refused::Channel(Refusal::TimedOut)) => 0,
                Err(Refused::System(error)) => return Err(error),
            });
            self.lease().finish();
        }
        Ok(())
    }

    /// `false` when it has failed, which the pool is told.
    fn initialize(&mut self, run: u64, function: u64, argument: &[u8]) -> Result<bool> {
        self.result.clear();
        let status = run_of(run)(address(function), None, argument, &mut self.result);
        if status == Status::Value {
            return Ok(true);
        }
        let outcome = results::Outcome::Done(status, std::mem::take(&mut self.result))
            .open::<()>("initializer");
        let text = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        self.record.clear();
        self.record.extend_from_slice(text.as_bytes());
        self.record.splice(..0, self.head(About::Initializer, 0, 0).to_bytes());
        self.send()?;
        Ok(false)
    }

    /// Runs the items of a batch, and says how many.
    fn work_on(&mut self, bytes: &[u8]) -> Result<usize> {
        let start = Instant::now();
        let View { number, callee, items, .. } = View::of(bytes);
        let run = run_of(callee.run);
        let function = address(callee.function);
        if callee.load != 0 {
            self.load(&callee)?;
        }
        self.record.clear();
        self.record.resize(HEAD, 0);
        let mut count = 0;
        for (index, item) in items.enumerate() {
            self.result.clear();
            let begun = results::begin(&mut self.result);
            let shared = self.shared.as_ref().map(|loaded| &*loaded.value);
            let status = run(function, shared, item, &mut self.result);
            results::end(&mut self.result, begun, index, status);
            if !self.lease().store(&self.result)? {
                // What is stored goes first, then this one.
                self.record.truncate(HEAD);
                let lease = self.start.leases.0.of(self.start.worker);
                lease.copy_to(&mut self.record)?;
                self.record.extend_from_slice(&self.result);
                self.send_as(About::Some, number, start)?;
                self.lease().clear();
            }
            count += 1;
        }
        self.record.truncate(HEAD);
        self.start.leases.0.of(self.start.worker).copy_to(&mut self.record)?;
        self.send_as(About::Last, number, start)?;
        self.lease().clear();
        Ok(count)
    }

    fn head(&self, about: About, number: u64, figure: i64) -> Head {
        Head { about, worker: self.start.worker as u32, number, figure }
    }

    fn send_as(&mut self, about: About, number: u64, start: Instant) -> Result<()> {
        let nanoseconds = i64::try_from(start.elapsed().as_nanos()).unwrap_or(i64::MAX);
        let head = self.head(about, number, nanoseconds).to_bytes();
        self.record[..HEAD].copy_from_slice(&head);
        self.send()
    }

    fn send(&self) -> Result<()> {
        match self.start.results.channel().put(existing(), &self.record, Deadline::NEVER) {
            Ok(()) => Ok(()),
            // The pool was dropped: nobody wants the results.
            Err(Refused::Channel(_)) => std::process::exit(0),
            Err(Refused::System(error)) => Err(error),
        }
    }

    /// Makes the shared value of a job the one of this worker.
    fn load(&mut self, callee: &Callee) -> Result<()> {
        if self.shared.as_ref().is_some_and(|shared| shared.job == callee.job) {
            return Ok(());
        }
        self.shared = None;
        // SAFETY: the parent has stored it before the batch, and keeps it until all batches of the job are done.
        let bytes =
            unsafe { existing().load(Place(callee.shared), callee.shared_length as usize)? };
        let load = std::ptr::with_exposed_provenance(address(callee.load));
        // SAFETY: `Callee::sharing` has named a `Load`.
        let load = unsafe { std::mem::transmute::<*const (), Load>(load) };
        self.shared = load(&bytes).ok().map(|value| Loaded { job: callee.job, value });
        Ok(())
    }
}

fn address(name: u64) -> usize {
    image::address_of(name).expect("the parent is the same program")
}

fn run_of(name: u64) -> Run {
    // SAFETY: `Callee` has named a `Run`.
    unsafe {
        std::mem::transmute::<*const (), Run>(std::ptr::with_exposed_provenance(address(name)))
    }
}

//! The loop of a worker: it takes a batch, runs the items, stores and sends the results.

use std::any::Any;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::batch::{self, Callee, Load, Run, View};
use super::lease::{Lease, Leases};
use super::results::{self, About, Head, Status};
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

/// Where the results of a worker go.
pub trait Sink {
    /// The encoded value that the calls of a job share.
    fn shared(&mut self, callee: &Callee) -> Result<Vec<u8>>;

    /// Takes a result of a batch.
    fn result(&mut self, number: u64, result: &[u8], start: Instant) -> Result<()>;

    /// The batch is finished.
    fn finish(&mut self, number: u64, start: Instant) -> Result<()>;
}

/// Runs batches.
#[derive(Default)]
pub struct Runner {
    result: Vec<u8>,
    shared: Option<Loaded>,
}

impl Runner {
    /// Runs the items of a batch, and says how many.
    pub fn run(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize> {
        let start = Instant::now();
        let View { number, callee, items, .. } = View::of(bytes);
        let run = run_of(callee.run);
        let function = address(callee.function);
        if callee.load != 0 {
            self.load(&callee, sink)?;
        }
        let mut count = 0;
        for (index, item) in items.enumerate() {
            self.result.clear();
            let begun = results::begin(&mut self.result);
            let shared = self.shared.as_ref().map(|loaded| &*loaded.value);
            let status = run(function, shared, item, &mut self.result);
            results::end(&mut self.result, begun, index, status);
            sink.result(number, &self.result, start)?;
            count += 1;
        }
        sink.finish(number, start)?;
        Ok(count)
    }

    /// Makes the shared value of a job the one of this worker.
    fn load(&mut self, callee: &Callee, sink: &mut impl Sink) -> Result<()> {
        if self.shared.as_ref().is_some_and(|shared| shared.job == callee.job) {
            return Ok(());
        }
        self.shared = None;
        let bytes = sink.shared(callee)?;
        let load = std::ptr::with_exposed_provenance(address(callee.load));
        // SAFETY: `Callee::sharing` has named a `Load`.
        let load = unsafe { std::mem::transmute::<*const (), Load>(load) };
        self.shared = load(&bytes).ok().map(|value| Loaded { job: callee.job, value });
        Ok(())
    }

    /// Runs an initializer: the text of what went wrong, if it did.
    pub fn initialize(
        &mut self,
        (run, function, argument): &(u64, u64, Vec<u8>),
    ) -> Option<String> {
        self.result.clear();
        let status = run_of(*run)(address(*function), None, argument, &mut self.result);
        if status == Status::Value {
            return None;
        }
        let outcome = results::Outcome::Done(status, std::mem::take(&mut self.result).into());
        outcome.open::<()>("initializer").err().map(|error| error.to_string())
    }
}

/// Results go to the parent through shared memory.
struct ToParent {
    batches: Queue<Batches>,
    results: Queue<Batches>,
    leases: Handle<Leases>,
    worker: usize,
    /// The record that is sent next: its head, and results.
    record: Vec<u8>,
}

/// Works until the pool is closed.
pub fn work(start: Start) {
    let Start { batches, results, leases, worker, limit, initializer } = start;
    let mut to_parent = ToParent { batches, results, leases, worker, record: Vec::new() };
    if let Err(error) = to_parent.work(limit, initializer.as_ref()) {
        // The pool is gone, or there is no memory: the parent sees the end of this process.
        let _lost = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("pool worker: {error}\n"),
        );
        std::process::exit(1);
    }
}

impl ToParent {
    fn lease(&self) -> &Lease {
        self.leases.0.of(self.worker)
    }

    fn work(
        &mut self,
        limit: Option<usize>,
        initializer: Option<&(u64, u64, Vec<u8>)>,
    ) -> Result<()> {
        let mut runner = Runner::default();
        if let Some(text) = initializer.and_then(|initializer| runner.initialize(initializer)) {
            self.record = self.head(About::Initializer, 0, 0).to_bytes().to_vec();
            self.record.extend_from_slice(text.as_bytes());
            return self.send();
        }
        let mut left = limit.unwrap_or(usize::MAX);
        let mut buffer = Vec::new();
        while left > 0 {
            let batches = self.batches.clone();
            let lease = self.lease();
            let taken = batches.channel().get_noting(
                existing(),
                Deadline::NEVER,
                &mut buffer,
                |beginning| {
                    lease.take(batch::number(beginning));
                },
            );
            left = left.saturating_sub(match taken {
                Ok(Record::Copied) => runner.run(&buffer, self)?,
                Ok(Record::Block(block)) => runner.run(block.bytes()?, self)?,
                Err(Refused::Channel(Refusal::Closed)) => return Ok(()),
                Err(Refused::Channel(Refusal::TimedOut)) => 0,
                Err(Refused::System(error)) => return Err(error),
            });
            self.lease().finish();
        }
        Ok(())
    }

    fn head(&self, about: About, number: u64, figure: i64) -> Head {
        Head { about, worker: self.worker as u32, number, figure }
    }

    /// Sends what is stored, and this result behind it.
    fn send_stored(
        &mut self,
        about: About,
        number: u64,
        start: Instant,
        result: &[u8],
    ) -> Result<()> {
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        record.extend_from_slice(&self.head(about, number, nanoseconds_since(start)).to_bytes());
        self.lease().copy_to(&mut record)?;
        record.extend_from_slice(result);
        self.record = record;
        self.send()?;
        self.lease().clear();
        Ok(())
    }

    fn send(&self) -> Result<()> {
        match self.results.channel().put(existing(), &self.record, Deadline::NEVER) {
            Ok(()) => Ok(()),
            // The pool was dropped: nobody wants the results.
            Err(Refused::Channel(_)) => std::process::exit(0),
            Err(Refused::System(error)) => Err(error),
        }
    }
}

impl Sink for ToParent {
    fn shared(&mut self, callee: &Callee) -> Result<Vec<u8>> {
        // SAFETY: the parent has stored it before the batch, and keeps it until all batches of the job are done.
        unsafe { existing().load(Place(callee.shared), callee.shared_length as usize) }
    }

    fn result(&mut self, number: u64, result: &[u8], start: Instant) -> Result<()> {
        if !self.lease().store(result)? {
            self.send_stored(About::Some, number, start, result)?;
        }
        Ok(())
    }

    fn finish(&mut self, number: u64, start: Instant) -> Result<()> {
        self.send_stored(About::Last, number, start, &[])
    }
}

/// How long a worker has worked on a batch.
pub fn nanoseconds_since(start: Instant) -> i64 {
    i64::try_from(start.elapsed().as_nanos()).unwrap_or(i64::MAX)
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

//! A pool whose workers are the other ranks of a communicator.
//!
//! Rank 0 sends batches as messages, each to the rank with the fewest, and receives records. All messages of rank 0 are
//! started and not waited for: a rank that sends a large result never waits for one that sends it a large batch.
//! Everybody looks for messages and sleeps a little longer each time, up to a millisecond, so that who has nothing
//! to do takes next to nothing of a core.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use phalanx::{Comm, Message, Request, any, from, to};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, ErrorKind, Result};
use crate::pool::{
    About, Callee, Core, HEAD, Head, Pool, PoolBuilder, Runner, Settings, SharedValue, Sink,
    Transport, nanoseconds_since,
};
use crate::sys::Deadline;

/// A batch, on its way to a worker; a record, on its way back.
const WORK: i32 = 1;
/// A value that the calls of a job share.
const SHARED: i32 = 2;
/// There is no more work.
const END: i32 = 3;

/// Results are sent when there are so many bytes of them.
const ENOUGH: usize = 64 << 10;
/// Who looks for a message lets others run for so long, and then sleeps between looks,
const PATIENCE: Duration = Duration::from_micros(200);
/// so long at most.
const LONGEST: Duration = Duration::from_millis(1);

impl Pool {
    /// Runs a function on rank 0 with a pool whose workers are the other ranks.
    ///
    /// It is collective: all ranks call it. The other ranks work until the function returns, and get `None`. With one
    /// rank, rank 0 does the work itself. The pool is used on the thread that may make MPI calls; a rank that dies ends
    /// the job, as everywhere in MPI.
    ///
    /// ```
    /// use phalanx_process::Pool;
    ///
    /// # phalanx::run(|world| -> phalanx_process::Result<()> {
    /// let squares = Pool::on(&world, |pool| pool.map(|x: u64| x * x, 0..100))?;
    /// if let Some(squares) = squares {
    ///     assert_eq!(squares?[9], 81);
    /// }
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Function` on all ranks when they do not run the same program; `System` when MPI reports an error.
    ///
    /// MPI: `MPI_Comm_dup`, `MPI_Isend`, `MPI_Improbe`, MPI-4.1 sections 7.4.2, 3.7.2 and 3.8.2.
    #[track_caller]
    pub fn on<T>(comm: &Comm, f: impl FnOnce(&Pool) -> T) -> Result<Option<T>> {
        Pool::builder().on(comm, f)
    }
}

impl PoolBuilder {
    /// [`Pool::on`] with settings: initializer and chunk count, workers are the ranks.
    ///
    /// # Errors
    /// As [`Pool::on`].
    #[track_caller]
    pub fn on<T>(self, comm: &Comm, f: impl FnOnce(&Pool) -> T) -> Result<Option<T>> {
        let location = Location::caller();
        let workers = (comm.size() - 1).max(1);
        let run = || {
            check_program(comm)?;
            let comm = comm.dup().map_err(by_mpi)?;
            let settings = self.settings_for(workers)?;
            if comm.rank() != 0 {
                work(&comm, &settings)?;
                return Ok(None);
            }
            let transport: Box<dyn Transport> = if comm.size() == 1 {
                Box::new(Alone::new(&settings))
            } else {
                Box::new(Ranks::new(comm))
            };
            let pool = Pool::of(Core::start(settings, transport, false)?);
            Ok(Some(f(&pool)))
        };
        run().map_err(|error: Error| error.of("pool of ranks").at(location))
    }
}

fn by_mpi(error: phalanx::Error) -> Error {
    Error::new(ErrorKind::System, "pool of ranks", error.to_string())
}

/// Functions are named by their place in the program: all ranks must run the same one.
fn check_program(comm: &Comm) -> Result<()> {
    let hash = std::fs::read("/proc/self/exe").map_or(0, |program| xxh3_64(&program));
    let hashes = comm.allgather(&hash).map_err(by_mpi)?;
    match hashes.iter().position(|other| *other != hashes[0]) {
        None => Ok(()),
        Some(rank) => {
            let detail =
                format!("rank {rank} of {} runs another program than rank 0", hashes.len());
            Err(Error::new(ErrorKind::Function, "on", detail))
        }
    }
}

/// Looks for a message until the time is up.
fn look(
    comm: &Comm,
    source: impl Fn() -> phalanx::Source,
    deadline: Deadline,
) -> Result<Option<Message>> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(20);
    loop {
        if let Some(message) = comm.try_probe(source()).map_err(by_mpi)? {
            return Ok(Some(message));
        }
        if deadline.has_passed() {
            return Ok(None);
        }
        if start.elapsed() < PATIENCE {
            std::thread::yield_now();
        } else {
            std::thread::sleep(deadline.left().map_or(pause, |left| left.min(pause)));
            pause = (2 * pause).min(LONGEST);
        }
    }
}

/// The side of rank 0.
struct Ranks {
    comm: Comm,
    state: Mutex<Sending>,
}

struct Sending {
    /// Batches that each worker has.
    has: Vec<usize>,
    /// The job whose shared value each worker has.
    shared: Vec<u64>,
    /// Where each batch is.
    at: HashMap<u64, usize>,
    on_their_way: Vec<Request<Vec<u8>>>,
    is_over: bool,
}

impl Ranks {
    fn new(comm: Comm) -> Ranks {
        let workers = comm.size() - 1;
        let state = Sending {
            has: vec![0; workers],
            shared: vec![0; workers],
            at: HashMap::new(),
            on_their_way: Vec::new(),
            is_over: false,
        };
        Ranks { comm, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, Sending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, state: &mut Sending, bytes: Vec<u8>, worker: usize, tag: i32) -> Result<()> {
        state.on_their_way.push(self.comm.isend(bytes, to(worker + 1).tag(tag)).map_err(by_mpi)?);
        Ok(())
    }

    /// Gives up the buffers of messages that have gone.
    fn complete(state: &mut Sending) -> Result<()> {
        let mut failed = Ok(());
        state.on_their_way.retain_mut(|request| match request.test() {
            Ok(None) => true,
            Ok(Some(_)) => false,
            Err(error) => {
                failed = Err(by_mpi(error));
                false
            }
        });
        failed
    }

    fn say_end(&self) -> Result<()> {
        let mut state = self.state();
        if std::mem::replace(&mut state.is_over, true) {
            return Ok(());
        }
        for worker in 0..state.has.len() {
            self.start(&mut state, Vec::new(), worker, END)?;
        }
        for request in std::mem::take(&mut state.on_their_way) {
            request.wait().map_err(by_mpi)?;
        }
        Ok(())
    }

    /// Lets the workers finish what they have, and drops it.
    fn drain(&self) -> Result<()> {
        let mut record = Vec::new();
        while self.state().has.iter().any(|has| *has > 0) {
            self.receive(Deadline::NEVER, &mut record)?;
        }
        Ok(())
    }
}

impl Transport for Ranks {
    fn start_worker(&self, _worker: usize) -> Result<()> {
        Ok(())
    }

    fn least_ahead(&self) -> usize {
        0
    }

    fn send(&self, batch: &[u8], callee: &Callee, shared: Option<&Arc<SharedValue>>) -> Result<()> {
        let mut state = self.state();
        Ranks::complete(&mut state)?;
        let worker = (0..state.has.len())
            .min_by_key(|worker| state.has[*worker])
            .expect("there is a worker");
        if let Some(shared) = shared
            && state.shared[worker] != callee.job
        {
            self.start(&mut state, shared.bytes.clone(), worker, SHARED)?;
            state.shared[worker] = callee.job;
        }
        self.start(&mut state, batch.to_vec(), worker, WORK)?;
        state.has[worker] += 1;
        state.at.insert(crate::pool::batch_number(batch), worker);
        Ok(())
    }

    fn share(&self, _callee: &mut Callee, bytes: Vec<u8>) -> Result<SharedValue> {
        Ok(SharedValue { bytes, over: None })
    }

    fn receive(&self, deadline: Deadline, record: &mut Vec<u8>) -> Result<bool> {
        let Some(message) = look(&self.comm, any, deadline)? else { return Ok(false) };
        *record = message.recv().map_err(by_mpi)?;
        let head = Head::of(&record[..HEAD]);
        let mut state = self.state();
        if head.about == About::Last
            && let Some(worker) = state.at.remove(&head.number)
        {
            state.has[worker] -= 1;
        }
        Ok(true)
    }

    fn is_current(&self, _worker: usize, _generation: u64) -> bool {
        // A rank that ends, ends the job.
        false
    }

    fn left(&self, _worker: usize) -> Option<(u64, Vec<u8>)> {
        None
    }

    fn forget(&self, _worker: usize) {}

    fn living(&self) -> usize {
        self.comm.size() - 1
    }

    fn pids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn finish(&self) {
        self.end();
    }

    fn end(&self) {
        if self.state().is_over {
            return;
        }
        // An error of MPI here has been seen before, or ends the job.
        if let Err(error) = self.drain().and_then(|()| self.say_end()) {
            let _lost = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("phalanx: {error}\n"),
            );
        }
    }
}

/// The side of the other ranks: works until rank 0 says that there is no more work.
fn work(comm: &Comm, settings: &Settings) -> Result<()> {
    let mut to_root = ToRoot { comm, record: Vec::new(), shared: Vec::new() };
    let mut runner = Runner::default();
    if let Some(text) =
        settings.initializer.as_ref().and_then(|initializer| runner.initialize(initializer))
    {
        to_root.begin(About::Initializer, 0, 0);
        to_root.record.extend_from_slice(text.as_bytes());
        to_root.send()?;
    }
    loop {
        // It waits for ever.
        let Some(message) = look(comm, || from(0), Deadline::NEVER)? else { continue };
        let tag = message.tag();
        let bytes: Vec<u8> = message.recv().map_err(by_mpi)?;
        match tag {
            WORK => {
                to_root.begin(About::Some, 0, 0);
                runner.run(&bytes, &mut to_root)?;
            }
            SHARED => to_root.shared = bytes,
            _ => return Ok(()),
        }
    }
}

struct ToRoot<'a> {
    comm: &'a Comm,
    record: Vec<u8>,
    /// The value of the job whose batch comes next.
    shared: Vec<u8>,
}

impl ToRoot<'_> {
    fn begin(&mut self, about: About, number: u64, figure: i64) {
        let worker = self.comm.rank() as u32 - 1;
        self.record.clear();
        self.record.extend_from_slice(&Head { about, worker, number, figure }.to_bytes());
    }

    fn send(&self) -> Result<()> {
        self.comm.send(&self.record, to(0).tag(WORK)).map_err(by_mpi)
    }

    fn send_as(&mut self, about: About, number: u64, start: Instant) -> Result<()> {
        let worker = self.comm.rank() as u32 - 1;
        let head = Head { about, worker, number, figure: nanoseconds_since(start) };
        self.record[..HEAD].copy_from_slice(&head.to_bytes());
        self.send()?;
        self.record.truncate(HEAD);
        Ok(())
    }
}

impl Sink for ToRoot<'_> {
    fn shared(&mut self, _callee: &Callee) -> Result<Vec<u8>> {
        Ok(std::mem::take(&mut self.shared))
    }

    fn result(&mut self, number: u64, result: &[u8], start: Instant) -> Result<()> {
        self.record.extend_from_slice(result);
        if self.record.len() > ENOUGH {
            self.send_as(About::Some, number, start)?;
        }
        Ok(())
    }

    fn finish(&mut self, number: u64, start: Instant) -> Result<()> {
        self.send_as(About::Last, number, start)
    }
}

/// With one rank: rank 0 works when it waits for results.
struct Alone {
    state: Mutex<Working>,
}

struct Working {
    batches: VecDeque<(Vec<u8>, Option<Arc<SharedValue>>)>,
    records: VecDeque<Vec<u8>>,
}

thread_local! {
    // Shared values of jobs may belong to a thread.
    static RUNNER: RefCell<Runner> = RefCell::default();
}

impl Alone {
    fn new(settings: &Settings) -> Alone {
        let mut runner = Runner::default();
        let mut records = VecDeque::new();
        if let Some(text) =
            settings.initializer.as_ref().and_then(|initializer| runner.initialize(initializer))
        {
            let head = Head { about: About::Initializer, worker: 0, number: 0, figure: 0 };
            records.push_back([&head.to_bytes(), text.as_bytes()].concat());
        }
        Alone { state: Mutex::new(Working { batches: VecDeque::new(), records }) }
    }

    fn state(&self) -> MutexGuard<'_, Working> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ToMyself {
    record: Vec<u8>,
    shared: Option<Arc<SharedValue>>,
}

impl Sink for ToMyself {
    fn shared(&mut self, _callee: &Callee) -> Result<Vec<u8>> {
        Ok(self.shared.as_ref().map(|shared| shared.bytes.clone()).unwrap_or_default())
    }

    fn result(&mut self, _number: u64, result: &[u8], _start: Instant) -> Result<()> {
        self.record.extend_from_slice(result);
        Ok(())
    }

    fn finish(&mut self, number: u64, start: Instant) -> Result<()> {
        let head = Head { about: About::Last, worker: 0, number, figure: nanoseconds_since(start) };
        self.record[..HEAD].copy_from_slice(&head.to_bytes());
        Ok(())
    }
}

impl Transport for Alone {
    fn start_worker(&self, _worker: usize) -> Result<()> {
        Ok(())
    }

    fn least_ahead(&self) -> usize {
        0
    }

    fn send(
        &self,
        batch: &[u8],
        _callee: &Callee,
        shared: Option<&Arc<SharedValue>>,
    ) -> Result<()> {
        self.state().batches.push_back((batch.to_vec(), shared.cloned()));
        Ok(())
    }

    fn share(&self, _callee: &mut Callee, bytes: Vec<u8>) -> Result<SharedValue> {
        Ok(SharedValue { bytes, over: None })
    }

    fn receive(&self, deadline: Deadline, record: &mut Vec<u8>) -> Result<bool> {
        let mut state = self.state();
        if let Some(first) = state.records.pop_front() {
            *record = first;
            return Ok(true);
        }
        let Some((batch, shared)) = state.batches.pop_front() else {
            drop(state);
            std::thread::sleep(deadline.slice().min(LONGEST));
            return Ok(false);
        };
        drop(state);
        // What the function does may come back here.
        let mut runner = RUNNER.take();
        let mut to_myself = ToMyself { record: vec![0; HEAD], shared };
        runner.run(&batch, &mut to_myself)?;
        RUNNER.set(runner);
        *record = to_myself.record;
        Ok(true)
    }

    fn is_current(&self, _worker: usize, _generation: u64) -> bool {
        false
    }

    fn left(&self, _worker: usize) -> Option<(u64, Vec<u8>)> {
        None
    }

    fn forget(&self, _worker: usize) {}

    fn living(&self) -> usize {
        1
    }

    fn pids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn finish(&self) {}

    fn end(&self) {}
}

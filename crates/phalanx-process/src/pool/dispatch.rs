//! Who works on what: batches that wait, batches that were sent, workers, and what is to be done when one dies.
//!
//! There is no thread for it while somebody waits for results: whoever waits reads the records that come back, for
//! all jobs, and the others sleep until something has changed.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, mpsc};

use super::batch::Batch;
use super::job::Job;
use super::results::{About, HEAD, Head, Outcome, Parts};
use super::transport::{SharedValue, Transport};
use crate::error::{Error, ErrorKind, Result};
use crate::objects::Kept;
use crate::process::died;
use crate::sys::{Deadline, SLICE};

/// Batches are sent ahead for so many nanoseconds, so that workers do not wait for the next.
const AHEAD: f64 = 2e6;
const MOST_AHEAD: usize = 4096;
/// Workers that die one after another before they have done anything.
const FRUITLESS: usize = 50;
/// Records that are worked on before somebody else may have a turn.
const AT_ONCE: usize = 256;

/// Names of functions, and the encoded argument.
pub type Initializer = (u64, u64, Vec<u8>);

/// What a pool was made with.
#[derive(Clone)]
pub struct Settings {
    pub name: String,
    pub workers: usize,
    pub limit: Option<usize>,
    pub repeats: u32,
    pub chunk: Option<usize>,
    pub initializer: Option<Initializer>,
    /// What handles in its argument name.
    pub _kept: Option<Arc<Kept>>,
}

pub struct Core {
    pub settings: Settings,
    transport: Box<dyn Transport>,
    /// Results can be read on a thread of the pool's.
    has_thread: bool,
    state: Mutex<State>,
    /// Held by the one who reads results.
    reading: Mutex<()>,
    /// Turns of reading that have ended.
    turns: Mutex<u64>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next_number: u64,
    waiting: VecDeque<Unsent>,
    sent: HashMap<u64, Sent>,
    workers: Vec<Worker>,
    /// Nanoseconds that a batch takes.
    per_batch: Option<f64>,
    fruitless: usize,
    is_closed: bool,
    /// Why nothing can be done any more.
    broken: Option<(ErrorKind, String)>,
    background: Option<mpsc::Sender<()>>,
    /// Jobs that have failed while workers may still use what their calls share.
    abandoned: Vec<Arc<Job>>,
}

struct Unsent {
    batch: Batch,
    first: usize,
    job: Arc<Job>,
    attempts: u32,
}

struct Sent {
    unsent: Unsent,
    /// Results of the items before it have come.
    next: usize,
}

#[derive(Default)]
struct Worker {
    has_worked: bool,
}

impl State {
    /// Batches that may be on their way.
    fn most(&self, least_ahead: usize) -> usize {
        let workers = self.workers.len();
        let ahead =
            self.per_batch.map_or(0, |time| (AHEAD * workers as f64 / time.max(1.0)) as usize);
        workers + ahead.clamp(least_ahead, MOST_AHEAD)
    }

    fn refusal(&self, operation: &'static str) -> Option<Error> {
        if let Some((kind, text)) = &self.broken {
            return Some(Error::new(*kind, operation, text.clone()));
        }
        self.is_closed
            .then(|| Error::new(ErrorKind::Closed, operation, "the pool takes no more work"))
    }
}

impl Core {
    pub fn start(
        settings: Settings,
        transport: Box<dyn Transport>,
        has_thread: bool,
    ) -> Result<Arc<Core>> {
        let core = Core {
            transport,
            has_thread,
            state: Mutex::default(),
            reading: Mutex::default(),
            turns: Mutex::default(),
            changed: Condvar::new(),
            settings,
        };
        core.state().workers.resize_with(core.settings.workers, Worker::default);
        for worker in 0..core.settings.workers {
            if let Err(error) = core.transport.start_worker(worker) {
                core.transport.end();
                return Err(error);
            }
        }
        Ok(Arc::new(core))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares a value for the workers of a job.
    pub fn share(&self, callee: &mut super::batch::Callee, bytes: Vec<u8>) -> Result<SharedValue> {
        // Of all pools: a worker of one may be the root of another.
        static JOBS: AtomicU64 = AtomicU64::new(1);
        callee.job = JOBS.fetch_add(1, Ordering::Relaxed);
        self.transport.share(callee, bytes)
    }

    /// Process ids of the workers.
    pub fn pids(&self) -> Vec<u32> {
        self.transport.pids()
    }

    /// An error when no more work is taken.
    pub fn permit(&self, operation: &'static str) -> Result<()> {
        self.state().refusal(operation).map_or(Ok(()), Err)
    }

    /// Whether workers could begin with another batch soon.
    pub fn wants_work(&self) -> bool {
        let state = self.state();
        state.waiting.is_empty() && state.sent.len() < state.most(self.transport.least_ahead())
    }

    /// Takes a batch of a job, which is sent when its time comes.
    pub fn give(&self, job: &Arc<Job>, first: usize, fill: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new(0, &job.callee, first);
        fill(&mut batch);
        if batch.count() == 0 {
            return;
        }
        let mut state = self.state();
        let unsent = Unsent { batch, first, job: job.clone(), attempts: 0 };
        if let Some((kind, text)) = &state.broken {
            fail(&unsent, 0, || Error::new(*kind, job.operation, text.clone()));
            return;
        }
        state.waiting.push_back(unsent);
        self.send_what_waits(&mut state);
    }

    fn send_what_waits(&self, state: &mut State) {
        while state.sent.len() < state.most(self.transport.least_ahead())
            && let Some(mut unsent) = state.waiting.pop_front()
        {
            if unsent.job.is_cancelled() {
                continue;
            }
            let number = state.next_number;
            state.next_number += 1;
            unsent.batch.set_number(number);
            let job = &unsent.job;
            match self.transport.send(unsent.batch.bytes(), &job.callee, job.shared.as_ref()) {
                Ok(()) => {
                    state.sent.insert(number, Sent { unsent, next: 0 });
                }
                Err(error) => {
                    let text = error.to_string();
                    fail(&unsent, 0, || {
                        Error::new(error.kind(), unsent.job.operation, text.clone())
                    });
                }
            }
        }
    }

    /// Takes back what was not sent of a job. Says whether all of it was.
    pub fn take_back(&self, job: &Arc<Job>) -> bool {
        let mut state = self.state();
        job.cancel();
        state.waiting.retain(|unsent| !Arc::ptr_eq(&unsent.job, job));
        !state.sent.values().any(|sent| Arc::ptr_eq(&sent.unsent.job, job))
    }

    /// Waits until this is so, and reads what comes back meanwhile. Says whether it is so.
    pub fn wait(&self, mut is_so: impl FnMut() -> bool, deadline: Deadline) -> bool {
        loop {
            if is_so() {
                return true;
            }
            match self.reading.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
                    if is_so() {
                        return true;
                    }
                    if deadline.has_passed() {
                        return false;
                    }
                    // Who reads counts every turn under this lock.
                    if matches!(self.reading.try_lock(), Err(TryLockError::WouldBlock)) {
                        let _again = self.changed.wait_timeout(turns, deadline.slice());
                    }
                }
                reading => {
                    let done = is_so();
                    let read = done || self.read(deadline);
                    drop(reading);
                    *self.turns.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                    self.changed.notify_all();
                    if done {
                        return true;
                    }
                    if !read && deadline.has_passed() {
                        return is_so();
                    }
                }
            }
        }
    }

    /// Reads what has come back, or waits for something. Says whether there was something.
    fn read(&self, deadline: Deadline) -> bool {
        let mut buffer = Vec::new();
        // Others who wait have their own time limits, and this one looks at the system now and then.
        let mut until = deadline.left().map_or(SLICE, |left| left.min(SLICE));
        let mut any = false;
        for _ in 0..AT_ONCE {
            match self.transport.receive(Deadline::after(until), &mut buffer) {
                Ok(true) => self.note(std::mem::take(&mut buffer)),
                Ok(false) => break,
                Err(error) => {
                    self.break_down(&mut self.state(), error.kind(), &error.to_string());
                    break;
                }
            }
            any = true;
            until = std::time::Duration::ZERO;
        }
        any
    }

    fn note(&self, record: Vec<u8>) {
        let head = Head::of(&record[..HEAD]);
        let mut state = self.state();
        match head.about {
            About::Some | About::Last => {
                if let Some(worker) = state.workers.get_mut(head.worker as usize) {
                    worker.has_worked = true;
                }
                state.fruitless = 0;
                deliver(&mut state, head.number, Parts::of(record, HEAD));
                if head.about == About::Last
                    && let Some(sent) = state.sent.remove(&head.number)
                {
                    let time = head.figure as f64;
                    state.per_batch =
                        Some(state.per_batch.map_or(time, |before| 0.9 * before + 0.1 * time));
                    sent.unsent.job.measure(head.figure, sent.unsent.batch.count());
                }
                self.send_what_waits(&mut state);
            }
            About::Initializer => {
                let text = format!(
                    "the initializer of its workers has failed: {}",
                    String::from_utf8_lossy(&record[HEAD..])
                );
                self.break_down(&mut state, ErrorKind::Panicked, &text);
            }
            About::End | About::Settled => self.worker_ended(&mut state, head),
        }
    }

    fn worker_ended(&self, state: &mut State, head: Head) {
        let worker = head.worker as usize;
        if !self.transport.is_current(worker, head.number) {
            return;
        }
        if head.about == About::End && !self.transport.settle(head) {
            return;
        }
        let exit_code = head.figure as i32;
        if let Some((number, stored)) = self.transport.left(worker)
            && state.sent.contains_key(&number)
        {
            deliver(state, number, Parts::of(stored, 0));
            if let Some(sent) = state.sent.remove(&number) {
                self.recover(state, sent, worker, exit_code);
            }
            state.fruitless = 0;
        } else if !state.workers[worker].has_worked {
            state.fruitless += 1;
        }
        self.transport.forget(worker);
        state.workers[worker].has_worked = false;
        if state.broken.is_some()
            || (state.is_closed && state.sent.is_empty() && state.waiting.is_empty())
        {
            return;
        }
        if state.fruitless >= FRUITLESS {
            let ended = died("start", exit_code);
            let text = format!(
                "{FRUITLESS} workers ended before they had done anything, the last one: {ended}"
            );
            self.break_down(state, ErrorKind::Died, &text);
        } else if let Err(error) = self.transport.start_worker(worker)
            && self.transport.living() == 0
        {
            self.break_down(state, error.kind(), &format!("no worker can be started: {error}"));
        }
        self.send_what_waits(state);
    }

    /// A worker died of an item: that one is repeated or has failed, and those after it go to others.
    fn recover(&self, state: &mut State, sent: Sent, worker: usize, exit_code: i32) {
        let Sent { unsent, next } = sent;
        let Unsent { batch, first, job, attempts } = unsent;
        let part = |items: std::ops::Range<usize>, attempts| Unsent {
            first: first + items.start,
            batch: batch.part(0, items),
            job: job.clone(),
            attempts,
        };
        if next + 1 < batch.count() {
            state.waiting.push_front(part(next + 1..batch.count(), 0));
        }
        if next < batch.count() {
            if attempts < self.settings.repeats {
                state.waiting.push_front(part(next..next + 1, attempts + 1));
            } else {
                let name = format!("{}-{}", self.settings.name, worker + 1);
                let error = died(job.operation, exit_code).of(format_args!("worker `{name}`"));
                job.deliver([(first + next, Outcome::Failed(error))]);
            }
        }
    }

    /// Nothing can be done any more: everything that was asked for fails.
    fn break_down(&self, state: &mut State, kind: ErrorKind, text: &str) {
        state.broken.get_or_insert_with(|| (kind, text.to_owned()));
        let sent = std::mem::take(&mut state.sent);
        for Sent { unsent, next } in sent.into_values() {
            fail(&unsent, next, || Error::new(kind, unsent.job.operation, text));
            // Workers may be at it.
            state.abandoned.push(unsent.job);
        }
        for unsent in std::mem::take(&mut state.waiting) {
            fail(&unsent, 0, || Error::new(kind, unsent.job.operation, text));
        }
    }

    /// Takes no more work.
    pub fn close(&self) {
        self.state().is_closed = true;
    }

    fn is_idle(&self) -> bool {
        let state = self.state();
        state.sent.is_empty() && state.waiting.is_empty()
    }

    /// Waits until all work is done and the workers have ended.
    pub fn join(&self) -> Result<()> {
        self.close();
        self.wait(|| self.is_idle(), Deadline::NEVER);
        self.transport.finish();
        match &self.state().broken {
            Some((kind, text)) => Err(Error::new(*kind, "join", text.clone())),
            None => Ok(()),
        }
    }

    /// Ends the workers, whatever they do.
    pub fn terminate(&self) {
        {
            let mut state = self.state();
            state.is_closed = true;
            self.break_down(&mut state, ErrorKind::Closed, "the pool was ended");
            state.background = None;
        }
        self.transport.end();
        let abandoned = std::mem::take(&mut self.state().abandoned);
        drop(abandoned);
        self.changed.notify_all();
    }

    /// A thread reads results from now on when nobody waits for them, until there is nothing to do.
    pub fn work_in_background(self: &Arc<Self>) {
        if !self.has_thread {
            return;
        }
        let mut state = self.state();
        if let Some(background) = &state.background
            && background.send(()).is_ok()
        {
            return;
        }
        let (sender, receiver) = mpsc::channel();
        let core = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("phalanx-pool".to_owned()).spawn(move || {
            while receiver.recv().is_ok() {
                while let Some(core) = core.upgrade() {
                    if core.wait(|| core.is_idle(), Deadline::after(SLICE)) {
                        break;
                    }
                }
            }
        });
        // Without a thread the results are read when somebody asks for them.
        if thread.is_ok() && sender.send(()).is_ok() {
            state.background = Some(sender);
        }
    }
}

fn deliver(state: &mut State, number: u64, results: Parts) {
    let Some(sent) = state.sent.get_mut(&number) else { return };
    let mut next = sent.next;
    let first = sent.unsent.first;
    sent.unsent.job.deliver(results.filter_map(|(index, status, part)| {
        // Results may come twice when a worker died after it had sent them.
        let is_new = index >= next;
        next = next.max(index + 1);
        is_new.then(|| (first + index, Outcome::Done(status, part)))
    }));
    sent.next = next;
}

/// The items of a batch from one on have failed.
fn fail(unsent: &Unsent, from: usize, error: impl Fn() -> Error) {
    unsent.job.deliver(
        (from..unsent.batch.count()).map(|index| (unsent.first + index, Outcome::Failed(error()))),
    );
}

//! The watch: why a program does not go on. It makes no MPI call.
//!
//! One thread in each process looks now and then whether the rank has moved. A rank that has not for a
//! while writes a statement of what it does (`author.rs`) on the board of the node; the watch of one
//! that waits looks at the statements of all (`census.rs`, and `remote.rs` for other nodes), draws its
//! conclusions and acts on them (`inspector.rs`). README.md says why a verdict can be trusted.

mod author;
mod census;
mod inspector;
mod judge;
mod remote;
mod settings;
mod statement;

use std::mem;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(crate) use judge::unreceived;
pub(crate) use remote::{Address, Doorbell, hosts};
pub(crate) use settings::{Mode, agree_on, is_wanted, mode, settings};

use crate::board::{Board, Phase, board};
use crate::record::{self, Lane};
use crate::world::failure;
use author::Author;
use inspector::Inspector;
use settings::Settings;

/// What all ranks have told each other when the watch begins.
pub(crate) struct Setup {
    pub rank: usize,
    pub size: usize,
    /// For each rank of the world where its watch can be reached; empty on a single node.
    pub addresses: Vec<Address>,
    /// Where the watches of other nodes ring.
    pub doorbell: Option<Doorbell>,
}

struct Watch {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<()>,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// Begins to watch. Without a thread (the system has none left, or MPI was promised that there is one
/// only) the calls are noted all the same.
pub(crate) fn start(setup: Setup) {
    let (Ok(settings), Some(board)) = (settings(), board()) else { return };
    record::activate(&board.mine().lane);
    if crate::raw::state::level() == crate::raw::state::Threading::Single {
        return;
    }
    let ended = Arc::new((Mutex::new(false), Condvar::new()));
    let its_end = Arc::clone(&ended);
    let watcher = Watcher::new(settings, board, setup);
    let _masked = Masked::all();
    let thread = thread::Builder::new()
        .name("phalanx-watch".to_owned())
        .stack_size(1 << 20)
        .spawn(move || watcher.run(&its_end));
    if let Ok(thread) = thread {
        *WATCH.lock().unwrap_or_else(PoisonError::into_inner) = Some(Watch { ended, thread });
    }
}

/// This rank will finalize next: it answers no messages any more.
pub(crate) fn finalized() {
    if let Some(board) = board() {
        board.mine().set_phase(Phase::Finalized);
    }
}

/// Ends the watch of this rank.
pub(crate) fn stop() {
    let watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Watch { ended, thread }) = watch {
        *ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        ended.1.notify_all();
        // A panic of the watch is no reason to fail at the end.
        let _ = thread.join();
    }
    record::retire();
}

/// While this exists, threads that are started get no signals: those are for the program's own.
struct Masked(libc::sigset_t);

impl Masked {
    fn all() -> Self {
        // SAFETY: a set of signals is plain bits, and both sets are writable.
        unsafe {
            let mut all: libc::sigset_t = mem::zeroed();
            let mut before: libc::sigset_t = mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            Masked(before)
        }
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        // SAFETY: the set was filled when this was made.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Exit code of a job that the watch ends.
pub(crate) const DEADLOCK_CODE: i32 = 86;

/// How long a rank may take to leave a call that it was told to leave.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);

struct Watcher {
    settings: &'static Settings,
    board: &'static Board,
    lane: &'static Lane,
    author: Author,
    inspector: Inspector,
    _doorbell: Option<remote::Answering>,
    /// When the rank was seen to move, and to what.
    since: Instant,
    sequence: u64,
    others: u64,
    told_at: Option<Instant>,
}

impl Watcher {
    fn new(settings: &'static Settings, board: &'static Board, setup: Setup) -> Self {
        Watcher {
            settings,
            board,
            lane: &board.mine().lane,
            author: Author::new(setup.rank),
            inspector: Inspector::new(settings, board, setup.rank, setup.size, setup.addresses),
            _doorbell: setup.doorbell.map(|it| it.answer(board)),
            since: Instant::now(),
            sequence: 0,
            others: 0,
            told_at: None,
        }
    }

    fn run(mut self, ended: &(Mutex<bool>, Condvar)) {
        let tick = tick(self.settings);
        loop {
            let guard = ended.0.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = ended.1.wait_timeout_while(guard, tick, |ended| !*ended);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
            self.look();
        }
    }

    fn look(&mut self) {
        if failure::is_ending() {
            return;
        }
        let slot = self.board.mine();
        let code = self.board.header.ending.load(Acquire);
        if code != 0 {
            self.inspector.clean();
            failure::end_by_watch(&self.verdict(), code as i32);
        }
        let sequence = self.lane.sequence();
        let others = record::lanes().iter().skip(1).map(|lane| lane.sequence()).sum();
        if (sequence, others) != (self.sequence, self.others) {
            if others != self.others {
                slot.others.fetch_add(1, Relaxed);
            }
            self.inspector.moved(self.sequence, self.since.elapsed());
            (self.sequence, self.others, self.since) = (sequence, others, Instant::now());
            self.told_at = None;
            return;
        }
        let still_for = self.since.elapsed();
        if still_for < self.settings.after() / 2 {
            return;
        }
        let Some(mut statement) = self.author.write(self.lane, sequence, still_for) else { return };
        slot.state(sequence, &author::encode(&mut statement, crate::board::Paper::CAPACITY));
        if slot.told.load(Acquire) == sequence && sequence % 2 == 1 {
            self.tell(sequence);
        } else if still_for >= self.settings.after() && author::waits(&statement) {
            self.inspector.inspect(&statement);
        }
    }

    /// Tells the thread that waits; ends the job if it does not listen.
    fn tell(&mut self, sequence: u64) {
        match self.told_at {
            None => {
                record::tell(sequence, &self.verdict());
                self.told_at = Some(Instant::now());
            }
            Some(at) if at.elapsed() > LEAVES_WITHIN => {
                failure::end_by_watch(&self.verdict(), DEADLOCK_CODE);
            }
            Some(_) => {}
        }
    }

    fn verdict(&self) -> String {
        let verdict = self.board.header.verdict.read().unwrap_or_default();
        String::from_utf8_lossy(&verdict).into_owned()
    }
}

/// How often a watch looks at its rank.
fn tick(settings: &Settings) -> Duration {
    (settings.after() / 8).clamp(Duration::from_millis(10), Duration::from_millis(2500))
}

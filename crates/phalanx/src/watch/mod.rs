//! The watch: why a program is stuck. It makes no MPI call.
//!
//! One thread in each process periodically checks that its rank makes progress. A rank that has not for
//! a while writes a statement of what it does (`author.rs`) on the board of the node; the watch of one
//! that waits reads the statements of all (`census.rs`, and `remote.rs` for other nodes), draws its
//! conclusions and acts on them (`inspector.rs`). README.md says why a verdict can be trusted.
//!
//! When SIGINT or SIGTERM ends the program, the same statements say where each rank stands
//! (`signals.rs`).

mod author;
mod census;
mod inspector;
mod judge;
mod remote;
mod settings;
mod signals;
mod statement;
mod tell;
mod voice;
mod wake;

use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(crate) use judge::{ranks_named, unreceived};
pub(crate) use remote::{Address, Listener, Secret, hosts};
pub(crate) use settings::{
    Mode, agree_on, agree_on_types, compares_types, is_wanted, mode, settings,
};

use crate::board::{Board, LONGEST_STATEMENT, Phase, board};
use crate::record::{self, Lane};
use crate::world::failure;
use author::Author;
use inspector::Inspector;
use settings::Settings;
use statement::Statement;
use voice::Voice;
use wake::{Wake, wake};

/// What all ranks have told each other when the watch begins.
pub(crate) struct Setup {
    pub rank: usize,
    pub size: usize,
    /// For each rank of the world where its watch can be reached; empty on a single node.
    pub addresses: Vec<Address>,
    /// How the watches of the job recognise each other.
    pub secret: Secret,
    /// Where the watches of other nodes ask.
    pub listener: Option<Listener>,
}

struct Watch {
    wake: &'static Wake,
    thread: JoinHandle<()>,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// Begins to watch. Without a thread (the system has none left, or MPI was promised that there is one
/// only) the calls are noted all the same.
pub(crate) fn start(setup: Setup) {
    let (Ok(settings), Some(board)) = (settings(), board()) else { return };
    let lane = record::activate(board.mine().sequence_word());
    if crate::raw::state::level() == crate::raw::state::Threading::Single {
        return;
    }
    let Some(wake) = wake() else { return };
    wake.begin();
    let watcher = Watcher::new(settings, board, lane, setup);
    let masked = Masked::all();
    let thread = thread::Builder::new()
        .name("phalanx-watch".to_owned())
        .stack_size(1 << 20)
        .spawn(move || watcher.run(wake));
    drop(masked);
    if let Ok(thread) = thread {
        failure::when_ending(|| {
            if let Some(wake) = wake::wake() {
                wake.nudge();
            }
        });
        signals::install(wake.descriptor());
        *WATCH.lock().unwrap_or_else(PoisonError::into_inner) = Some(Watch { wake, thread });
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
    STOPPING.store(true, Release);
    if let Some(Watch { wake, thread }) = watch {
        signals::uninstall();
        wake.end();
        // A panic of the watch is no reason to fail at the end.
        let _ = thread.join();
    }
    STOPPING.store(false, Release);
    record::retire();
}

/// Whether the rank waits for its watch to end: no time for other nodes any more.
static STOPPING: AtomicBool = AtomicBool::new(false);

fn is_stopping() -> bool {
    STOPPING.load(Acquire)
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
    _answering: Option<remote::Answering>,
    /// When the rank was seen to move, and to what.
    since: Instant,
    sequence: u64,
    others: u64,
    /// What the rank has said since then, and when.
    stated: Option<(Statement, Instant)>,
    /// How long the rank must have stood still for the next inspection, and how long after it the one
    /// after that is.
    inspect_after: Duration,
    interval: Duration,
    verdict_since: Option<Instant>,
    /// Whether this rank has failed, and other nodes were told.
    knows_of_failure: bool,
}

/// How often a rank that stands still says the same again: it may have begun to poll.
const STATE_AGAIN: Duration = Duration::from_millis(2500);

/// The longest time between two inspections.
const LONGEST_INTERVAL: Duration = Duration::from_millis(2500);

/// How long the ranks of a node get to say where they stand when a signal ends them. The launcher of Open
/// MPI kills them a second after it.
const STAND: Duration = Duration::from_millis(150);

/// How long the report of another rank may take.
const OTHER_SPEAKS: Duration = Duration::from_millis(2500);

/// How long the launcher gets to read it.
const READ: Duration = Duration::from_millis(100);

impl Watcher {
    fn new(
        settings: &'static Settings,
        board: &'static Board,
        lane: &'static Lane,
        setup: Setup,
    ) -> Self {
        Watcher {
            settings,
            board,
            lane,
            author: Author::new(setup.rank),
            inspector: Inspector::new(
                settings,
                board,
                setup.rank,
                setup.size,
                setup.addresses,
                setup.secret.clone(),
            ),
            _answering: setup.listener.and_then(|it| it.answer(setup.secret, board)),
            since: Instant::now(),
            sequence: 0,
            others: 0,
            stated: None,
            inspect_after: settings.after(),
            interval: tick(settings),
            verdict_since: None,
            knows_of_failure: false,
        }
    }

    fn run(mut self, wake: &Wake) {
        let tick = tick(self.settings);
        while !wake.sleep(tick) {
            if let Some(signal) = signals::come() {
                self.end_by(signal);
            }
            self.look();
        }
    }

    fn look(&mut self) {
        if failure::is_ending() {
            if !mem::replace(&mut self.knows_of_failure, true) {
                self.inspector.fails();
            }
            return;
        }
        let slot = self.board.mine();
        slot.repair(|| self.lane.sequence());
        if let Some(code) = self.board.ending() {
            self.inspector.clean();
            failure::end_by_watch(&voice::verdict(self.board), code);
        }
        let sequence = self.lane.sequence();
        let others = record::lanes().iter().skip(1).map(|lane| lane.sequence()).sum();
        if (sequence, others) != (self.sequence, self.others) {
            self.moved(sequence, others);
            return;
        }
        let still_for = self.since.elapsed();
        if still_for < self.settings.after() / 2 {
            return;
        }
        let Some(statement) = self.state(sequence, still_for) else { return };
        let is_stuck = slot.is_stuck(sequence) || self.verdict_since.is_some();
        if is_stuck && sequence % 2 == 1 {
            self.tell(sequence);
        } else if still_for >= self.inspect_after && author::waits(&statement) {
            self.inspector.inspect(&statement);
            // What is not proved by now mostly never is: who computes for hours costs little.
            self.inspect_after = still_for + self.interval;
            let longest = LONGEST_INTERVAL.min(self.settings.after()).max(tick(self.settings));
            self.interval = (self.interval * 2).min(longest);
        }
    }

    /// The rank has made progress.
    fn moved(&mut self, sequence: u64, others: u64) {
        let slot = self.board.mine();
        if others != self.others {
            // What was said of a thread that waited does not hold any more.
            slot.clear_warned();
        }
        self.inspector.moved(self.sequence, self.since.elapsed());
        (self.sequence, self.others, self.since) = (sequence, others, Instant::now());
        (self.stated, self.verdict_since) = (None, None);
        (self.inspect_after, self.interval) = (self.settings.after(), tick(self.settings));
    }

    /// What the rank says of itself, for this watch and on the board. `None` if it moves on meanwhile.
    fn state(&mut self, sequence: u64, still_for: Duration) -> Option<Statement> {
        let milliseconds = still_for.as_millis() as u64;
        if let Some((statement, at)) = &mut self.stated
            && statement.complete
            && at.elapsed() < STATE_AGAIN
        {
            statement.still_for = milliseconds;
            return Some(statement.clone());
        }
        let mut statement = self.author.write(self.lane, sequence, still_for)?;
        let bytes = author::encode(&mut statement, LONGEST_STATEMENT);
        self.board.mine().state(sequence, &bytes);
        self.stated = Some((statement.clone(), Instant::now()));
        Some(statement)
    }

    /// Tells the thread that waits; ends the job if it does not listen.
    fn tell(&mut self, sequence: u64) {
        match self.verdict_since {
            None => {
                let verdict = match self.inspector.proved_of_mine(sequence) {
                    Some(text) => text.to_owned(),
                    None => voice::verdict(self.board),
                };
                record::deliver_verdict(sequence, &verdict);
                // Who has written it may write something else now.
                self.board.mine().clear_stuck();
                self.verdict_since = Some(Instant::now());
            }
            Some(at) if at.elapsed() > LEAVES_WITHIN => {
                failure::end_by_watch(&voice::verdict(self.board), DEADLOCK_CODE);
            }
            Some(_) => {}
        }
    }

    /// Says where the ranks of this node stand, one of them for all, and ends as the signal would have
    /// ended this process.
    fn end_by(&mut self, signal: i32) -> ! {
        let still_for = self.since.elapsed();
        let still_for =
            if still_for < self.settings.after() / 2 { Duration::ZERO } else { still_for };
        self.stated = None;
        // A rank that moves may do so while it is looked at.
        let _ = (0..50).find_map(|_| self.state(self.lane.sequence(), still_for));
        let others_said_why = self.inspector.is_ended_by_another();
        if !others_said_why && !failure::is_ending() && self.board.ending().is_none() {
            match Voice::take(self.board) {
                // A failure that was reported before is the reason for the signal.
                Some(_voice) if crate::board::is_first() => {
                    if self.board.members.len() > 1 {
                        thread::sleep(STAND);
                    }
                    failure::print_without_locks(&self.inspector.standing(signals::name(signal)));
                    thread::sleep(READ);
                }
                Some(_) => {}
                None => drop(Voice::wait_for(self.board, OTHER_SPEAKS)),
            }
        }
        self.inspector.clean();
        signals::die_of(signal)
    }
}

/// How often a watch looks at its rank.
fn tick(settings: &Settings) -> Duration {
    (settings.after() / 8).clamp(Duration::from_millis(10), Duration::from_millis(2500))
}

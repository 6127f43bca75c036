//! Whether MPI runs, and which threads may call it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::inside::{self, ThreadState};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{self, Allowed, Call};

/// How many threads of a process may make MPI calls (MPI-4.1, section 11.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Threading {
    /// The process has one thread.
    Single = 0,
    /// Only the thread that initialised MPI makes MPI calls. The default.
    Funneled = 1,
    /// Any thread makes MPI calls, never two at the same time.
    Serialized = 2,
    /// Any thread makes MPI calls at any time.
    Multiple = 3,
}

const BEFORE: u8 = 0;
const RUNNING: u8 = 1;
/// One thread finalizes: the others may call no more.
const LEAVING: u8 = 2;
const FINALIZED: u8 = 3;

static PHASE: AtomicU8 = AtomicU8::new(BEFORE);
static LEVEL: AtomicU8 = AtomicU8::new(Threading::Funneled as u8);
static BUSY: AtomicBool = AtomicBool::new(false);

/// While this exists, the gate refuses every call of this thread: MPI runs a function of the user's,
/// which must make no MPI call (MPI-4.1, section 6.9.5).
pub(crate) struct Closed {
    was_open: bool,
    was_direct: bool,
    was_closed: bool,
}

pub(crate) fn close() -> Closed {
    Closed {
        was_open: OPEN.replace(false),
        was_direct: DIRECT.replace(false),
        was_closed: CLOSED.replace(true),
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        OPEN.set(self.was_open);
        DIRECT.set(self.was_direct);
        CLOSED.set(self.was_closed);
    }
}

thread_local! {
    /// Whether this thread holds the one permit of the level Serialized.
    static HOLDS: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread runs the closure of a reduction.
    static CLOSED: Cell<bool> = const { Cell::new(false) };
    /// The thread that initialised MPI, whose calls every level allows.
    static MAIN: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread may call without further questions: MPI runs, and no other thread may call.
    static OPEN: Cell<bool> = const { Cell::new(false) };
    /// Whether it is open, and the library waits: all that the path of a message has to ask.
    static DIRECT: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread finalizes.
    static LEAVES: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn set_running(level: Threading) {
    MAIN.set(true);
    OPEN.set(level <= Threading::Funneled);
    LEVEL.store(level as u8, Ordering::Relaxed);
    if level >= Threading::Serialized {
        record::share();
    }
    PHASE.store(RUNNING, Ordering::SeqCst);
}

/// Phalanx does not run any more, in an MPI that is a guest's.
pub(crate) fn set_left() {
    OPEN.set(false);
    DIRECT.set(false);
    PHASE.store(BEFORE, Ordering::SeqCst);
}

pub(crate) fn set_finalized() {
    // Where another thread was open, this one could not have finalized.
    OPEN.set(false);
    DIRECT.set(false);
    PHASE.store(FINALIZED, Ordering::SeqCst);
}

pub(crate) fn is_running() -> bool {
    matches!(PHASE.load(Ordering::Acquire), RUNNING | LEAVING)
}

/// While this exists, no other thread may call MPI, and none is inside.
pub(crate) struct Alone(());

/// Closes MPI to all other threads, and waits until none of them is inside. Where one stays inside for
/// longer than `patience`, MPI is open again, and the error names its call.
pub(crate) fn close_to_others(call: &Call<'_>, patience: Duration) -> Result<Alone> {
    if PHASE.compare_exchange(RUNNING, LEAVING, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        return Err(Error::new(ErrorKind::State, call, "MPI is finalized already"));
    }
    LEAVES.set(true);
    let alone = Alone(());
    let start = Instant::now();
    loop {
        let others = inside::others();
        if others.is_empty() {
            return Ok(alone);
        }
        if start.elapsed() > patience {
            drop(alone);
            let number = others.len();
            let threads = if number == 1 { "a thread is" } else { "other threads are" };
            return Err(Error::new(
                ErrorKind::InUse,
                call,
                format!(
                    "{threads} still inside an MPI call: {}. Join the threads that call MPI before it \
                     is finalized",
                    others.join(", ")
                ),
            ));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        LEAVES.set(false);
        // Where MPI ended meanwhile, it stays so.
        let _ = PHASE.compare_exchange(LEAVING, RUNNING, Ordering::SeqCst, Ordering::SeqCst);
    }
}

pub(crate) fn is_main_thread() -> bool {
    MAIN.get()
}

/// The level that the MPI library granted.
pub(crate) fn level() -> Threading {
    match LEVEL.load(Ordering::Relaxed) {
        0 => Threading::Single,
        1 => Threading::Funneled,
        2 => Threading::Serialized,
        _ => Threading::Multiple,
    }
}

/// Whether this thread may call without further questions, and the library waits.
#[inline(always)]
pub(crate) fn is_direct() -> bool {
    DIRECT.get()
}

/// Says whether the library waits for messages.
pub(super) fn set_direct(library_waits: bool) {
    DIRECT.set(OPEN.get() && library_waits);
}

/// Leave to make MPI calls, until it is dropped.
#[must_use = "a call is allowed as long as the permit exists"]
pub(crate) struct Permit {
    /// What has to be given back; nothing where only one thread may call.
    held: Option<Held>,
}

struct Held {
    inside: &'static ThreadState,
    exclusive: bool,
}

impl Permit {
    /// The proof of it, for what notes, counts or registers.
    #[inline(always)]
    pub fn allowed(&self) -> Allowed<'_> {
        Allowed::by_the_gate()
    }
}

impl Drop for Permit {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.give_back();
        }
    }
}

impl Held {
    #[inline(never)]
    fn give_back(self) {
        if self.exclusive {
            HOLDS.set(false);
            BUSY.store(false, Ordering::Release);
        }
        inside::leave(self.inside);
    }
}

/// Asks whether this thread may make a call now. What MPI would answer with undefined behaviour is
/// an error here. Whoever notes, counts or registers anything asks first: a call that is refused leaves
/// no trace. An operation that is made of several calls holds one permit for all of them, so that it
/// is refused as a whole or not at all.
#[inline(always)]
pub(crate) fn permit(call: &Call<'_>) -> Result<Permit> {
    if OPEN.get() {
        return Ok(Permit { held: None });
    }
    permit_slowly(&call.copy())
}

#[inline(never)]
fn permit_slowly(call: &Call<'_>) -> Result<Permit> {
    let refuse = |kind, detail: &str| Err(Error::new(kind, call, detail));
    if CLOSED.get() {
        return refuse(ErrorKind::Thread, "the closure of a reduction must make no MPI calls");
    }
    check_phase(call)?;
    let permit = match level() {
        Threading::Single | Threading::Funneled => {
            if !MAIN.get() {
                return refuse(ErrorKind::Thread, OTHER_THREAD);
            }
            Permit { held: None }
        }
        level => {
            let mut held = Held { inside: inside::enter(call), exclusive: false };
            // A thread that finalizes may have looked before this one was inside.
            if let Err(error) = check_phase(call) {
                held.give_back();
                return Err(error);
            }
            // Who holds the one permit makes a call that is made of several.
            if level == Threading::Serialized && !HOLDS.get() {
                if BUSY.swap(true, Ordering::Acquire) {
                    held.give_back();
                    return refuse(
                        ErrorKind::Thread,
                        "another thread is inside an MPI call and the level is Serialized: guard the \
                         calls with a lock, or start with Threading::Multiple",
                    );
                }
                HOLDS.set(true);
                held.exclusive = true;
            }
            Permit { held: Some(held) }
        }
    };
    record::join(permit.allowed());
    Ok(permit)
}

/// Whether this thread may ever call, whatever others are inside of now.
pub(crate) fn check_thread(call: &Call<'_>) -> Result<()> {
    check_phase(call)?;
    if CLOSED.get() {
        let detail = "the closure of a reduction must make no MPI calls";
        return Err(Error::new(ErrorKind::Thread, call, detail));
    }
    if level() <= Threading::Funneled && !MAIN.get() {
        return Err(Error::new(ErrorKind::Thread, call, OTHER_THREAD));
    }
    Ok(())
}

const OTHER_THREAD: &str = "only the thread that initialised MPI may call it at the level Funneled: start with \
                            Threading::Serialized or Threading::Multiple";

/// Whether MPI runs, for this thread.
fn check_phase(call: &Call<'_>) -> Result<()> {
    let detail = match PHASE.load(Ordering::SeqCst) {
        RUNNING => return Ok(()),
        LEAVING if LEAVES.get() => return Ok(()),
        BEFORE => {
            "start MPI first: put `#[phalanx::main]` on `fn main(world: Comm)`, or call `phalanx::run`"
        }
        LEAVING => "another thread is finalizing MPI",
        _ => "MPI is finalized already",
    };
    Err(Error::new(ErrorKind::State, call, detail))
}

//! Whether MPI runs, and which threads may call it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::record::{self, Call};

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
const FINALIZED: u8 = 2;

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
}

pub(crate) fn set_running(level: Threading) {
    MAIN.set(true);
    OPEN.set(level <= Threading::Funneled);
    super::wait::tell_thread();
    LEVEL.store(level as u8, Ordering::Relaxed);
    if level >= Threading::Serialized {
        record::share();
    }
    PHASE.store(RUNNING, Ordering::Release);
}

/// Phalanx does not run any more, in an MPI that is a guest's.
pub(crate) fn set_left() {
    OPEN.set(false);
    DIRECT.set(false);
    PHASE.store(BEFORE, Ordering::Release);
}

pub(crate) fn set_finalized() {
    // Where another thread was open, this one could not have finalized.
    OPEN.set(false);
    DIRECT.set(false);
    PHASE.store(FINALIZED, Ordering::Release);
}

pub(crate) fn is_running() -> bool {
    PHASE.load(Ordering::Acquire) == RUNNING
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

/// Leave to make one MPI call.
pub(crate) struct Permit {
    exclusive: bool,
}

impl Drop for Permit {
    #[inline(always)]
    fn drop(&mut self) {
        if self.exclusive {
            HOLDS.set(false);
            BUSY.store(false, Ordering::Release);
        }
    }
}

/// Asks whether this thread may make a call now. What MPI would answer with undefined behaviour is
/// an error here.
#[inline(always)]
pub(crate) fn permit(call: &Call<'_>) -> Result<Permit> {
    if OPEN.get() {
        return Ok(Permit { exclusive: false });
    }
    permit_slowly(&call.copy())
}

#[inline(never)]
fn permit_slowly(call: &Call<'_>) -> Result<Permit> {
    record::join();
    let refuse = |kind, detail: &str| Err(Error::new(kind, call, detail));
    if CLOSED.get() {
        return refuse(ErrorKind::Thread, "the closure of a reduction must make no MPI calls");
    }
    match PHASE.load(Ordering::Acquire) {
        BEFORE => return refuse(ErrorKind::State, "call phalanx::run or phalanx::init first"),
        FINALIZED => return refuse(ErrorKind::State, "MPI is finalized already"),
        _ => {}
    }
    match level() {
        Threading::Multiple => Ok(Permit { exclusive: false }),
        Threading::Serialized => {
            // A call that is made of several.
            if HOLDS.get() {
                return Ok(Permit { exclusive: false });
            }
            if BUSY.swap(true, Ordering::Acquire) {
                refuse(
                    ErrorKind::Thread,
                    "another thread is inside an MPI call and the level is Serialized: guard the \
                     calls with a lock, or start with Threading::Multiple",
                )
            } else {
                HOLDS.set(true);
                Ok(Permit { exclusive: true })
            }
        }
        Threading::Single | Threading::Funneled => {
            if MAIN.get() {
                Ok(Permit { exclusive: false })
            } else {
                refuse(
                    ErrorKind::Thread,
                    "only the thread that initialised MPI may call it at the level Funneled: \
                     start with Threading::Serialized or Threading::Multiple",
                )
            }
        }
    }
}

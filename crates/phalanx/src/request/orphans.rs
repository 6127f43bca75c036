//! Requests that were dropped before they completed.
//!
//! A receive is cancelled, because nobody would hear of the message that it takes away from another
//! receive. What cannot be cancelled, or has its message already, stays here with its buffers until it
//! completes.
//!
//! Tasks run code of the program: closures of reductions, results that are dropped. So nothing is
//! polled or dropped while the list is locked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Origin;
use super::task::{Progress, Task};
use crate::error::ErrorKind;
use crate::raw::p2p::RawStatus;
use crate::raw::request::was_refused;
use crate::raw::state::{self, Permit};
use crate::raw::{self, later};
use crate::record::Peer;

/// A task without its result, so that orphans of all kinds can stand in one list.
trait Orphan: Send {
    fn is_over(&mut self, origin: &Origin) -> bool;
}

struct Abandoned<R> {
    task: Box<dyn Task<R>>,
    /// Whether it is not, or need not be, cancelled any more.
    recalled: bool,
}

impl<R> Abandoned<R> {
    /// Cancels a receive. Returns whether this thread could.
    fn recall(&mut self, origin: &Origin) -> bool {
        if !self.recalled
            && let Some(handle) = self.task.handle()
        {
            match raw::request::cancel(&origin.call(), handle) {
                Err(error) if was_refused(&error) => return false,
                // What MPI cannot cancel completes.
                Ok(()) | Err(_) => self.recalled = true,
            }
        }
        true
    }
}

impl<R> Orphan for Abandoned<R> {
    fn is_over(&mut self, origin: &Origin) -> bool {
        if !self.recall(origin) {
            return false;
        }
        match self.task.poll(&origin.call()) {
            Ok(Progress::Pending) => false,
            Ok(Progress::Complete) => {
                if let Some((status, length)) = self.task.received().filter(|_| receives(origin)) {
                    note_received(origin, &status, length);
                }
                true
            }
            Err(error) if was_refused(&error) => false,
            // An error of the operation ends it too.
            Err(error) => {
                let what = match error.kind() {
                    ErrorKind::Truncated => Some("that was too long for its buffer"),
                    ErrorKind::TypeMismatch | ErrorKind::Decode => Some("of another kind"),
                    _ => None,
                };
                if let Some(what) = what.filter(|_| receives(origin)) {
                    note(format!(
                        "{} was dropped and took a message {what} [{}]",
                        described(origin),
                        origin.location
                    ));
                }
                true
            }
        }
    }
}

fn receives(origin: &Origin) -> bool {
    matches!(origin.peer, Peer::From(_) | Peer::AnySource)
}

/// More lines than this help nobody.
const MOST_LINES: usize = 100;

type Entry = (Box<dyn Orphan>, Origin);

static ORPHANS: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

pub(super) fn adopt<R: 'static>(task: Box<dyn Task<R>>, origin: Origin) {
    let receives = receives(&origin);
    let mut orphan = Abandoned { task, recalled: !receives };
    if receives && orphan.is_over(&origin) {
        return;
    }
    COUNT.fetch_add(1, Ordering::Relaxed);
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner).push((Box::new(orphan), origin));
}

/// Lets go of the orphans that have completed meanwhile. Called where requests are made, so that a
/// program which drops requests in a loop does not grow for ever.
pub(super) fn sweep(permit: &Permit) {
    super::handed_over::sweep();
    later::free_waiting(permit);
    if COUNT.load(Ordering::Relaxed) == 0 || !state::is_running() {
        return;
    }
    let mut pending = std::mem::take(&mut *ORPHANS.lock().unwrap_or_else(PoisonError::into_inner));
    let over: Vec<Entry> =
        pending.extract_if(.., |(orphan, origin)| orphan.is_over(origin)).collect();
    COUNT.fetch_sub(over.len(), Ordering::Relaxed);
    let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    // Others may have come meanwhile: they are younger.
    pending.append(&mut orphans);
    *orphans = pending;
    drop(orphans);
    // A closure of a mapped request may hold another request, which becomes an orphan here.
    drop(over);
}

/// What became of receives that were dropped, and how often.
static RECEIVES: Mutex<Vec<(String, usize)>> = Mutex::new(Vec::new());

fn note(line: String) {
    let mut lines = RECEIVES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, times)) = lines.iter_mut().find(|(known, _)| *known == line) {
        *times += 1;
    } else if lines.len() < MOST_LINES {
        lines.push((line, 1));
    }
}

/// Notes that a receive was cancelled before there was a message for it.
#[cold]
fn note_cancelled(origin: &Origin) {
    let what = described(origin);
    note(format!("{what} was dropped and never completed: it was cancelled [{}]", origin.location));
}

/// Notes what became of a receive: it was cancelled, or it has taken a message before it could be.
#[cold]
fn note_received(origin: &Origin, status: &RawStatus, length: Option<usize>) {
    let call = origin.call();
    if status.was_cancelled(&call).unwrap_or(false) {
        return note_cancelled(origin);
    }
    let Ok(source) = usize::try_from(status.source()) else { return };
    let bytes = length.or_else(|| status.bytes(&call).ok()).unwrap_or(0);
    note(format!(
        "{} was dropped and took a message of {bytes} bytes from rank {source}, tag {}, that nobody \
         has seen [{}]",
        described(origin),
        status.tag(),
        origin.location
    ));
}

/// A request that was dropped although it had not been waited for: what strict mode tells of.
static UNWAITED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes that a request is dropped without a wait.
#[cold]
pub(super) fn note_unwaited(origin: &Origin) {
    let mut unwaited = UNWAITED.lock().unwrap_or_else(PoisonError::into_inner);
    if unwaited.len() < MOST_LINES {
        unwaited.push(format!(
            "{} was dropped without wait [{}]",
            described(origin),
            origin.location
        ));
    }
}

/// Says which requests nobody waited for.
pub(crate) fn unwaited() -> Vec<String> {
    std::mem::take(&mut *UNWAITED.lock().unwrap_or_else(PoisonError::into_inner))
}

fn described(origin: &Origin) -> String {
    let call = origin.call();
    let tag = call.tag.map_or(String::new(), |tag| format!(", tag {tag},"));
    format!("{}{}{tag} on `{}`", call.operation.name, call.peer, origin.comm.name())
}

/// Says which requests never completed. The buffers of what is still in flight stay allocated: MPI knows
/// them.
pub(crate) fn unfinished() -> Vec<String> {
    sweep_for_report();
    let orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    let describe = |(_, origin): &Entry| {
        format!("{} was dropped and never completed [{}]", described(origin), origin.location)
    };
    orphans.iter().map(describe).collect()
}

/// Says what became of receives that were dropped.
pub(crate) fn dropped_receives() -> Vec<String> {
    let receives = std::mem::take(&mut *RECEIVES.lock().unwrap_or_else(PoisonError::into_inner));
    let often = |(line, times): (String, usize)| match times {
        1 => line,
        times => format!("{line} ({times} times)"),
    };
    receives.into_iter().map(often).collect()
}

/// How many requests were dropped and have not completed.
pub(crate) fn number() -> usize {
    COUNT.load(Ordering::Relaxed)
}

fn sweep_for_report() {
    let call = crate::record::Call::local(&crate::record::FINALIZE, std::panic::Location::caller());
    // Where this thread may not call, they are told as they are.
    if let Ok(permit) = raw::permit(&call) {
        sweep(&permit);
    }
}

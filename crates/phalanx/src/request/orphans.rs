//! Requests that were dropped before they completed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Origin;
use super::stable::Stable;
use super::task::{Progress, Task};
use crate::raw::request::was_refused;
use crate::raw::state;

/// A task without its result, so that orphans of all kinds can stand in one list.
trait Orphan: Send {
    fn is_over(&mut self, origin: &Origin) -> bool;
}

struct Abandoned<R>(Stable<dyn Task<R>>);

impl<R> Orphan for Abandoned<R> {
    fn is_over(&mut self, origin: &Origin) -> bool {
        match self.0.poll(&origin.call()) {
            Ok(progress) => progress == Progress::Complete,
            // An error of the operation ends it too; nobody is left who would want to hear of it.
            Err(error) => !was_refused(&error),
        }
    }
}

/// A receive that was dropped before any message was matched: nothing is in flight, and to go on
/// looking for a message would take it away from somebody.
struct Forgotten;

impl Orphan for Forgotten {
    fn is_over(&mut self, _origin: &Origin) -> bool {
        false
    }
}

/// More lines than this help nobody.
const MOST_FORGOTTEN: usize = 100;

type Entry = (Box<dyn Orphan>, Origin);

static ORPHANS: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

pub(super) fn adopt<R: 'static>(mut task: Stable<dyn Task<R>>, origin: Origin) {
    let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    if !task.forget_unmatched() {
        orphans.push((Box::new(Abandoned(task)), origin));
    } else if orphans.len() < MOST_FORGOTTEN {
        orphans.push((Box::new(Forgotten), origin));
    }
    COUNT.store(orphans.len(), Ordering::Relaxed);
}

/// Lets go of the orphans that have completed meanwhile. Called where requests are made, so that a
/// program which drops requests in a loop does not grow for ever.
pub(super) fn sweep() {
    if COUNT.load(Ordering::Relaxed) == 0 || !state::is_running() {
        return;
    }
    let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    let over: Vec<Entry> =
        orphans.extract_if(.., |(orphan, origin)| orphan.is_over(origin)).collect();
    COUNT.store(orphans.len(), Ordering::Relaxed);
    drop(orphans);
    // A closure of a mapped request may hold another request, which becomes an orphan here.
    drop(over);
}

/// A request that was dropped although it had not been waited for: what strict mode tells of.
static UNWAITED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes that a request is dropped without a wait.
#[cold]
pub(super) fn note_unwaited(origin: &Origin) {
    let mut unwaited = UNWAITED.lock().unwrap_or_else(PoisonError::into_inner);
    if unwaited.len() < MOST_FORGOTTEN {
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

/// Says which requests never completed. Their buffers stay allocated: MPI may still know them.
pub(crate) fn unfinished() -> Vec<String> {
    sweep();
    let orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    let describe = |(_, origin): &Entry| {
        format!("{} was dropped and never completed [{}]", described(origin), origin.location)
    };
    orphans.iter().map(describe).collect()
}

//! What is to be done when the last handle to an object is gone with its process.

use crate::arena::{Arena, Kind, Name, Place, Shared, existing};
use crate::{manager, pool, queue, sync, value};

/// A process is gone: its handles count no more, and objects that nobody else has end.
pub fn forget_process(arena: &Arena, process: u32) {
    arena.forget_process(process, |kind, body| destroy(arena, kind, body));
}

/// Handles in bytes that may be decoded any number of times: their objects live for as long as this.
pub struct Kept(Vec<Name>);

impl Kept {
    /// For handles that were encoded as [`Often`](crate::arena::Transit::Often).
    pub fn new(names: Vec<Name>) -> Option<Kept> {
        (!names.is_empty()).then(|| Kept(names))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let arena = existing();
        if !arena.is_mine() {
            return;
        }
        for name in &self.0 {
            if arena.count_under_way(*name, false).is_ok() {
                arena.end_if_unused(*name, |kind, body| destroy(arena, kind, body));
            }
        }
    }
}

fn destroy(arena: &Arena, kind: Kind, body: Place) {
    match kind {
        Kind::Queue => end::<queue::Body>(arena, body),
        Kind::Lock => end::<sync::bodies::Lock>(arena, body),
        Kind::ReentrantLock => end::<sync::bodies::RLock>(arena, body),
        Kind::RwLock => end::<sync::bodies::RwLock>(arena, body),
        Kind::FairLock => end::<sync::bodies::FairLock>(arena, body),
        Kind::Semaphore => end::<sync::bodies::Semaphore>(arena, body),
        Kind::Condition => end::<sync::bodies::Condition>(arena, body),
        Kind::Event => end::<sync::bodies::Event>(arena, body),
        Kind::Barrier => end::<sync::bodies::Barrier>(arena, body),
        Kind::Value => end::<value::bodies::Value>(arena, body),
        Kind::Array => end::<value::bodies::Array>(arena, body),
        Kind::Atomic => end::<value::bodies::Atomic>(arena, body),
        Kind::PipeEnd => end::<queue::EndToken>(arena, body),
        Kind::SortedQueue => end::<queue::SortedBody>(arena, body),
        Kind::List => end::<manager::ListBody>(arena, body),
        Kind::Map => end::<manager::MapBody>(arena, body),
        Kind::Pool => end::<pool::Leases>(arena, body),
    }
}

fn end<T: Shared>(arena: &Arena, body: Place) {
    // SAFETY: the object is of this kind, and its last handle is gone. What cannot be mapped cannot be cleaned.
    if let Ok(body) = unsafe { arena.structure::<T>(body) } {
        body.destroy(arena);
    }
}

//! What is to be done when the last handle to an object is gone with its process.

use crate::arena::{Arena, Kind, Place, Shared};
use crate::{manager, queue};

/// A process is gone: its handles count no more, and objects that nobody else has end.
pub fn forget_process(arena: &Arena, process: u32) {
    arena.forget_process(process, |kind, body| destroy(arena, kind, body));
}

fn destroy(arena: &Arena, kind: Kind, body: Place) {
    match kind {
        Kind::Queue => end::<queue::Body>(arena, body),
        Kind::PipeEnd => end::<queue::EndToken>(arena, body),
        Kind::SortedQueue => end::<queue::SortedBody>(arena, body),
        Kind::List => end::<manager::ListBody>(arena, body),
        Kind::Map => end::<manager::MapBody>(arena, body),
        _ => unreachable!("no object is of kind {kind:?}"),
    }
}

fn end<T: Shared>(arena: &Arena, body: Place) {
    // SAFETY: the object is of this kind, and its last handle is gone. What cannot be mapped cannot be cleaned.
    if let Ok(body) = unsafe { arena.structure::<T>(body) } {
        body.destroy(arena);
    }
}

//! What is to be done when the last handle to an object is gone with its process.

use crate::arena::{Arena, Kind, Place};

/// A process is gone: its handles count no more, and objects that nobody else has end.
pub fn forget_process(arena: &Arena, process: u32) {
    arena.forget_process(process, |kind, body| destroy(arena, kind, body));
}

fn destroy(_arena: &Arena, kind: Kind, _body: Place) {
    match kind {
        _ => {}
    }
}

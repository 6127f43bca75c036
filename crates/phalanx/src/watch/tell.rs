//! How ranks of this node hear that the calls they are inside of never return, or that the job ends.

use std::time::Duration;

use super::voice::Voice;
use crate::board::Board;

/// How long another one may speak first.
pub(super) const OTHERS_SPEAK: Duration = Duration::from_millis(600);

/// Tells ranks of this node that the calls they are inside of, by their sequence numbers, never return.
pub(super) fn tell(board: &Board, stuck: &[(usize, u64)], report: &str) {
    // Whoever speaks instead is about to find out the same; if not, who tells this will tell it again.
    if let Some(voice) = Voice::wait_for(board, OTHERS_SPEAK) {
        voice.tell(stuck, report, None);
    }
}

/// Makes the ranks of this node end, because another node has proved that the job never ends.
pub(super) fn end(board: &Board, report: &str, code: i32) {
    if let Some(voice) = Voice::wait_for(board, OTHERS_SPEAK) {
        voice.end(report, code);
    }
}

//! The right to speak for the ranks of a node: of several watches that conclude or print at the same time,
//! one does, and it alone writes the verdict on the board.

use std::thread;
use std::time::{Duration, Instant};

use crate::board::{Board, Warner};

/// Held by one process of the node, until it is dropped.
pub(super) struct Voice<'b> {
    board: &'b Board,
    _held: Warner<'b>,
}

/// How often somebody asks again for what another one holds.
const ROUND: Duration = Duration::from_millis(5);

impl<'b> Voice<'b> {
    /// `None` while another process speaks.
    pub fn take(board: &'b Board) -> Option<Self> {
        board.warner().map(|held| Voice { board, _held: held })
    }

    /// The same, after so long at most.
    pub fn wait_for(board: &'b Board, patience: Duration) -> Option<Self> {
        let start = Instant::now();
        loop {
            let voice = Voice::take(board);
            if voice.is_some() || start.elapsed() > patience {
                return voice;
            }
            thread::sleep(ROUND);
        }
    }

    /// Makes the ranks of this node end with this report and exit code. The first who does stays.
    pub fn end(&self, report: &str, code: i32) {
        if self.board.ending().is_none() {
            self.board.set_verdict(report);
            self.board.end(code);
        }
    }

    /// Tells ranks of this node that the calls they are inside of never return, and lets them read it
    /// before anything else is written. The rank `reader` reads it when this has returned.
    pub fn tell(&self, stuck: &[(usize, u64)], report: &str, reader: Option<usize>) {
        const READ_WITHIN: Duration = Duration::from_millis(500);
        self.board.set_verdict(report);
        let members = || {
            let of = |&(rank, sequence): &(usize, u64)| {
                let member = self.board.members.iter().find(|it| it.world_rank() == rank)?;
                Some((rank, member, sequence))
            };
            stuck.iter().filter_map(of)
        };
        members().for_each(|(_, member, sequence)| member.set_stuck(sequence));
        let is_unread = || {
            members().any(|(rank, member, sequence)| {
                Some(rank) != reader && member.is_stuck(sequence) && member.sequence() == sequence
            })
        };
        let start = Instant::now();
        while is_unread() && start.elapsed() < READ_WITHIN {
            thread::sleep(ROUND);
        }
    }
}

/// What was proved last.
pub(super) fn verdict(board: &Board) -> String {
    const WRITTEN_WITHIN: usize = 200;
    for _ in 0..WRITTEN_WITHIN {
        let verdict = board.verdict();
        if !verdict.is_empty() {
            return verdict;
        }
        thread::sleep(Duration::from_millis(1));
    }
    String::new()
}

//! Looks at all ranks, draws a conclusion, and acts on it.

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;
use std::time::Duration;

use super::census::{self, Look};
use super::judge::{Judgement, Verdict, duration, judge};
use super::remote::{Address, Remote};
use super::settings::{Mode, Settings, mode};
use super::statement::{Activity, Seen, Statement};
use super::{DEADLOCK_CODE, tick};
use crate::board::Board;
use crate::world::failure;

pub(super) struct Inspector {
    settings: &'static Settings,
    board: &'static Board,
    rank: usize,
    size: usize,
    remote: Option<Remote>,
    /// The calls about which this watch has printed a warning, by rank.
    warned: HashMap<usize, u64>,
}

impl Inspector {
    pub fn new(
        settings: &'static Settings,
        board: &'static Board,
        rank: usize,
        size: usize,
        addresses: Vec<Address>,
    ) -> Self {
        let remote = Remote::new(settings, addresses, rank);
        Inspector { settings, board, rank, size, remote, warned: HashMap::new() }
    }

    /// Finds out why this rank does not go on.
    ///
    /// Every watch would come to the same conclusion, so that one is enough: that of the lowest rank of
    /// the lowest node which waits. If it has not acted after some time, others do.
    pub fn inspect(&mut self, mine: &Statement) {
        let still_for = Duration::from_millis(mine.still_for);
        let others_may = still_for > self.settings.after() * 4 + OTHERS_ACT;
        let others_first =
            self.waits_before_me() || self.remote.as_ref().is_some_and(Remote::leave_it_to_another);
        if others_first && !others_may {
            return;
        }
        let first = self.census(Remote::census);
        if let Some(remote) = &self.remote {
            remote.end_of_first_census();
        }
        let conclusion = judge(&seen(&first));
        let proved = conclusion.verdict == Verdict::Deadlock;
        if !proved && still_for < self.settings.warn_after {
            return;
        }
        thread::sleep(tick(self.settings).min(CONFIRM));
        let lane = &self.board.mine().lane;
        let is_moot =
            || !lane.is_still_at(mine.sequence) || self.board.header.ending.load(Acquire) != 0;
        let second = self.census(|remote| remote.census_again(is_moot));
        let confirmed = judge(&seen(&second));
        if confirmed.verdict != conclusion.verdict || confirmed.stuck != conclusion.stuck {
            return;
        }
        match confirmed.verdict {
            Verdict::Deadlock if unchanged(&first, &second, &confirmed.stuck) => {
                self.proved(&confirmed, &second);
            }
            Verdict::Outside | Verdict::Polling | Verdict::Unclear => {
                self.warn(&confirmed, &second);
            }
            Verdict::Deadlock | Verdict::Nothing => {}
        }
    }

    /// Whether a lower rank of this node waits too.
    fn waits_before_me(&self) -> bool {
        self.board.slots.iter().any(|slot| slot.world_rank() < self.rank && slot.waits())
    }

    /// This rank goes on, after so long a time in the call with this number.
    pub fn moved(&mut self, sequence: u64, after: Duration) {
        if self.warned.remove(&self.rank) == Some(sequence) {
            failure::print_without_locks(&format!(
                "phalanx: rank {} goes on after {}: it was slow, and no deadlock",
                self.rank,
                duration(after.as_millis() as u64)
            ));
        }
    }

    /// Leaves nothing behind, before the process ends.
    pub fn clean(&self) {
        if let Some(remote) = &self.remote {
            remote.clean();
        }
    }

    /// Every rank of the world.
    fn census(&self, of_others: impl Fn(&Remote) -> Vec<Look>) -> Vec<Look> {
        let nothing = |rank| Look {
            rank,
            seen: Seen::Unknown { why: "it has no place on the board of its node".to_owned() },
            sequence: 0,
        };
        let mut looks: Vec<Look> = (0..self.size).map(nothing).collect();
        let remote = self.remote.as_ref().map(of_others).unwrap_or_default();
        for look in census::of_node(self.board).into_iter().chain(remote) {
            let rank = look.rank;
            if let Some(place) = looks.get_mut(rank) {
                *place = look;
            }
        }
        looks
    }

    /// What follows a proof.
    fn proved(&mut self, judgement: &Judgement, looks: &[Look]) {
        if mode() == Mode::Strict {
            self.deliver(judgement, looks);
        } else if self.settings.aborts {
            self.board.header.verdict.write(judgement.text.as_bytes());
            self.board.header.ending.store(DEADLOCK_CODE as u32, Release);
            if let Some(remote) = &self.remote {
                remote.end(&judgement.text, DEADLOCK_CODE);
                remote.clean();
            }
            failure::end_by_watch(&judgement.text, DEADLOCK_CODE);
        } else {
            self.warn(judgement, looks);
        }
    }

    /// Lets the calls of all ranks that are stuck return an error.
    fn deliver(&self, judgement: &Judgement, looks: &[Look]) {
        let stuck: Vec<(usize, u64)> =
            judgement.stuck.iter().map(|&rank| (rank, looks[rank].sequence)).collect();
        tell(self.board, &stuck, &judgement.text);
        if let Some(remote) = &self.remote {
            remote.tell(&stuck, &judgement.text);
        }
    }

    /// Says once what ranks wait for.
    fn warn(&mut self, judgement: &Judgement, looks: &[Look]) {
        let slot = self.board.mine();
        let mine = looks[self.rank].sequence;
        if slot.warned.load(Acquire) == mine + 1 || self.warned.get(&self.rank) == Some(&mine) {
            return;
        }
        // Another watch that prints at the same time says the same.
        let warner = &self.board.header.warner;
        if let Err(owner) = warner.compare_exchange(0, std::process::id(), Acquire, Acquire) {
            // Unless it has ended meanwhile.
            if !std::path::Path::new(&format!("/proc/{owner}")).exists() {
                warner.store(0, Release);
            }
            return;
        }
        failure::print_without_locks(&judgement.text);
        for look in looks {
            if let Seen::Still(statement) = &look.seen
                && !matches!(statement.activity, Activity::Outside)
            {
                self.warned.insert(look.rank, look.sequence);
            }
        }
        for slot in self.board.slots {
            slot.warned.store(slot.lane.sequence() + 1, Release);
        }
        warner.store(0, Release);
    }
}

/// How much longer than it takes the first watch to act others wait before they act in its place.
const OTHERS_ACT: Duration = Duration::from_secs(2);

/// The longest time between two looks that must agree.
const CONFIRM: Duration = Duration::from_millis(200);

fn seen(looks: &[Look]) -> Vec<Seen> {
    looks.iter().map(|look| look.seen.clone()).collect()
}

/// Whether none of these ranks has moved from the first look to the second. All of the first looks are
/// older than all of the second: so there was a moment at which the ranks were as they are seen.
fn unchanged(first: &[Look], second: &[Look], ranks: &[usize]) -> bool {
    ranks.iter().all(|&rank| first[rank].sequence == second[rank].sequence)
}

/// Tells ranks of this node that the calls they are inside of never return.
pub(super) fn tell(board: &Board, stuck: &[(usize, u64)], report: &str) {
    board.header.verdict.write(report.as_bytes());
    for &(rank, sequence) in stuck {
        if let Some(slot) = board.slots.iter().find(|slot| slot.world_rank() == rank) {
            slot.told.store(sequence, Release);
        }
    }
}

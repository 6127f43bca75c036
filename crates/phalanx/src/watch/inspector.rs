//! Looks at all ranks, draws a conclusion, and acts on it.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use super::census::{self, Observation};
use super::judge::{Judgement, Verdict, duration, judge, standing};
use super::remote::{Address, Remote, Secret};
use super::settings::{Mode, Settings, mode};
use super::statement::{Activity, Seen, Statement};
use super::tell::OTHERS_SPEAK;
use super::voice::Voice;
use super::{DEADLOCK_CODE, tick};
use crate::board::{Board, Member};
use crate::world::failure;

pub(super) struct Inspector {
    settings: &'static Settings,
    board: &'static Board,
    rank: usize,
    size: usize,
    remote: Option<Remote>,
    /// The calls about which this watch has printed a warning, by rank.
    warned: HashMap<usize, u64>,
    /// What was proved last of a call of this rank, and the number of the call.
    proved_of_mine: Option<(u64, String)>,
}

impl Inspector {
    pub fn new(
        settings: &'static Settings,
        board: &'static Board,
        rank: usize,
        size: usize,
        addresses: Vec<Address>,
        secret: Secret,
    ) -> Self {
        let remote = Remote::new(settings, addresses, secret, rank);
        Inspector {
            settings,
            board,
            rank,
            size,
            remote,
            warned: HashMap::new(),
            proved_of_mine: None,
        }
    }

    /// Finds out why this rank is stuck.
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
        let mut first = self.census(Remote::census);
        if let Some(remote) = &self.remote {
            remote.end_of_first_census();
        }
        let conclusion = judge(&seen(&first));
        let proved = conclusion.verdict == Verdict::Deadlock;
        if !proved && still_for < self.settings.warn_after {
            return;
        }
        thread::sleep(tick(self.settings).min(CONFIRM));
        let me = self.board.mine();
        let is_decided = || !me.is_still_at(mine.sequence) || self.board.ending().is_some();
        let mut second = self.census(|remote| remote.census_again(is_decided));
        // What is on the board may have been said a while ago.
        for looks in [&mut first, &mut second] {
            if let Some(Observation { seen: Seen::Still(statement), .. }) = looks.get_mut(self.rank)
                && statement.sequence == mine.sequence
            {
                statement.still_for = mine.still_for;
            }
        }
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
        self.board.members.iter().any(|it| it.world_rank() < self.rank && it.waits())
    }

    /// This rank continues, after so long a time in the call with this number.
    pub fn moved(&mut self, sequence: u64, after: Duration) {
        if self.warned.remove(&self.rank) == Some(sequence) {
            failure::print_without_locks(&format!(
                "phalanx: rank {} continues after {}: it was slow, not deadlocked",
                self.rank,
                duration(after.as_millis() as u64)
            ));
        }
    }

    /// This rank fails, says so and ends the job.
    pub fn fails(&self) {
        if let Some(remote) = &self.remote {
            remote.fails();
        }
    }

    /// Whether another node ends the job, has said why, and could not tell this one.
    pub fn is_ended_by_another(&self) -> bool {
        self.remote.as_ref().is_some_and(Remote::is_ended_by_another)
    }

    /// Leaves nothing behind, before the process ends.
    pub fn clean(&self) {
        if let Some(remote) = &self.remote {
            remote.clean();
        }
    }

    /// Every rank of the world.
    fn census(&self, of_others: impl Fn(&Remote) -> Vec<Observation>) -> Vec<Observation> {
        let nothing = |rank| Observation {
            rank,
            seen: Seen::Unknown { why: "it has no place on the board of its node".to_owned() },
            sequence: 0,
        };
        let mut looks: Vec<Observation> = (0..self.size).map(nothing).collect();
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
    fn proved(&mut self, judgement: &Judgement, looks: &[Observation]) {
        if mode() == Mode::Strict {
            self.deliver(judgement, looks);
        } else if self.settings.aborts {
            let Some(voice) = Voice::wait_for(self.board, OTHERS_SPEAK) else { return };
            voice.end(&judgement.text, DEADLOCK_CODE);
            drop(voice);
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
    fn deliver(&mut self, judgement: &Judgement, looks: &[Observation]) {
        // Who speaks now may be saying just this.
        let Some(voice) = Voice::take(self.board) else { return };
        let stuck: Vec<(usize, u64)> =
            judgement.stuck.iter().map(|&rank| (rank, looks[rank].sequence)).collect();
        // This rank reads it later, when somebody else may have written.
        self.proved_of_mine = stuck
            .iter()
            .find(|(rank, _)| *rank == self.rank)
            .map(|&(_, sequence)| (sequence, judgement.text.clone()));
        voice.tell(&stuck, &judgement.text, Some(self.rank));
        drop(voice);
        if let Some(remote) = &self.remote {
            remote.tell(&stuck, &judgement.text);
        }
    }

    /// What this watch has proved of the call of its own rank with this number.
    pub fn proved_of_mine(&self, sequence: u64) -> Option<&str> {
        let (known, text) = self.proved_of_mine.as_ref()?;
        (*known == sequence).then_some(text)
    }

    /// Where the ranks of this node stand, for who ends the program.
    pub fn standing(&self, signal: &str) -> String {
        standing(&seen(&self.census(|_| Vec::new())), &self.here(), signal)
    }

    /// The ranks of this node.
    fn here(&self) -> Vec<usize> {
        let mut here: Vec<usize> = census::of_node(self.board).iter().map(|it| it.rank).collect();
        here.sort_unstable();
        here
    }

    /// Says once what ranks wait for.
    fn warn(&mut self, judgement: &Judgement, looks: &[Observation]) {
        let mine = looks[self.rank].sequence;
        if self.board.mine().is_warned(mine) || self.warned.get(&self.rank) == Some(&mine) {
            return;
        }
        // Another watch that prints at the same time says the same.
        let Some(_voice) = Voice::take(self.board) else { return };
        // It may have done so since the question above.
        if self.board.mine().is_warned(mine) {
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
        self.board.members.iter().for_each(Member::set_warned);
    }
}

/// How much longer than it takes the first watch to act others wait before they act in its place.
const OTHERS_ACT: Duration = Duration::from_secs(2);

/// The longest time between two looks that must agree.
const CONFIRM: Duration = Duration::from_millis(200);

fn seen(looks: &[Observation]) -> Vec<Seen> {
    looks.iter().map(|look| look.seen.clone()).collect()
}

/// Whether none of these ranks has moved from the first look to the second. All of the first looks are
/// older than all of the second: so there was a moment at which the ranks were as they are seen.
fn unchanged(first: &[Observation], second: &[Observation], ranks: &[usize]) -> bool {
    ranks.iter().all(|&rank| first[rank].sequence == second[rank].sequence)
}

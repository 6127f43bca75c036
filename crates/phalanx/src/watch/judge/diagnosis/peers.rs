//! Causes that lie in messages and in ranks: messages that nearly fit or went to others, communicators that
//! are freed, ranks that are gone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, Finding, help_with, hopeless_parts};
use crate::watch::judge::fixpoint::has_withdrawn;
use crate::watch::judge::near::{self, Miss};
use crate::watch::judge::race::{self, Race};
use crate::watch::judge::text::{self, ranks_named, verb};
use crate::watch::judge::wait::Needs;
use crate::watch::statement::Seen;

impl Case<'_, '_> {
    pub(super) fn near_misses(&self, component: &[usize], finding: &mut Finding) {
        let mut misses: Vec<Miss> = Vec::new();
        for &rank in component {
            let Some(wait) = self.wait(rank) else { continue };
            for miss in near::misses(self.ranks, rank, wait) {
                if !misses.contains(&miss) {
                    misses.push(miss);
                }
            }
        }
        misses.sort();
        for miss in misses.iter().take(8) {
            finding.causes.push(near::describe(self.ranks, miss));
            help_with(finding, near::help(miss).to_owned());
            for rank in [miss.to, miss.from] {
                if !finding.who.holds(rank) {
                    self.add(finding, rank);
                }
            }
        }
    }

    /// Receives whose messages may have gone to others.
    pub(super) fn races(&self, component: &[usize], finding: &mut Finding) {
        let mut races: Vec<Race> = Vec::new();
        for &rank in component {
            if let Some(wait) = self.wait(rank) {
                races.extend(race::races(self.ranks, rank, wait));
            }
        }
        for race in races.iter().take(8) {
            finding.causes.push(race::describe(race));
            help_with(finding, race::HELP.to_owned());
            for rank in [race.rank, race.from, race.left_of] {
                if !finding.who.holds(rank) {
                    self.add(finding, rank);
                }
            }
        }
    }

    /// Ranks that do nothing any more on a communicator on which others wait for them. Whether there are any.
    pub(super) fn freed(&self, component: &[usize], finding: &mut Finding) -> bool {
        let mut found: BTreeMap<u64, (BTreeSet<usize>, BTreeSet<usize>)> = BTreeMap::new();
        for &rank in component {
            let Some(wait) = self.wait(rank) else { continue };
            let is_dead = |it: usize| self.is_dead(it);
            for part in hopeless_parts(self.ranks, wait, &is_dead) {
                let (Needs::Each(needed) | Needs::One(needed)) = &part.needs else { continue };
                for &peer in needed.iter().filter(|&&it| has_withdrawn(self.ranks, part, it)) {
                    let (waiting, freed) = found.entry(part.call.comm).or_default();
                    waiting.insert(rank);
                    freed.insert(peer);
                }
            }
        }
        let is_found = !found.is_empty();
        for (id, (waiting, freed)) in found {
            let (waiting, freed) = (Vec::from_iter(waiting), Vec::from_iter(freed));
            let place = freed.iter().find_map(|&rank| {
                self.ranks.calls(rank).find(|it| it.operation == "free" && it.comm == id)
            });
            let place = place.map_or(String::new(), |it| format!(" at {}", it.location));
            finding.causes.push(format!(
                "freed communicator: {} {} on {} for {}, which {} freed it{place}",
                ranks_named(&waiting),
                verb(&waiting, "waits", "wait"),
                text::comm_name(self.ranks, id),
                ranks_named(&freed),
                verb(&freed, "has", "have"),
            ));
            for rank in waiting.into_iter().chain(freed) {
                if !finding.who.holds(rank) {
                    self.add(finding, rank);
                }
            }
            help_with(
                finding,
                "free a communicator when all that was begun on it is over".to_owned(),
            );
        }
        is_found
    }

    /// Ranks of which nothing will ever come.
    pub(super) fn gone(&self, component: &[usize], finding: &mut Finding) {
        let mut peers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &rank in component {
            for &to in self.graph.from(rank).iter().filter(|&&it| self.ranks.is_silent(it)) {
                let known = peers.entry(to).or_default();
                known.push(rank);
            }
        }
        for (peer, waiting) in peers {
            let is_left_out = !self.ranks.is_gone(peer) && finding.who.holds(peer);
            if is_left_out && self.collectives(component).iter().any(|(it, _)| waiting.contains(it))
            {
                continue;
            }
            let how = match self.ranks.seen(peer) {
                Some(Seen::Gone { how, last }) => {
                    match last.as_ref().and_then(|it| it.failure.as_ref()) {
                        Some(failure) => format!("is gone: {failure} ({how})"),
                        None => format!("is gone: {how}"),
                    }
                }
                Some(Seen::Finalized) => "has finalized MPI".to_owned(),
                _ => match self.ranks.inside(peer) {
                    Some(it) => format!("has left: {} at {}", it.operation, it.location),
                    None => "has left".to_owned(),
                },
            };
            finding.causes.push(format!(
                "peer gone: {} {} for rank {peer}, which {how}",
                ranks_named(&waiting),
                verb(&waiting, "waits", "wait"),
            ));
            for rank in waiting.into_iter().chain([peer]) {
                if !finding.who.holds(rank) {
                    self.add(finding, rank);
                }
            }
            let help = if self.ranks.is_gone(peer) {
                format!("find out why rank {peer} ended: the others cannot continue without it")
            } else {
                format!("rank {peer} ends too early, or the others wait for too much")
            };
            help_with(finding, help);
        }
    }
}

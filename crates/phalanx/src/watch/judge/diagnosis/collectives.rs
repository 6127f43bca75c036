//! Causes that lie in collective calls: those that are not the same on all ranks, that go to two
//! communicators, or that somebody never begins.

use std::collections::BTreeMap;

use super::mismatch::mismatch;
use super::{Case, Disagreement, Finding, help_with};
use crate::watch::judge::met::{self, Begun, Difference};
use crate::watch::judge::text::{self, ranks_named, verb};
use crate::watch::statement::CallFacts;

impl<'a> Case<'a, '_> {
    /// Collective calls that are not the same on all ranks.
    pub(super) fn mismatches(&self, component: &[usize], finding: &mut Finding) {
        let mut found: BTreeMap<Difference, Disagreement<'_>> = BTreeMap::new();
        for (rank, call) in self.collectives(component) {
            for differing in met::different(self.ranks, rank, call) {
                // What comes after the first difference only follows from it.
                let parting = met::parting(self.ranks, rank, differing.0, call);
                let (call, (other, its_call, difference)) = parting.unwrap_or((call, differing));
                let entry = found.entry(difference).or_insert((rank, call, Vec::new()));
                if entry.0 == rank {
                    entry.2.push((other, its_call));
                }
            }
        }
        for (difference, (rank, call, others)) in found {
            let mut said = vec![(rank, call)];
            said.extend(others);
            let (headline, sentence, help) = mismatch(self.ranks, difference, call);
            finding.causes.push(format!("{headline}: {sentence}"));
            for &member in component {
                if self.collective_of(member).is_some_and(|it| it.number == call.number) {
                    self.add(finding, member);
                }
            }
            for (other, its_call) in said {
                if !finding.who.holds(other) {
                    let is_there = self.ranks.inside(other) == Some(its_call);
                    let what = text::call(self.ranks, other, its_call);
                    let what = if is_there { what } else { format!("{what} (begun before)") };
                    let mut lines = vec![(what, its_call.location.clone())];
                    if !is_there
                        && let Some(wait) = self.wait(other).filter(|_| self.is_stuck[other])
                    {
                        lines.extend(self.lines(other, wait));
                    }
                    finding.who.add(other, lines);
                }
            }
            help_with(finding, help.to_owned());
        }
    }

    /// Operations of all ranks, made of messages, that are not the same on all ranks.
    pub(super) fn different_steps(&self, component: &[usize], finding: &mut Finding) {
        let parts = |&rank: &usize| {
            let parts = self.wait(rank).map_or(&[][..], |it| &it.parts);
            parts.iter().map(move |part| (rank, part.call))
        };
        for (rank, message) in component.iter().flat_map(parts) {
            let Some((mine, others)) = met::different_steps(self.ranks, rank, message) else {
                continue;
            };
            for (other, its_call, difference) in others {
                let (headline, sentence, help) = mismatch(self.ranks, difference, mine);
                let cause = format!("{headline}: {sentence}");
                if !finding.causes.contains(&cause) {
                    finding.causes.push(cause);
                }
                for (rank, call) in [(rank, mine), (other, its_call)] {
                    if !finding.who.holds(rank) {
                        let what = text::call(self.ranks, rank, call);
                        finding.who.add(rank, vec![(what, call.location.clone())]);
                    }
                }
                help_with(finding, help.to_owned());
            }
        }
    }

    /// The collective calls in which ranks wait.
    pub(super) fn collectives(&self, ranks: &[usize]) -> Vec<(usize, &CallFacts)> {
        let parts = |&rank: &usize| {
            let parts = self.wait(rank).map_or(&[][..], |it| &it.parts);
            parts.iter().map(move |part| (rank, part.call))
        };
        ranks.iter().flat_map(parts).filter(|(_, call)| call.kind.is_collective()).collect()
    }

    pub(super) fn collective_of(&self, rank: usize) -> Option<&CallFacts> {
        self.collectives(&[rank]).first().map(|(_, call)| *call)
    }

    /// The same collective operation, which ranks call on different communicators. Whether there is one.
    pub(super) fn two_communicators(&self, component: &[usize], finding: &mut Finding) -> bool {
        let calls = self.collectives(component);
        let is_missing = |rank: usize, call: &CallFacts| {
            self.ranks.comm(rank, call.comm).is_some()
                && met::has_begun(self.ranks, rank, call) == Begun::No
        };
        let pair = calls.iter().enumerate().find_map(|(at, &(one, first))| {
            let other = calls[at + 1..].iter().find(|&&(other, second)| {
                first.comm != second.comm
                    && met::is_same_operation(first, second)
                    && is_missing(other, first)
                    && is_missing(one, second)
            })?;
            Some((first, other.1))
        });
        let Some((first, second)) = pair else { return false };
        let side = |call: &CallFacts| {
            let of = calls
                .iter()
                .filter(|(_, it)| it.comm == call.comm && met::is_same_operation(it, call));
            let mut ranks: Vec<usize> = of.map(|(rank, _)| *rank).collect();
            ranks.sort_unstable();
            ranks.dedup();
            let name = text::comm_name(self.ranks, call.comm);
            format!(
                "{} {} {} on {name} at {}",
                ranks_named(&ranks),
                verb(&ranks, "calls", "call"),
                call.operation,
                call.location
            )
        };
        finding.causes.push(format!(
            "same collective on two communicators: {}, {}: they never meet",
            side(first),
            side(second)
        ));
        help_with(
            finding,
            "call a collective on the same communicator on all ranks; where both calls are meant, \
             make them in the same order on all ranks"
                .to_owned(),
        );
        true
    }

    /// Ranks that have not begun a collective call, and never will.
    pub(super) fn missing(&self, component: &[usize], finding: &mut Finding) {
        let mut seen: Vec<(u64, u32)> = Vec::new();
        let parted: Vec<usize> =
            (0..self.ranks.len()).filter(|&it| finding.who.holds(it)).collect();
        for (rank, call) in self.collectives(component) {
            if seen.contains(&(call.comm, call.number)) {
                continue;
            }
            let Some(comm) = self.ranks.comm(rank, call.comm) else { continue };
            let mut missing: Vec<usize> = comm
                .members()
                .filter(|&it| self.is_dead(it) || self.ranks.has_freed(it, call.comm))
                .filter(|&it| met::has_begun(self.ranks, it, call) == Begun::No)
                // Why these are not there has been said.
                .filter(|&it| !parted.contains(&it))
                .collect();
            missing.sort_unstable();
            let needs = self.graph.from(rank);
            if !missing.iter().any(|it| needs.contains(it)) {
                continue;
            }
            seen.push((call.comm, call.number));
            let name = text::comm_name(self.ranks, call.comm);
            let has = verb(&missing, "has", "have");
            finding.causes.push(format!(
                "missing in a collective: {} {has} not called {} on {name}, and never can",
                ranks_named(&missing),
                call.operation,
            ));
            for &other in component {
                let here = self.collectives(&[other]);
                if here.iter().any(|(_, it)| (it.comm, it.number) == (call.comm, call.number)) {
                    self.add(finding, other);
                }
            }
            missing.iter().for_each(|&it| self.add(finding, it));
            if missing.iter().all(|&it| self.ranks.is_gone(it)) {
                continue;
            }
            help_with(
                finding,
                format!(
                    "every rank of {name} must call {} in the same order: look for a branch or an \
                     early return before it",
                    call.operation
                ),
            );
        }
    }
}

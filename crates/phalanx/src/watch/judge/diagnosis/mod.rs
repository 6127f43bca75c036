//! What is to be said of a deadlock: its causes, who waits, and the help.

mod circles;
mod collectives;
mod mismatch;
mod peers;

use super::cycle::Graph;
use super::facts::Ranks;
use super::fixpoint::{has_withdrawn, never_completes};
use super::met::{self, Begun, Difference};
use super::text::{self, Table, ranks_named};
use super::wait::{Awaited, Needs, Wait};
use crate::watch::statement::CallFacts;

pub(super) use mismatch::mismatch;

/// A rank and its call, and those whose calls differ from it.
type Disagreement<'a> = (usize, &'a CallFacts, Vec<(usize, &'a CallFacts)>);

/// The statements, and what has been found out of them.
struct Case<'a, 'w> {
    ranks: &'w Ranks<'a>,
    waits: &'w [Option<Wait<'a>>],
    is_stuck: &'w [bool],
    graph: Graph,
}

/// One set of ranks that wait for each other, or for somebody who will never answer.
#[derive(Default)]
struct Finding {
    /// What is wrong, the cause first: `receive cycle: 0 waits for 1 …`.
    causes: Vec<String>,
    who: Table,
    help: Vec<String>,
    /// Those of them who wait for each other.
    circle: Vec<usize>,
}

pub(super) fn describe(ranks: &Ranks<'_>, waits: &[Option<Wait<'_>>], is_stuck: &[bool]) -> String {
    let edges = (0..ranks.len()).map(|rank| blockers(ranks, waits, is_stuck, rank)).collect();
    let case = Case { ranks, waits, is_stuck, graph: Graph::new(edges) };
    let findings = case.causes().iter().map(|component| case.finding(component)).collect();
    case.write(findings)
}

/// The dead ranks for which a rank waits.
fn blockers(
    ranks: &Ranks<'_>,
    waits: &[Option<Wait<'_>>],
    is_stuck: &[bool],
    rank: usize,
) -> Vec<usize> {
    let Some(wait) = waits[rank].as_ref().filter(|_| is_stuck[rank]) else { return Vec::new() };
    let is_dead = |it: usize| is_stuck.get(it).is_some_and(|&it| it) || ranks.is_silent(it);
    let mut found: Vec<usize> = Vec::new();
    for part in hopeless_parts(ranks, wait, &is_dead) {
        let is_dead = |it: usize| is_dead(it) || has_withdrawn(ranks, part, it);
        match &part.needs {
            Needs::Each(all) | Needs::One(all) => {
                // Of a collective call, those who are there already are not to blame.
                let is_there = |it: usize| {
                    part.call.kind.is_collective()
                        && met::has_begun(ranks, it, part.call) == Begun::Yes
                };
                let dead: Vec<usize> = all.iter().copied().filter(|&it| is_dead(it)).collect();
                let before = found.len();
                found.extend(dead.iter().copied().filter(|&it| !is_there(it)));
                if found.len() == before {
                    found.extend(different_from(ranks, rank, part.call, Difference::may_hang));
                }
            }
            Needs::Hopeless => {
                found.extend(different_from(ranks, rank, part.call, Difference::is_hopeless));
            }
            Needs::Open | Needs::Nobody => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    // Whoever waits for any rank waits for itself only if there is no other one.
    if found.len() > 1 {
        found.retain(|&it| it != rank);
    }
    found
}

fn different_from(
    ranks: &Ranks<'_>,
    rank: usize,
    call: &CallFacts,
    counts: fn(Difference) -> bool,
) -> Vec<usize> {
    let different = met::different(ranks, rank, call);
    different.iter().filter(|(_, _, it)| counts(*it)).map(|(other, ..)| *other).collect()
}

fn hopeless_parts<'w, 'a>(
    ranks: &'w Ranks<'a>,
    wait: &'w Wait<'a>,
    is_dead: &'w dyn Fn(usize) -> bool,
) -> impl Iterator<Item = &'w Awaited<'a>> {
    wait.parts.iter().filter(move |part| never_completes(ranks, part, is_dead))
}

impl<'a> Case<'a, '_> {
    fn is_dead(&self, rank: usize) -> bool {
        self.is_stuck.get(rank).is_some_and(|&it| it) || self.ranks.is_silent(rank)
    }

    fn wait(&self, rank: usize) -> Option<&Wait<'a>> {
        self.waits[rank].as_ref()
    }

    /// Where the graph ends. Ranks that wait alone for the same others belong together.
    fn causes(&self) -> Vec<Vec<usize>> {
        let mut causes: Vec<Vec<usize>> = Vec::new();
        for end in self.graph.ends(self.is_stuck) {
            let alike = |known: &&mut Vec<usize>| {
                end.len() == 1
                    && self.graph.from(known[0]) == self.graph.from(end[0])
                    && known.iter().all(|&it| !self.graph.from(it).contains(&it))
            };
            match causes.iter_mut().find(alike) {
                Some(known) => known.extend(end),
                None => causes.push(end),
            }
        }
        causes
    }

    fn lines(&self, rank: usize, wait: &Wait<'_>) -> Vec<(String, String)> {
        let counts = |part: &Awaited<'_>| never_completes(self.ranks, part, |it| self.is_dead(it));
        text::wait(self.ranks, rank, wait, counts)
    }

    fn add(&self, finding: &mut Finding, rank: usize) {
        let lines = match self.wait(rank).filter(|_| self.is_stuck[rank]) {
            Some(wait) => self.lines(rank, wait),
            None => vec![text::elsewhere(self.ranks, rank)],
        };
        finding.who.add(rank, lines);
    }

    fn finding(&self, component: &[usize]) -> Finding {
        let mut finding = Finding::default();
        let circle = self.graph.circle(component);
        self.mismatches(component, &mut finding);
        self.different_steps(component, &mut finding);
        self.races(component, &mut finding);
        let is_explained = !finding.causes.is_empty();
        self.near_misses(component, &mut finding);
        if !self.two_communicators(component, &mut finding) {
            self.missing(component, &mut finding);
        }
        // Whether they have ended as well does not matter then.
        if !self.freed(component, &mut finding) {
            self.gone(component, &mut finding);
        }
        match circle {
            Some(circle) if circle.iter().any(|&it| self.ranks.has_left(it)) => {}
            Some(circle) if circle.len() > 1 && is_explained => finding.circle = circle,
            Some(circle) if circle.len() > 1 => self.circle(component, &circle, &mut finding),
            Some(circle) if finding.causes.is_empty() => self.alone(circle[0], &mut finding),
            _ => {}
        }
        if finding.who.is_empty() {
            component.iter().for_each(|&rank| self.add(&mut finding, rank));
        }
        finding
    }

    fn write(&self, findings: Vec<Finding>) -> String {
        let stuck: Vec<usize> = (0..self.ranks.len()).filter(|&it| self.is_stuck[it]).collect();
        let mut also = Table::default();
        for &rank in &stuck {
            if !findings.iter().any(|it| it.who.holds(rank))
                && let Some(wait) = self.wait(rank)
            {
                also.add(rank, self.lines(rank, wait));
            }
        }
        let mut in_circle = Vec::new();
        if let [finding] = &findings[..] {
            in_circle = finding.circle.clone();
            in_circle.sort_unstable();
        }
        let (whom, how) = match in_circle.is_empty() {
            true => (&stuck, ""),
            false => (&in_circle, "wait for each other and "),
        };
        let mut text = format!(
            "phalanx: deadlock (proved): {} of {} {how}can never continue\n",
            ranks_named(whom),
            self.ranks.len()
        );
        for finding in findings {
            for cause in &finding.causes {
                text::wrap(&mut text, "  ", cause);
            }
            finding.who.write(&mut text);
            for help in &finding.help {
                text::wrap(&mut text, "  ", &format!("help: {help}"));
            }
        }
        if !also.is_empty() {
            text.push_str("  also waiting for them:\n");
            also.write(&mut text);
        }
        text.truncate(text.trim_end().len());
        text
    }
}

fn help_with(finding: &mut Finding, help: String) {
    if !finding.help.contains(&help) {
        finding.help.push(help);
    }
}

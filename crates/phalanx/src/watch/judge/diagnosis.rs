//! What is to be said of a deadlock: its causes, who waits, and what helps.

use std::collections::BTreeMap;

use super::cycle::Graph;
use super::facts::Ranks;
use super::fixpoint::never_completes;
use super::met::{self, Begun, Difference};
use super::near::{self, Miss};
use super::text::{self, Table, ranks_named, verb};
use super::wait::{Needs, Part, Wait};
use crate::watch::statement::{CallFacts, Kind, Party, Seen};

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
    is_circle: bool,
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
    for part in hopeless_parts(wait, &is_dead) {
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
    wait: &'w Wait<'a>,
    is_dead: &'w dyn Fn(usize) -> bool,
) -> impl Iterator<Item = &'w Part<'a>> {
    wait.parts.iter().filter(move |part| never_completes(part, is_dead))
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
        text::wait(self.ranks, rank, wait, |part| never_completes(part, |it| self.is_dead(it)))
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
        let is_explained = !finding.causes.is_empty();
        self.near_misses(component, &mut finding);
        self.missing(component, &mut finding);
        self.gone(component, &mut finding);
        match circle {
            Some(circle) if circle.iter().any(|&it| self.ranks.has_left(it)) => {}
            Some(circle) if circle.len() > 1 && is_explained => finding.is_circle = true,
            Some(circle) if circle.len() > 1 => self.circle(component, &circle, &mut finding),
            Some(circle) if finding.causes.is_empty() => self.alone(circle[0], &mut finding),
            _ => {}
        }
        if finding.who.is_empty() {
            component.iter().for_each(|&rank| self.add(&mut finding, rank));
        }
        finding
    }

    /// Collective calls that are not the same on all ranks.
    fn mismatches(&self, component: &[usize], finding: &mut Finding) {
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
    fn different_steps(&self, component: &[usize], finding: &mut Finding) {
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
    fn collectives(&self, ranks: &[usize]) -> Vec<(usize, &CallFacts)> {
        let parts = |&rank: &usize| {
            let parts = self.wait(rank).map_or(&[][..], |it| &it.parts);
            parts.iter().map(move |part| (rank, part.call))
        };
        ranks.iter().flat_map(parts).filter(|(_, call)| call.kind.is_collective()).collect()
    }

    fn collective_of(&self, rank: usize) -> Option<&CallFacts> {
        self.collectives(&[rank]).first().map(|(_, call)| *call)
    }

    fn near_misses(&self, component: &[usize], finding: &mut Finding) {
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

    /// Ranks that have not begun a collective call, and never will.
    fn missing(&self, component: &[usize], finding: &mut Finding) {
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
                .filter(|&it| self.is_dead(it))
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
            let do_what = verb(&missing, "is", "are");
            finding.causes.push(format!(
                "missing in a collective: {} {do_what} not in {} on {name} and can never come",
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

    /// Ranks of which nothing will ever come.
    fn gone(&self, component: &[usize], finding: &mut Finding) {
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
                format!("find out why rank {peer} ended: the others cannot go on without it")
            } else {
                format!("rank {peer} ends too early, or the others wait for too much")
            };
            help_with(finding, help);
        }
    }

    /// Ranks that wait for each other.
    fn circle(&self, component: &[usize], circle: &[usize], finding: &mut Finding) {
        finding.is_circle = true;
        let waits: Vec<&Wait<'_>> = circle.iter().filter_map(|&rank| self.wait(rank)).collect();
        let all = |is: fn(&CallFacts) -> bool| waits.iter().all(|wait| is(wait.call));
        let chain = chain(circle);
        let knot = component
            .iter()
            .filter_map(|&rank| self.wait(rank))
            .flat_map(|wait| &wait.parts)
            .any(|part| is_arrival(part.call) && part.call.party == Party::Any);
        let mut shown = circle;
        let (cause, help) = if knot {
            shown = component;
            (
                format!(
                    "any-source knot: {} wait for a message from any rank, and all who could send one \
                     wait too",
                    ranks_named(component)
                ),
                "somebody must send before it receives; if the number of messages is not known: \
                 `sparse_exchange`"
                    .to_owned(),
            )
        } else if all(is_receive) {
            (
                match finding.causes.is_empty() {
                    true => format!("receive cycle: {chain}: each receives before it sends"),
                    // It may have sent, but something else.
                    false => format!("receive cycle: {chain}"),
                },
                format!(
                    "post the receives first and complete all together: {}, or `sendrecv`",
                    self.exchange(waits[0].call)
                ),
            )
        } else if all(|it| matches!(it.kind, Kind::Send | Kind::SyncSend)) {
            (self.send_cycle(&chain, &waits), self.send_help(waits[0].call))
        } else {
            let help = "let one side of each pair go first, or start both and complete them together \
                        (`exchange`, `wait_all`)";
            (format!("wait cycle: {chain}"), help.to_owned())
        };
        finding.causes.push(cause);
        for &rank in shown {
            if !finding.who.holds(rank) {
                self.add(finding, rank);
            }
        }
        if finding.help.is_empty() {
            finding.help.push(help);
        }
    }

    fn send_cycle(&self, chain: &str, waits: &[&Wait<'_>]) -> String {
        let largest = waits.iter().filter_map(|it| it.call.bytes).max().unwrap_or(0);
        let why = if waits.iter().all(|it| it.call.kind == Kind::SyncSend) {
            "each waits for its receiver before it receives".to_owned()
        } else {
            format!(
                "each sends before it receives, which only works while messages are small enough to \
                 be buffered; these have up to {}",
                text::size(largest)
            )
        };
        format!("send cycle: {chain}: {why}")
    }

    fn send_help(&self, call: &CallFacts) -> String {
        format!(
            "send and receive in one operation that cannot deadlock: {}, or `sendrecv`",
            self.exchange(call)
        )
    }

    /// `world.exchange(…)`, with the name of the communicator if it is a word.
    fn exchange(&self, call: &CallFacts) -> String {
        let name = self.ranks.comm_name(call.comm).unwrap_or_default();
        let is_word = !name.is_empty() && name.chars().all(|it| it.is_alphanumeric() || it == '_');
        format!("`{}.exchange(…)`", if is_word { name } else { "comm" })
    }

    /// A rank that waits for what only it could do.
    fn alone(&self, rank: usize, finding: &mut Finding) {
        let call = self.wait(rank).map(|it| it.call);
        let what = call.map_or_else(String::new, |it| text::call(self.ranks, rank, it));
        finding.causes.push(format!(
            "waiting for itself: rank {rank} is inside {what}, and only rank {rank} could end that"
        ));
        self.add(finding, rank);
        let help = "a rank that sends to itself must start one of both first: `isend`, `irecv` or \
                    `sendrecv`";
        help_with(finding, help.to_owned());
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
        let in_circle: Vec<usize> = stuck
            .iter()
            .copied()
            .filter(|&it| findings.iter().any(|of| of.who.holds(it)))
            .collect();
        let (whom, how) = match &findings[..] {
            [finding] if finding.is_circle => (&in_circle, "wait for each other and "),
            _ => (&stuck, ""),
        };
        let mut text = format!(
            "phalanx: deadlock (proved): {} of {} {how}can never go on\n",
            ranks_named(whom),
            self.ranks.len()
        );
        for finding in findings {
            for cause in &finding.causes {
                text::wrap(&mut text, "  ", cause);
            }
            finding.who.write(&mut text);
            for help in &finding.help {
                text::wrap(&mut text, "  ", &format!("what helps: {help}"));
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

/// A receive, be it that the message is looked at first to know its length.
/// Whether a call waits for a message.
fn is_arrival(call: &CallFacts) -> bool {
    matches!(call.kind, Kind::Receive | Kind::Probe)
}

fn is_receive(call: &CallFacts) -> bool {
    call.kind == Kind::Receive || call.kind == Kind::Probe && call.operation != "probe"
}

/// `0 waits for 1, 1 waits for 0`.
fn chain(circle: &[usize]) -> String {
    const SHOWN: usize = 6;
    let mut steps: Vec<String> = Vec::new();
    for (at, rank) in circle.iter().enumerate() {
        let next = circle[(at + 1) % circle.len()];
        if circle.len() <= SHOWN || at < SHOWN - 2 || at + 1 == circle.len() {
            steps.push(format!("{rank} waits for {next}"));
        } else if at == SHOWN - 2 {
            steps.push("and so on".to_owned());
        }
    }
    steps.join(", ")
}

/// The headline, the sentence and the help of a difference.
pub(super) fn mismatch(
    ranks: &Ranks<'_>,
    difference: Difference,
    call: &CallFacts,
) -> (&'static str, String, &'static str) {
    let name = text::comm_name(ranks, call.comm);
    let number = call.number;
    let operation = &call.operation;
    match difference {
        Difference::Operation | Difference::Blocking => (
            "different collectives",
            match number {
                0 => format!("the ranks of {name} have begun different operations"),
                _ => format!(
                    "collective call number {number} on {name} is not the same on all ranks"
                ),
            },
            "all ranks of a communicator must call the same collectives in the same order",
        ),
        Difference::Root => (
            "different root",
            format!("{operation} on {name} has not the same root on all ranks"),
            "give the same root on all ranks, for instance one that all have computed alike",
        ),
        Difference::Count => (
            "different count",
            format!("{operation} on {name} has not the same length on all ranks"),
            "give the same length on all ranks; the forms that end in `v` take different ones",
        ),
        Difference::Reduction => (
            "different reduction",
            format!("{operation} on {name} has not the same reduction on all ranks"),
            "give the same reduction on all ranks",
        ),
        Difference::Type => (
            "different type",
            format!("{operation} on {name} has not the same element type on all ranks"),
            "give elements of the same type on all ranks",
        ),
    }
}

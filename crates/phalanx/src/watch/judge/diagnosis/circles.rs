//! Ranks that wait for each other, or for themselves.

use super::{Case, Finding, help_with};
use crate::watch::judge::text::{self, ranks_named, verb};
use crate::watch::judge::wait::Wait;
use crate::watch::statement::{CallFacts, Kind, Party};

impl Case<'_, '_> {
    /// Ranks that wait for each other.
    pub(super) fn circle(&self, component: &[usize], circle: &[usize], finding: &mut Finding) {
        finding.circle = circle.to_vec();
        let waits: Vec<&Wait<'_>> = circle.iter().filter_map(|&rank| self.wait(rank)).collect();
        let all = |is: fn(&CallFacts) -> bool| waits.iter().all(|wait| is(wait.call));
        let chain = chain(circle);
        let waits_for_any = |rank: &usize| {
            let parts = self.wait(*rank).map_or(&[][..], |wait| &wait.parts);
            parts.iter().any(|part| is_arrival(part.call) && part.call.party == Party::Any)
        };
        let for_any: Vec<usize> = component.iter().copied().filter(waits_for_any).collect();
        let mut shown = circle;
        let (cause, help) = if !for_any.is_empty() {
            shown = component;
            finding.circle = component.to_vec();
            let heading = match for_any.len() == component.len() {
                true => "any-source knot",
                false => "wait cycle",
            };
            (
                format!(
                    "{heading}: {} {} for a message from any rank, and all who could send one wait too",
                    ranks_named(&for_any),
                    verb(&for_any, "waits", "wait"),
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

    pub(super) fn send_cycle(&self, chain: &str, waits: &[&Wait<'_>]) -> String {
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

    pub(super) fn send_help(&self, call: &CallFacts) -> String {
        format!(
            "send and receive in one operation that cannot deadlock: {}, or `sendrecv`",
            self.exchange(call)
        )
    }

    /// `world.exchange(…)`, with the name of the communicator if it is a word.
    pub(super) fn exchange(&self, call: &CallFacts) -> String {
        let name = self.ranks.comm_name(call.comm).unwrap_or_default();
        let is_word = !name.is_empty() && name.chars().all(|it| it.is_alphanumeric() || it == '_');
        format!("`{}.exchange(…)`", if is_word { name } else { "comm" })
    }

    /// A rank that waits for what only it could do.
    pub(super) fn alone(&self, rank: usize, finding: &mut Finding) {
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
}

/// Whether a call waits for a message.
fn is_arrival(call: &CallFacts) -> bool {
    matches!(call.kind, Kind::Receive | Kind::Probe)
}

/// A receive, be it that the message is looked at first to know its length.
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

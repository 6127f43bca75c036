//! What would have been right, but for a tag or a communicator.

use std::collections::BTreeSet;

use super::facts::Ranks;
use super::mail::{self, Mail};
use super::text;
use super::wait::{Needs, Wait};
use crate::watch::statement::{CallFacts, Kind, Party};

/// A message that was sent and that a receive would take if it were a little different.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Miss {
    pub from: usize,
    /// Who waits for a message.
    pub to: usize,
    /// To whom this one was sent: to somebody else where ranks of two communicators were confused.
    pub sent_to: usize,
    /// The communicator and tag of the message.
    pub sent_on: u64,
    pub sent_tag: i32,
    /// Those of the receive.
    pub wanted_on: u64,
    pub wanted_tag: Option<i32>,
    /// Where the message was sent, if that is known.
    pub sent_at: Option<String>,
    pub wanted_at: String,
}

impl Miss {
    pub fn is_of_communicator(&self) -> bool {
        self.sent_on != self.wanted_on
    }
}

/// The near misses of a rank that waits.
pub(super) fn misses(ranks: &Ranks<'_>, rank: usize, wait: &Wait<'_>) -> Vec<Miss> {
    let mut found = BTreeSet::new();
    for part in &wait.parts {
        match part.call.kind {
            Kind::Receive | Kind::Probe => of_receive(ranks, rank, part.call, &mut found),
            Kind::Send | Kind::SyncSend if part.needs != Needs::Nobody => {
                of_send(ranks, rank, part.call, &mut found);
            }
            _ => {}
        }
    }
    found.into_iter().collect()
}

/// What has come for a receive, but with another tag or on another communicator.
fn of_receive(ranks: &Ranks<'_>, to: usize, wanted: &CallFacts, found: &mut BTreeSet<Miss>) {
    let sources: Vec<usize> = match (wanted.party, ranks.comm(to, wanted.comm)) {
        (Party::Any, Some(comm)) => comm.members().collect(),
        _ => ranks.party(to, wanted).into_iter().collect(),
    };
    let comms: Vec<u64> = ranks
        .said(to)
        .map_or(&[][..], |it| &it.comms)
        .iter()
        .filter(|it| !it.private || it.id == wanted.comm)
        .map(|it| it.id)
        .collect();
    for &id in &comms {
        for (from, sent_to) in pairs(ranks, to, wanted, &sources, id) {
            let Mail::Tags(tags) = mail::between(ranks, id, from, sent_to) else { continue };
            let mut tags = tags;
            tags.sort_unstable();
            tags.dedup();
            // Here what does not match is a near miss, on another communicator what would match.
            let matches = |tag: &i32| wanted.tag.is_none_or(|it| it == *tag);
            for tag in tags.into_iter().filter(|tag| (id == wanted.comm) != matches(tag)) {
                found.insert(miss(ranks, from, (to, sent_to), (id, tag), wanted));
            }
        }
    }
}

/// Who may have sent to whom on a communicator what this receive waits for: the same processes, or those
/// that have the same ranks there.
fn pairs(
    ranks: &Ranks<'_>,
    to: usize,
    wanted: &CallFacts,
    sources: &[usize],
    id: u64,
) -> BTreeSet<(usize, usize)> {
    let mut pairs: BTreeSet<_> = sources.iter().map(|&from| (from, to)).collect();
    if id == wanted.comm {
        return pairs;
    }
    let (Some(here), Some(there)) = (ranks.comm(to, wanted.comm), ranks.comm(to, id)) else {
        return pairs;
    };
    let namesake = here.rank_of(to).and_then(|it| there.world_rank(it));
    let mut froms: Vec<usize> = sources.to_vec();
    if let Party::Rank(source) = wanted.party {
        froms.extend(there.world_rank(source));
    }
    for from in froms {
        pairs.extend([Some(to), namesake].into_iter().flatten().map(|sent_to| (from, sent_to)));
    }
    // What a rank sends to itself has nothing to do with it.
    pairs.retain(|(from, sent_to)| from != sent_to || *sent_to == to);
    pairs
}

/// What the receiver of a message waits for instead.
fn of_send(ranks: &Ranks<'_>, from: usize, sent: &CallFacts, found: &mut BTreeSet<Miss>) {
    let (Some(to), Some(tag)) = (ranks.party(from, sent), sent.tag) else { return };
    let Some(statement) = ranks.statement(to) else { return };
    let requests = statement.requests.iter().map(|it| &it.call);
    for wanted in ranks.inside(to).into_iter().chain(requests) {
        let is_receive = matches!(wanted.kind, Kind::Receive | Kind::Probe);
        let my_number = ranks.comm(from, sent.comm).and_then(|comm| comm.rank_of(from));
        let is_namesake = wanted.comm != sent.comm
            && my_number.is_some_and(|number| wanted.party == Party::Rank(number));
        let from_here =
            wanted.party == Party::Any || ranks.party(to, wanted) == Some(from) || is_namesake;
        let tag_fits = wanted.tag.is_none_or(|it| it == tag);
        if is_receive && from_here && (wanted.comm == sent.comm) != tag_fits {
            found.insert(miss(ranks, from, (to, to), (sent.comm, tag), wanted));
        }
    }
}

fn miss(
    ranks: &Ranks<'_>,
    from: usize,
    (to, sent_to): (usize, usize),
    (sent_on, sent_tag): (u64, i32),
    wanted: &CallFacts,
) -> Miss {
    let sent = mail::sender_of(ranks, sent_on, from, sent_to, sent_tag);
    Miss {
        from,
        to,
        sent_to,
        sent_on,
        sent_tag,
        wanted_on: wanted.comm,
        wanted_tag: wanted.tag,
        sent_at: sent.map(|it| it.location.clone()),
        wanted_at: wanted.location.clone(),
    }
}

/// What is nearly right, for a list of causes.
pub(super) fn describe(ranks: &Ranks<'_>, miss: &Miss) -> String {
    let Miss { from, to, sent_tag, .. } = miss;
    let sent_at = miss.sent_at.as_ref().map_or(String::new(), |it| format!(", sent at {it}"));
    if miss.is_of_communicator() {
        let wanted = text::comm_name(ranks, miss.wanted_on);
        let sent = text::comm_name(ranks, miss.sent_on);
        let whom = match miss.sent_to == *to {
            true => String::new(),
            false => format!(" to rank {}", miss.sent_to),
        };
        return format!(
            "wrong communicator: rank {to} receives on {wanted} at {}; rank {from} has sent{whom} on \
             {sent}, tag\u{a0}{sent_tag}{sent_at}",
            miss.wanted_at
        );
    }
    let wanted =
        miss.wanted_tag.map_or_else(|| "any tag".to_owned(), |tag| format!("tag\u{a0}{tag}"));
    format!(
        "tag near miss: rank {to} waits for {wanted} at {}; an unreceived message of rank {from} has \
         tag\u{a0}{sent_tag}{sent_at}",
        miss.wanted_at
    )
}

pub(super) fn help(miss: &Miss) -> &'static str {
    if miss.is_of_communicator() {
        "send and receive on the same communicator; the ranks of each have numbers of their own"
    } else {
        "use one tag on both sides, or receive without one: then any tag is taken"
    }
}

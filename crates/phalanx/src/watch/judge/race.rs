//! Messages that an earlier receive may have taken, because it takes those of any rank or with any tag.

use std::collections::BTreeSet;

use super::facts::Ranks;
use super::mail::{self, Mail};
use super::wait::Wait;
use crate::watch::statement::{CallFacts, Kind, Party, number_of};

/// A receive that waits in vain, and another one that may have got its message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Race {
    /// Who waits, for whom, and where.
    pub rank: usize,
    pub from: usize,
    wanted_at: String,
    /// The receive that takes more: what it takes, and where.
    takes: String,
    taken_at: String,
    /// The message that is left, which the other one would have taken as well.
    pub left_of: usize,
    left_tag: i32,
    left_at: Option<String>,
}

/// The races that a rank may have lost.
pub(super) fn races(ranks: &Ranks<'_>, rank: usize, wait: &Wait<'_>) -> Vec<Race> {
    let found: BTreeSet<Race> =
        wait.parts.iter().filter_map(|part| lost(ranks, rank, part.call)).collect();
    found.into_iter().collect()
}

fn lost(ranks: &Ranks<'_>, rank: usize, wanted: &CallFacts) -> Option<Race> {
    let Party::Rank(source) = wanted.party else { return None };
    if !matches!(wanted.kind, Kind::Receive | Kind::Probe) {
        return None;
    }
    let comm = ranks.comm(rank, wanted.comm)?;
    let from = comm.world_rank(source)?;
    if number_of(comm.traffic(source).received) <= 0 {
        return None;
    }
    // Calls that are complete; of those that are not it would not be certain what they take.
    let history = &ranks.said(rank)?.history;
    history.iter().rev().filter(|it| takes_more(it, wanted, source)).find_map(|taker| {
        let senders: Vec<usize> = match taker.party {
            Party::Any => comm.members().filter(|&it| it != from).collect(),
            _ => vec![from],
        };
        let (left_of, left_tag) = senders.into_iter().find_map(|sender| {
            let Mail::Tags(tags) = mail::between(ranks, wanted.comm, sender, rank) else {
                return None;
            };
            let left = tags.into_iter().find(|&tag| taker.tag.is_none_or(|it| it == tag))?;
            Some((sender, left))
        })?;
        let sent = mail::sender_of(ranks, wanted.comm, left_of, rank, left_tag);
        let takes = match (taker.party, taker.tag) {
            (Party::Any, _) => "from any rank",
            _ => "with any tag",
        };
        Some(Race {
            rank,
            from,
            wanted_at: wanted.location.clone(),
            takes: format!("{} {takes}", taker.operation),
            taken_at: taker.location.clone(),
            left_of,
            left_tag,
            left_at: sent.map(|it| it.location.clone()),
        })
    })
}

/// Whether a receive that is complete takes what another one takes, and more.
fn takes_more(taker: &CallFacts, wanted: &CallFacts, source: u32) -> bool {
    let receives = matches!(taker.kind, Kind::Receive | Kind::Probe)
        || taker.kind == Kind::Local && taker.operation.contains("recv");
    let wider = match taker.party {
        Party::Any => true,
        Party::Rank(it) => it == source && taker.tag.is_none() && wanted.tag.is_some(),
        Party::None | Party::Null => false,
    };
    let same_tag = taker.tag.is_none() || wanted.tag.is_none() || taker.tag == wanted.tag;
    receives && taker.comm == wanted.comm && wider && same_tag
}

/// The race, for a list of causes.
pub(super) fn describe(race: &Race) -> String {
    let Race { rank, from, wanted_at, takes, taken_at, left_of, left_tag, left_at } = race;
    let left_at = left_at.as_ref().map_or(String::new(), |it| format!(", sent at {it}"));
    format!(
        "message race: {takes} at {taken_at} may have taken the message of rank {from} that rank {rank} \
         waits for at {wanted_at}; a message of rank {left_of} with tag\u{a0}{left_tag} is \
         unreceived{left_at}"
    )
}

pub(super) const HELP: &str = "name the source and tag in the earlier receive, or give messages that are \
                               not interchangeable different tags";

//! What ranks have counted on their communicators, compared when all of them have come to the end: messages
//! that nobody has received, and collective calls that some ranks never made.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::collective::PerRank;
use crate::comm::{Comm, PRIVATE};
use crate::error::Result;
use crate::op::BitOr;
use crate::raw::collective::Everywhere;
use crate::record::{self, Call, CommRecord, Noted, Peer};
use crate::watch;
use crate::words::count;

/// A communicator, what is counted there, and two numbers.
type Total = [u64; 4];

/// The sum of the messages from the sender to the receiver.
const MESSAGES: u64 = 0;
/// Collective calls that have numbers, and those that are made of messages.
const COLLECTIVES: u64 = 1;
const STEPS: u64 = 2;

type Comms = Vec<Arc<CommRecord>>;

/// What this rank has begun and others have not ended. Collective.
pub(super) fn compare(world: &Comm, call: &Call<'_>) -> Result<Vec<String>> {
    let comms = countable();
    let received = world.alltoallv_by(call, &mine(&comms, world.size()))?;
    let answers = judged(&comms, &received, world.size());
    let any = answers.iter().any(|list| !list.is_empty());
    if world.everywhere(call, Everywhere::Allreduce, &u8::from(any), BitOr)? == 0 {
        return Ok(Vec::new());
    }
    let answers: PerRank<Total> = world.alltoallv_by(call, &answers)?;
    let mut lines = Vec::new();
    let mut absent: BTreeMap<(u64, u64, u64), Vec<usize>> = BTreeMap::new();
    for (from, list) in answers.iter().enumerate() {
        for &[id, what, number, rank] in list {
            let Some(comm) = comms.iter().find(|comm| comm.id == id) else { continue };
            match what {
                MESSAGES => lines.extend(unreceived(comm, from, number)),
                _ => absent.entry((id, what, number)).or_default().push(rank as usize),
            }
        }
    }
    // What follows from the first call that was left out is not worth a line of its own.
    let mut known = Vec::new();
    for ((id, what, number), mut ranks) in absent {
        if known.contains(&(id, what)) {
            continue;
        }
        known.push((id, what));
        ranks.sort_unstable();
        if let Some(comm) = comms.iter().find(|comm| comm.id == id) {
            lines.push(left_out(comm, what, number, &ranks));
        }
    }
    Ok(lines)
}

/// The communicators on which all was counted.
fn countable() -> Comms {
    // Several threads may have lost count.
    if record::lanes().len() > 1 {
        return Vec::new();
    }
    let all = record::known_comms().into_iter().chain(record::freed_comms());
    all.filter(|comm| !comm.is_foreign()).collect()
}

/// What this rank has counted, for each rank of the world that has to know: of messages their receiver, of
/// collective calls the first member.
fn mine(comms: &Comms, size: usize) -> Vec<Vec<Total>> {
    let mut lists: Vec<Vec<Total>> = vec![Vec::new(); size];
    for comm in comms {
        let first = comm.members.first().and_then(|&it| lists.get_mut(it as usize));
        if let Some(list) = first
            && comm.members.len() > 1
        {
            list.push([comm.id, COLLECTIVES, u64::from(comm.collectives()), 0]);
            list.push([comm.id, STEPS, u64::from(comm.steps()), 0]);
        }
        // The library's own messages are parts of what is counted as one.
        if comm.private {
            continue;
        }
        for (peer, &world_rank) in comm.members.iter().enumerate() {
            let sent = comm.counts(peer).sent;
            if let Some(list) = lists.get_mut(world_rank as usize)
                && sent != 0
            {
                list.push([comm.id, MESSAGES, sent, 0]);
            }
        }
    }
    lists
}

/// What is missing, for each rank that knows the line.
fn judged(comms: &Comms, received: &PerRank<Total>, size: usize) -> Vec<Vec<Total>> {
    let mut answers: Vec<Vec<Total>> = vec![Vec::new(); size];
    let mut calls: BTreeMap<(u64, u64), Vec<(usize, u64)>> = BTreeMap::new();
    for (rank, list) in received.iter().enumerate() {
        for &[id, what, number, _] in list {
            if what != MESSAGES {
                calls.entry((id, what)).or_default().push((rank, number));
            } else if let Some(sum) = missing(comms, rank, id, number) {
                answers[rank].push([id, MESSAGES, sum, 0]);
            }
        }
    }
    for ((id, what), members) in calls {
        // The ranks that have freed so many communicators that this one is forgotten say nothing.
        let most = members.iter().map(|(_, number)| *number).max().unwrap_or(0);
        let Some(&(knows, _)) = members.iter().find(|(_, number)| *number == most) else {
            continue;
        };
        let behind = members.iter().filter(|(_, number)| *number < most);
        answers[knows].extend(behind.map(|&(rank, number)| [id, what, number + 1, rank as u64]));
    }
    answers
}

/// The sum of the messages of a sender that this rank has not received.
fn missing(comms: &Comms, sender: usize, id: u64, sent: u64) -> Option<u64> {
    let comm = comms.iter().find(|comm| comm.id == id)?;
    let counts = comm.counts(comm.rank_of(sender as u32)?);
    let sum = sent.wrapping_sub(counts.received);
    (record::number_of(sum) > 0).then_some(sum)
}

/// The messages to a rank that were not received, with their lines if those are remembered.
fn unreceived(comm: &CommRecord, receiver: usize, sum: u64) -> Vec<String> {
    let Some(peer) = comm.rank_of(receiver as u32) else { return Vec::new() };
    let is_send =
        |it: &Noted| it.what.kind.is_send() && it.comm == comm.id && it.peer == Peer::To(peer);
    let sends: Vec<Noted> = history().filter(is_send).collect();
    let whose = if comm.rank_of(receiver as u32) == Some(receiver) {
        format!("rank {receiver}")
    } else {
        format!("rank {receiver} (rank {peer} of `{}`)", comm.name())
    };
    let tags: Vec<i32> = sends.iter().map(|it| it.tag.unwrap_or(0)).collect();
    let Some(found) = watch::unreceived(&tags, sum) else {
        let messages = count(record::number_of(sum).unsigned_abs() as usize, "message");
        return vec![format!("{messages} to {whose} on `{}` never received", comm.name())];
    };
    let line = |index: usize| {
        let it = &sends[index];
        format!(
            "{} to {whose}, tag {}, {} bytes on `{}` was never received [{}]",
            it.operation.name,
            tags[index],
            it.what.bytes,
            comm.name(),
            it.location
        )
    };
    found.into_iter().map(line).collect()
}

/// Collective calls of this rank, of which others have made fewer: the first that has no number there any
/// more, and those around it. One that was left out in the middle is before it.
fn left_out(comm: &CommRecord, what: u64, number: u64, ranks: &[usize]) -> String {
    const SHOWN: usize = 3;
    let is_it = |it: &Noted| match what {
        COLLECTIVES => it.comm == comm.id && it.what.kind.is_collective() && it.what.number > 0,
        // Their messages are on the private duplicate, and they have no numbers.
        _ => it.comm == comm.id | PRIVATE && is_steps(it),
    };
    let calls: Vec<Noted> = history().filter(is_it).collect();
    let first = match what {
        COLLECTIVES => calls.iter().position(|it| u64::from(it.what.number) >= number),
        _ => calls.len().checked_sub(1),
    };
    let from = first.unwrap_or(calls.len()).saturating_sub(1);
    let shown: Vec<String> = calls[from..]
        .iter()
        .take(SHOWN)
        .map(|it| format!("{} [{}]", it.operation.name, it.location))
        .collect();
    let ends = if shown.is_empty() { String::new() } else { format!(": {}", shown.join(", ")) };
    format!(
        "missing in a collective: {} made fewer collective calls on `{}` than this rank{ends}",
        watch::ranks_named(ranks),
        comm.name()
    )
}

fn is_steps(noted: &Noted) -> bool {
    noted.what.kind == record::Kind::Steps
}

/// The last calls of this rank.
fn history() -> impl Iterator<Item = Noted> {
    record::lanes().into_iter().flat_map(|lane| lane.history(lane.sequence()))
}

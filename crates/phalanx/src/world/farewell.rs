//! What the ranks tell each other, and the user, before MPI is finalized: what was begun and never ended.

use std::panic::Location;

use super::failure;
use crate::collective::PerRank;
use crate::comm::Comm;
use crate::error::Result;
use crate::op::BitOr;
use crate::raw::collective::Everywhere;
use crate::raw::strict;
use crate::record::{self, Call, CommRecord, FINALIZE, Kind, Noted, Peer, What};
use crate::{raw, request, watch};

/// Above this number of ranks messages are counted in strict mode alone: each rank talks to each.
const MOST_RANKS: usize = 1024;

/// Messages from one rank to another on one communicator: its number, and their sum.
type Count = [u64; 2];

/// Waits for all ranks, and says on stderr what this one has left behind.
pub(super) fn say(world: &Comm, location: &'static Location<'static>) -> Result<()> {
    let rank = world.rank();
    let tell = |line: String| failure::print(&format!("phalanx: rank {rank}: {line}"));
    let unfinished = request::unfinished();
    forgotten(&unfinished).into_iter().chain(unfinished).for_each(tell);
    if strict::is_on() {
        request::unwaited().into_iter().for_each(tell);
        unfreed().into_iter().for_each(tell);
    }
    if !watch::is_wanted() {
        return Ok(());
    }
    let call = world.private_call(&FINALIZE, location);
    // For the watch all of it is one call: a rank in the barrier has yet to come to what follows, though it
    // answers no messages any more.
    let _leaving = record::waiting(&call, &What::of(Kind::Finalize, 0, record::no_name));
    raw::world::barrier_at_end(&call)?;
    if strict::is_on() {
        strict::conclude(&call)?;
    }
    if world.size() <= MOST_RANKS || strict::is_on() {
        unreceived(world, &call)?.into_iter().for_each(tell);
    }
    Ok(())
}

/// The requests that the program has lost without dropping them (`std::mem::forget`).
fn forgotten(unfinished: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    record::for_each(|it, _| {
        let place = format!("[{}]", it.location);
        // What was dropped is told already; what is the library's own has no line of the program's.
        let is_told = unfinished.iter().any(|line| line.contains(&place));
        let comm = record::known_comms().into_iter().find(|comm| comm.id == it.comm);
        if let Some(comm) = comm.filter(|comm| !comm.private && !is_told) {
            let (operation, peer) = (it.operation.name, it.peer);
            lines.push(format!(
                "{operation}{peer} on `{}` was forgotten and never completed {place}",
                comm.name()
            ));
        }
    });
    lines
}

/// The communicators that the program made and did not free.
fn unfreed() -> Vec<String> {
    let comms = record::known_comms();
    let mine = comms.iter().filter(|comm| comm.owned && !comm.private);
    mine.map(|comm| {
        format!("the communicator `{}` was never freed [{}]", comm.name(), comm.location)
    })
    .collect()
}

/// The messages of this rank that nobody has received. Collective.
fn unreceived(world: &Comm, call: &Call<'_>) -> Result<Vec<String>> {
    let mut comms = record::known_comms();
    comms.retain(|comm| !comm.private);
    // Several threads may have lost count.
    if record::lanes().len() > 1 {
        comms.clear();
    }
    // Everybody tells everybody how many messages there were.
    let mut sent: Vec<Vec<Count>> = vec![Vec::new(); world.size()];
    for comm in comms.iter().filter(|comm| !comm.is_foreign()) {
        for (peer, &world_rank) in comm.members.iter().enumerate() {
            let counts = comm.counts(peer);
            if let Some(list) = sent.get_mut(world_rank as usize)
                && counts.sent != 0
            {
                list.push([comm.id, counts.sent]);
            }
        }
    }
    let told = world.alltoallv_by(call, &sent)?;
    // Who has received fewer tells the sender, which knows the lines.
    let missed: Vec<Vec<Count>> = (0..world.size())
        .map(|sender| told[sender].iter().filter_map(|it| missing(&comms, sender, it)).collect())
        .collect();
    let any = missed.iter().any(|list| !list.is_empty());
    if !world.any_at_end(call, any)? {
        return Ok(Vec::new());
    }
    let lost: PerRank<Count> = world.alltoallv_by(call, &missed)?;
    let mut lines = Vec::new();
    for (receiver, list) in lost.iter().enumerate() {
        for &[id, sum] in list {
            if let Some(comm) = comms.iter().find(|comm| comm.id == id) {
                lines.extend(lines_of(comm, receiver, sum));
            }
        }
    }
    Ok(lines)
}

/// How many of these messages of a sender have not been received.
fn missing(
    comms: &[std::sync::Arc<CommRecord>],
    sender: usize,
    &[id, sent]: &Count,
) -> Option<Count> {
    let comm = comms.iter().find(|comm| comm.id == id && !comm.is_foreign())?;
    let counts = comm.counts(comm.rank_of(sender as u32)?);
    let sum = sent.wrapping_sub(counts.received);
    (record::number_of(sum) > 0).then_some([id, sum])
}

/// The messages to a rank that were not received, with their lines if those are remembered.
fn lines_of(comm: &CommRecord, receiver: usize, sum: u64) -> Vec<String> {
    let Some(peer) = comm.rank_of(receiver as u32) else { return Vec::new() };
    let lanes = record::lanes();
    let history = lanes.iter().flat_map(|lane| lane.history(lane.sequence()));
    let sends: Vec<Noted> = history
        .filter(|it| it.what.kind.is_send() && it.comm == comm.id && it.peer == Peer::To(peer))
        .collect();
    let whose = if comm.rank_of(receiver as u32) == Some(receiver) {
        format!("rank {receiver}")
    } else {
        format!("rank {receiver} (rank {peer} of `{}`)", comm.name())
    };
    let tags: Vec<i32> = sends.iter().map(|it| it.tag.unwrap_or(0)).collect();
    match watch::unreceived(&tags, sum) {
        Some(found) => found
            .into_iter()
            .map(|index| {
                let it = &sends[index];
                format!(
                    "{} to {whose}, tag {}, {} bytes on `{}` was never received [{}]",
                    it.operation.name,
                    tags[index],
                    it.what.bytes,
                    comm.name(),
                    it.location
                )
            })
            .collect(),
        None => {
            let number = record::number_of(sum);
            let messages =
                if number == 1 { "1 message".into() } else { format!("{number} messages") };
            vec![format!("{messages} to {whose} on `{}` never received", comm.name())]
        }
    }
}

impl Comm {
    /// Whether any rank says so, before finalize.
    fn any_at_end(&self, call: &Call<'_>, mine: bool) -> Result<bool> {
        Ok(self.everywhere(call, Everywhere::Allreduce, &u8::from(mine), BitOr)? != 0)
    }
}

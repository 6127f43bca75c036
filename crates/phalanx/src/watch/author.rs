//! Writes what this rank says of itself, from what the gate has noted.

use std::time::Duration;

use super::statement::{Activity, CallFacts, CommFacts, Party, RequestFacts, Statement, Traffic};
use crate::record::{self, CommRecord, Counts, FREE, Kind, Lane, Noted, Peer};
use crate::{host, raw};

/// What does not change while a rank runs.
pub(super) struct Author {
    pub rank: u32,
    pub host: String,
    /// How many looks had found nothing when the last statement was written.
    looks: u64,
}

impl Author {
    pub fn new(rank: usize) -> Self {
        Author { rank: rank as u32, host: host::name(), looks: 0 }
    }

    /// The statement about the state with this sequence number, or `None` if the rank moves on
    /// meanwhile.
    pub fn write(&mut self, lane: &Lane, sequence: u64, still_for: Duration) -> Option<Statement> {
        let (looks, look) = lane.looks();
        let polls = looks > self.looks;
        self.looks = looks;
        let activity = match (lane.current(sequence), look) {
            (Some(call), _) => Activity::Inside(facts(&call)),
            (None, Some(at)) if polls => Activity::Polling { looks, at: facts(&at) },
            _ => Activity::Outside,
        };
        let waits_for_requests =
            |call: &Noted| matches!(call.what.kind, Kind::WaitAll | Kind::WaitAny);
        let is_marked = !lane.current(sequence).is_some_and(|it| waits_for_requests(&it))
            || lane.is_marked(sequence);
        let mut requests = Vec::new();
        record::for_each(|noted, waited_by| {
            let waited = waited_by == sequence && sequence % 2 == 1;
            requests.push(RequestFacts { call: facts(&noted), waited });
        });
        let lanes = record::lanes();
        let comms = record::known_comms().into_iter().chain(record::freed_comms());
        let is_users = |it: &&Noted| !record::is_internal(it.location);
        let statement = Statement {
            rank: self.rank,
            host: self.host.clone(),
            pid: std::process::id(),
            sequence,
            still_for: still_for.as_millis() as u64,
            activity,
            other_threads: lanes.iter().skip(1).filter_map(|it| inside(it)).collect(),
            requests,
            comms: comms.map(|comm| comm_facts(&comm)).collect(),
            history: lane.history(sequence).iter().filter(is_users).map(facts).collect(),
            failure: None,
            threads: lanes.len() > 1 || raw::state::level() >= raw::state::Threading::Serialized,
            complete: !record::overflowed() && is_marked,
        };
        lane.is_still_at(sequence).then_some(statement)
    }
}

/// The call that another thread is inside of and waits in.
fn inside(lane: &Lane) -> Option<CallFacts> {
    let sequence = lane.sequence();
    let call = lane.current(sequence).filter(|it| it.what.kind != Kind::Local)?;
    lane.is_still_at(sequence).then(|| facts(&call))
}

fn facts(noted: &Noted) -> CallFacts {
    let what = &noted.what;
    CallFacts {
        operation: noted.operation.name.to_owned(),
        kind: what.kind,
        comm: noted.comm,
        party: match noted.peer {
            Peer::None => Party::None,
            Peer::Null => Party::Null,
            Peer::AnySource => Party::Any,
            Peer::To(rank) | Peer::From(rank) | Peer::Root(rank) => Party::Rank(rank as u32),
        },
        tag: noted.tag,
        bytes: (what.bytes != FREE).then_some(what.bytes),
        element: raw::strict::base((what.element)()).to_owned(),
        reduction: raw::op::name_of_number(what.reduction).to_owned(),
        number: what.number,
        location: noted.location.to_string(),
    }
}

fn comm_facts(comm: &CommRecord) -> CommFacts {
    let with = |peer: usize| {
        let Counts { sent, received } = comm.counts(peer);
        Traffic { peer: peer as u32, sent, received }
    };
    let is_known = |it: &Traffic| it.sent != 0 || it.received != 0;
    CommFacts {
        id: comm.id,
        name: comm.name(),
        private: comm.private,
        foreign: comm.is_foreign(),
        freed: comm.is_freed(),
        members: comm.members.to_vec(),
        neighbors: comm.neighbors(),
        collectives: comm.collectives(),
        counts_users_calls: comm.counts_users_calls(),
        traffic: (0..comm.members.len()).map(with).filter(is_known).collect(),
    }
}

/// As bytes of at most so many. What is left out makes the statement incomplete.
pub(super) fn encode(statement: &mut Statement, most: usize) -> Vec<u8> {
    loop {
        let bytes = postcard::to_stdvec(&*statement);
        match bytes {
            Ok(bytes) if bytes.len() <= most => return bytes,
            _ => {}
        }
        // The oldest calls say least, then what nobody waits for.
        if statement.history.len() > 8 {
            statement.history.drain(..statement.history.len() / 2);
        } else if let Some(at) = statement.comms.iter().position(|comm| comm.freed) {
            // Of a communicator that is not named nothing is concluded.
            statement.comms.remove(at);
        } else if statement.requests.iter().any(|it| !it.waited) {
            statement.complete = false;
            statement.requests.retain(|it| it.waited);
        } else if statement.requests.len() > 16 {
            statement.complete = false;
            statement.requests.truncate(statement.requests.len() / 2);
        } else if !statement.comms.is_empty() {
            statement.complete = false;
            let about = comm_of(&statement.activity);
            let before = statement.comms.len();
            statement.comms.retain(|comm| comm.id == about && before > 1);
        } else {
            statement.complete = false;
            statement.history.clear();
            statement.requests.clear();
            statement.failure = None;
            return postcard::to_stdvec(&*statement)
                .ok()
                .filter(|bytes| bytes.len() <= most)
                .unwrap_or_default();
        }
    }
}

fn comm_of(activity: &Activity) -> u64 {
    match activity {
        Activity::Inside(call) | Activity::Polling { at: call, .. } => call.comm,
        Activity::Outside => 0,
    }
}

/// A statement of bytes that any process may have written.
pub(super) fn decode(bytes: &[u8]) -> Option<Statement> {
    postcard::from_bytes(bytes).ok()
}

/// Whether a rank waits for others, or looks for something from them again and again.
pub(super) fn waits(statement: &Statement) -> bool {
    match &statement.activity {
        Activity::Inside(_) | Activity::Polling { .. } => true,
        Activity::Outside => !statement.other_threads.is_empty(),
    }
}

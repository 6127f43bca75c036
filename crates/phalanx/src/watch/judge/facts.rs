//! The statements, so that things are found in them.

use std::collections::HashMap;

use crate::watch::statement::{
    Activity, CallFacts, CommFacts, Kind, Party, Seen, Statement, Traffic,
};

/// What is known of all ranks of the world.
pub(super) struct Ranks<'a> {
    all: Vec<Rank<'a>>,
}

struct Rank<'a> {
    seen: &'a Seen,
    comms: HashMap<u64, Comm<'a>>,
}

/// A communicator as one of its members states it.
pub(super) struct Comm<'a> {
    pub facts: &'a CommFacts,
    traffic: HashMap<u32, Traffic>,
}

impl<'a> Ranks<'a> {
    pub fn new(ranks: &'a [Seen]) -> Self {
        let index = |seen| {
            let comms = said(seen).map_or(&[][..], |statement| &statement.comms);
            let comms = comms.iter().map(|facts| (facts.id, Comm::new(facts))).collect();
            Rank { seen, comms }
        };
        Ranks { all: ranks.iter().map(index).collect() }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// How a rank is. One that does not exist is one of which nothing is known.
    pub fn seen(&self, rank: usize) -> Option<&'a Seen> {
        self.all.get(rank).map(|it| it.seen)
    }

    /// The last that a rank has said, which may be out of date.
    pub fn said(&self, rank: usize) -> Option<&'a Statement> {
        said(self.seen(rank)?)
    }

    /// What a rank says of itself now.
    pub fn statement(&self, rank: usize) -> Option<&'a Statement> {
        match self.seen(rank)? {
            Seen::Still(statement) => Some(statement),
            _ => None,
        }
    }

    /// The call that a rank is inside of now.
    pub fn inside(&self, rank: usize) -> Option<&'a CallFacts> {
        match &self.statement(rank)?.activity {
            Activity::Inside(call) => Some(call),
            Activity::Outside | Activity::Polling { .. } => None,
        }
    }

    pub fn is_gone(&self, rank: usize) -> bool {
        matches!(self.seen(rank), Some(Seen::Gone { .. }))
    }

    /// Whether a rank has said that it will communicate no more.
    pub fn has_left(&self, rank: usize) -> bool {
        match self.seen(rank) {
            Some(Seen::Finalized) => true,
            Some(Seen::Still(statement)) => {
                !statement.threads && self.inside(rank).is_some_and(|it| it.kind == Kind::Finalize)
            }
            _ => false,
        }
    }

    /// Whether a rank sends nothing, receives nothing and begins nothing from now on.
    pub fn is_silent(&self, rank: usize) -> bool {
        self.is_gone(rank) || self.has_left(rank)
    }

    /// Whether a rank does nothing any more on a communicator, because it has freed it. What it did there
    /// before is all that it will ever have done.
    pub fn has_freed(&self, rank: usize, id: u64) -> bool {
        self.statement(rank).is_some_and(|statement| !statement.threads)
            && self.comm(rank, id).is_some_and(|comm| comm.facts.freed)
    }

    /// A communicator, by what a rank says or has said of it.
    pub fn comm(&self, rank: usize, id: u64) -> Option<&Comm<'a>> {
        self.all.get(rank)?.comms.get(&id)
    }

    /// The name of a communicator, whoever knows it.
    pub fn comm_name(&self, id: u64) -> Option<&'a str> {
        let known = self.all.iter().find_map(|rank| rank.comms.get(&id));
        known.map(|comm| comm.facts.name.as_str())
    }

    /// The rank in the world whom a call names.
    pub fn party(&self, rank: usize, call: &CallFacts) -> Option<usize> {
        match call.party {
            Party::Rank(peer) => self.comm(rank, call.comm)?.world_rank(peer),
            Party::None | Party::Null | Party::Any => None,
        }
    }

    /// All calls of which a rank tells: the one it is inside of, those that it has started, those that
    /// are complete, latest first.
    pub fn calls(&self, rank: usize) -> impl Iterator<Item = &'a CallFacts> {
        let statement = self.said(rank);
        let current = statement.and_then(|it| match &it.activity {
            Activity::Inside(call) => Some(call),
            Activity::Outside | Activity::Polling { .. } => None,
        });
        let requests = statement.map_or(&[][..], |it| &it.requests);
        let history = statement.map_or(&[][..], |it| &it.history);
        current.into_iter().chain(requests.iter().map(|it| &it.call)).chain(history.iter().rev())
    }
}

fn said(seen: &Seen) -> Option<&Statement> {
    match seen {
        Seen::Still(statement) => Some(statement),
        Seen::Stopped(last) | Seen::Gone { last, .. } => last.as_deref(),
        Seen::Moving | Seen::Finalized | Seen::Unknown { .. } => None,
    }
}

impl<'a> Comm<'a> {
    fn new(facts: &'a CommFacts) -> Self {
        Comm { facts, traffic: facts.traffic.iter().map(|it| (it.peer, *it)).collect() }
    }

    /// The rank in the world of a member.
    pub fn world_rank(&self, member: u32) -> Option<usize> {
        self.facts.members.get(member as usize).map(|&rank| rank as usize)
    }

    /// The rank here of a rank of the world.
    pub fn rank_of(&self, world: usize) -> Option<u32> {
        let members = &self.facts.members;
        members.iter().position(|&it| it as usize == world).map(|rank| rank as u32)
    }

    /// The ranks in the world of all members.
    pub fn members(&self) -> impl Iterator<Item = usize> {
        self.facts.members.iter().map(|&rank| rank as usize)
    }

    pub fn traffic(&self, peer: u32) -> Traffic {
        self.traffic.get(&peer).copied().unwrap_or_default()
    }
}

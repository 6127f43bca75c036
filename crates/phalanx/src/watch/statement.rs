//! What a rank says of itself when it does not move: the facts from which a verdict is made.
//!
//! Each process writes its own statement, because only it can read the lines and names behind its
//! records. The ranks of a communicator are numbered twice: `Party::Rank` and `Traffic::peer` are ranks in
//! the communicator, `CommFacts::members` says which rank of the world each is.

use serde::{Deserialize, Serialize};

pub(crate) use crate::record::{Kind, message, number_of};

/// A rank as the watch sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Seen {
    /// It has not moved since it made this statement.
    Still(Box<Statement>),
    /// It makes progress.
    Moving,
    /// Its process has been stopped by a signal, and may go on any time. The last it said, if anything.
    Stopped(Option<Box<Statement>>),
    /// Its process does not exist any more. How it ended, where that is known, and the last it said.
    Gone { how: String, last: Option<Box<Statement>> },
    /// It has finalized MPI.
    Finalized,
    /// Nothing can be said: its node does not answer.
    Unknown { why: String },
}

/// What a rank does, has begun and has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Statement {
    /// Rank in the world.
    pub rank: u32,
    pub host: String,
    pub pid: u32,
    /// Grows with every call that makes progress.
    pub sequence: u64,
    /// For how many milliseconds the sequence has not grown. 0 in a statement that a rank makes because
    /// it is told to end: it may be moving.
    pub still_for: u64,
    pub activity: Activity,
    /// The calls that other threads are inside of. The activity is that of the thread which has initialised
    /// MPI.
    pub other_threads: Vec<CallFacts>,
    /// What has been started and is not known to be complete. The parts of `sendrecv` too.
    pub requests: Vec<RequestFacts>,
    pub comms: Vec<CommFacts>,
    /// The last calls that are complete, oldest first. A receive has the source and tag that it got.
    pub history: Vec<CallFacts>,
    /// A panic of this rank or an error that it ended with: where, and its text.
    pub failure: Option<String>,
    /// Whether several threads of this rank may make MPI calls: then it may do more than is said here.
    pub threads: bool,
    /// Whether all requests and communicators are in here: there is room for some hundreds.
    pub complete: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Activity {
    /// In the program's own code, since the last call of the history.
    Outside,
    /// In a call that has not returned. `WaitAll` and `WaitAny` wait for the requests that are marked.
    Inside(CallFacts),
    /// In the program's own code, which has looked so many times for something that did not come. What
    /// was looked at last: a request, or a probe.
    Polling { looks: u64, at: CallFacts },
}

/// A call, or a request that it has started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallFacts {
    /// The method: `send_object`.
    pub operation: String,
    pub kind: Kind,
    /// `CommFacts::id`, or 0 where no communicator is concerned.
    pub comm: u64,
    pub party: Party,
    /// The tag of a message, or `None` for any.
    pub tag: Option<i32>,
    /// Bytes of the message or of the block of a rank. For a receive the room for it; 0 where the length
    /// is free. `None` where ranks may give different lengths.
    pub bytes: Option<u64>,
    /// The Rust type of the elements, where there are any: `f64`.
    pub element: String,
    /// The reduction: `Sum`.
    pub reduction: String,
    /// The number of a collective call among those of its communicator, from 1.
    pub number: u32,
    /// `src/main.rs:12:9`.
    pub location: String,
}

/// The other side of a message, or the root of a collective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Party {
    None,
    /// The null process: nobody waits for it.
    Null,
    Any,
    Rank(u32),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RequestFacts {
    pub call: CallFacts,
    /// Whether the call that the rank is inside of waits for it.
    pub waited: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommFacts {
    /// The same on all members, and no other's.
    pub id: u64,
    pub name: String,
    /// Whether it is the library's own twin of a communicator of the user's.
    pub private: bool,
    /// Whether its handle was given away: messages on it may be unknown to us.
    pub foreign: bool,
    /// Whether this rank has freed it, and so does nothing on it any more.
    pub freed: bool,
    /// The rank in the world of each member.
    pub members: Vec<u32>,
    /// The members (ranks of this communicator) from which and to which neighbourhood collectives go, if
    /// it has a topology.
    pub neighbors: Vec<u32>,
    /// How many collective calls this rank has begun on it.
    pub collectives: u32,
    /// Whether these are the calls that the user has made: some of those are several, or none of these.
    pub counts_users_calls: bool,
    /// The members with which messages were exchanged.
    pub traffic: Vec<Traffic>,
}

/// Messages with one member, since the communicator was made: sums of [`message`]. The difference of what
/// one side has sent and the other has received is the sum of those that are on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// Rank in the communicator.
    pub peer: u32,
    /// Messages whose send has begun.
    pub sent: u64,
    /// Messages whose receive is complete.
    pub received: u64,
}

//! Communicators as the record knows them.

use std::collections::VecDeque;
use std::os::raw::c_int;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use phalanx_sys as ffi;

use super::message;

/// A communicator as an MPI call sees it.
pub struct Identity {
    pub handle: ffi::MPI_Comm,
    pub rank: usize,
    pub size: usize,
    id: u64,
    me: Weak<Identity>,
    messages: Messages,
    record: Arc<CommRecord>,
    /// Two duplicates for what strict mode tells: what a collective call is about to do, and what a
    /// message holds.
    pub strict: Option<Strict>,
}

/// The communicators on which strict mode talks.
#[derive(Clone, Copy)]
pub struct Strict {
    pub collectives: ffi::MPI_Comm,
    pub messages: ffi::MPI_Comm,
}

// SAFETY: a communicator handle is a plain value (an integer or the address of a library object);
// which thread may use it is checked at every call by the gate.
unsafe impl Send for Identity {}
// SAFETY: as above.
unsafe impl Sync for Identity {}

/// What stays known of a communicator when nobody holds it any more, until it is freed.
pub(crate) struct CommRecord {
    /// The same on all members, and no other's.
    pub id: u64,
    name: RwLock<String>,
    pub private: bool,
    /// The rank in the world of each member; empty where nobody watches, and then nothing is counted.
    pub members: Arc<[u32]>,
    pub location: &'static Location<'static>,
    /// Whether its handle was given to somebody else, whose messages are not counted here.
    foreign: AtomicBool,
    /// Whether the user made it and ought to free it.
    pub owned: bool,
    /// Whether this rank has freed it: what is counted here does not change any more.
    freed: AtomicBool,
    collectives: AtomicU32,
    /// Whether one of them was not a call of the user's, but a part of one, or one was not counted.
    has_steps: AtomicBool,
    /// Calls of all members that are made of messages.
    steps: AtomicU32,
    neighbors: RwLock<Vec<u32>>,
    messages: Messages,
}

/// Messages with one member: sums of [`message`](super::message) over those that were sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub sent: u64,
    pub received: u64,
}

/// The two sums of [`Counts`] for each member; none where nobody watches.
type Messages = Arc<[[AtomicU64; 2]]>;

fn no_messages(members: usize) -> Messages {
    (0..members).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect()
}

#[inline(always)]
fn count(messages: &Messages, peer: usize, which: usize, tag: i32) {
    let Some(sums) = messages.get(peer) else { return };
    let sum = &sums[which];
    // Several threads may lose a message here: where there are several, nothing is concluded from the
    // sums.
    sum.store(sum.load(Relaxed).wrapping_add(message(tag)), Relaxed);
}

/// Every communicator that was made and not freed.
static KNOWN: Mutex<Vec<Arc<CommRecord>>> = Mutex::new(Vec::new());

/// The communicators that were freed last, oldest first. Other ranks may still wait for something on
/// them, and what this rank has done there tells whether it can come.
static FREED: Mutex<VecDeque<Arc<CommRecord>>> = Mutex::new(VecDeque::new());

/// How many freed communicators are remembered, private duplicates included, and how many members they
/// have in all: a program may make and free communicators without end.
const MOST_FREED: usize = 64;
const MOST_FREED_MEMBERS: usize = 1 << 16;

/// The communicators that are not freed, in the order in which they were made.
pub(crate) fn known_comms() -> Vec<Arc<CommRecord>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The communicators that were freed and are still remembered, in the order in which they were freed.
pub(crate) fn freed_comms() -> Vec<Arc<CommRecord>> {
    FREED.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

impl Identity {
    pub(crate) fn new(
        handle: ffi::MPI_Comm,
        rank: usize,
        size: usize,
        strict: Option<Strict>,
        record: CommRecord,
    ) -> Arc<Self> {
        let record = Arc::new(record);
        if !record.members.is_empty() {
            KNOWN.lock().unwrap_or_else(PoisonError::into_inner).push(record.clone());
        }
        let (id, messages) = (record.id, record.messages.clone());
        Arc::new_cyclic(|me| {
            let me = me.clone();
            Identity { handle, rank, size, id, me, messages, record, strict }
        })
    }

    /// An owner of the same, for what outlives a call.
    pub fn shared(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    pub fn name(&self) -> String {
        self.record.name()
    }

    pub fn set_name(&self, name: String) {
        *self.record.name.write().unwrap_or_else(PoisonError::into_inner) = name;
    }

    #[inline(always)]
    pub fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn record(&self) -> &Arc<CommRecord> {
        &self.record
    }

    /// Counts a message to a member, when its send begins. The null process gets none.
    #[inline(always)]
    pub fn count_sent(&self, rank: c_int, tag: c_int) {
        if rank >= 0 {
            count(&self.messages, rank as usize, 0, tag);
        }
    }

    /// Counts a message from a member that has been received.
    #[inline(always)]
    pub fn count_received(&self, rank: c_int, tag: c_int) {
        if rank >= 0 {
            count(&self.messages, rank as usize, 1, tag);
        }
    }

    /// The number of the collective call that begins.
    #[inline(always)]
    pub fn next_collective(&self) -> u32 {
        let number = self.record.collectives.load(Relaxed).wrapping_add(1);
        self.record.collectives.store(number, Relaxed);
        number
    }

    /// Says that the collective calls which are counted here are not those that the user has made.
    #[inline]
    pub fn has_steps(&self) {
        self.record.has_steps.store(true, Relaxed);
    }

    /// Counts a call of all members that is made of messages.
    pub fn count_steps(&self) {
        self.has_steps();
        self.record.steps.fetch_add(1, Relaxed);
    }

    /// Says that others may use the handle.
    pub fn give_away(&self) {
        self.record.foreign.store(true, Relaxed);
    }

    /// Says which members neighbourhood collectives concern.
    pub fn set_neighbors(&self, neighbors: Vec<u32>) {
        *self.record.neighbors.write().unwrap_or_else(PoisonError::into_inner) = neighbors;
    }

    /// Says that the communicator is freed.
    pub fn freed(&self) {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = known.iter().position(|record| Arc::ptr_eq(record, &self.record)) else {
            return;
        };
        let record = known.remove(at);
        drop(known);
        record.freed.store(true, Relaxed);
        let mut freed = FREED.lock().unwrap_or_else(PoisonError::into_inner);
        freed.push_back(record);
        let members = |freed: &VecDeque<Arc<CommRecord>>| {
            freed.iter().map(|record| record.members.len()).sum::<usize>()
        };
        while freed.len() > MOST_FREED || members(&freed) > MOST_FREED_MEMBERS {
            freed.pop_front();
        }
    }

    /// Begins to count collective calls: those before were not the user's.
    pub fn count_collectives_anew(&self) {
        self.record.collectives.store(0, Relaxed);
        self.record.has_steps.store(false, Relaxed);
    }
}

impl CommRecord {
    pub fn new(
        id: u64,
        name: String,
        private: bool,
        owned: bool,
        members: Arc<[u32]>,
        location: &'static Location<'static>,
    ) -> Self {
        CommRecord {
            id,
            name: RwLock::new(name),
            private,
            messages: no_messages(members.len()),
            members,
            location,
            foreign: AtomicBool::new(false),
            owned,
            freed: AtomicBool::new(false),
            collectives: AtomicU32::new(0),
            has_steps: AtomicBool::new(false),
            steps: AtomicU32::new(0),
            neighbors: RwLock::new(Vec::new()),
        }
    }

    pub fn name(&self) -> String {
        self.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn neighbors(&self) -> Vec<u32> {
        self.neighbors.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn is_foreign(&self) -> bool {
        self.foreign.load(Relaxed)
    }

    pub fn is_freed(&self) -> bool {
        self.freed.load(Relaxed)
    }

    pub fn steps(&self) -> u32 {
        self.steps.load(Relaxed)
    }

    /// Whether the number of collective calls is that of the user's calls.
    pub fn counts_users_calls(&self) -> bool {
        !self.has_steps.load(Relaxed)
    }

    pub fn collectives(&self) -> u32 {
        self.collectives.load(Relaxed)
    }

    /// The messages with one member.
    pub fn counts(&self, peer: usize) -> Counts {
        let Some([sent, received]) = self.messages.get(peer) else { return Counts::default() };
        Counts { sent: sent.load(Relaxed), received: received.load(Relaxed) }
    }

    /// The rank here of a rank of the world.
    pub fn rank_of(&self, world: u32) -> Option<usize> {
        self.members.iter().position(|&member| member == world)
    }
}

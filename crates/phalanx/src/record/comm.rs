//! Communicators as the record knows them.

use std::os::raw::c_int;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use phalanx_sys as ffi;

use super::tag_mark;

/// A communicator as an MPI call sees it.
pub struct Identity {
    pub handle: ffi::MPI_Comm,
    pub rank: usize,
    pub size: usize,
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
    collectives: AtomicU32,
    neighbors: RwLock<Vec<u32>>,
    messages: Messages,
}

/// Messages with one member: how many, and the sum of the marks of their tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub sent: u64,
    pub sent_marks: u64,
    pub received: u64,
    pub received_marks: u64,
}

/// Four numbers for each member, as in [`Counts`].
struct Messages(Box<[AtomicU64]>);

static SEVERAL_THREADS: AtomicBool = AtomicBool::new(false);

/// Says that several threads may count at the same time.
pub(crate) fn count_from_several_threads() {
    SEVERAL_THREADS.store(true, Relaxed);
}

impl Messages {
    fn new(members: usize) -> Self {
        // Large tables come as untouched pages of the operating system.
        let numbers = Box::into_raw(vec![0_u64; 4 * members].into_boxed_slice());
        // SAFETY: an `AtomicU64` has the size, alignment and bit patterns of a `u64` on all platforms
        // on which the two are aligned alike, which is asserted below.
        const { assert!(align_of::<AtomicU64>() == align_of::<u64>()) };
        Messages(unsafe { Box::from_raw(numbers as *mut [AtomicU64]) })
    }

    #[inline(always)]
    fn count(&self, peer: usize, first: usize, tag: i32) {
        let at = 4 * peer + first;
        let Some([number, marks]) = self.0.get(at..at + 2) else { return };
        if SEVERAL_THREADS.load(Relaxed) {
            number.fetch_add(1, Relaxed);
            marks.fetch_add(tag_mark(tag), Relaxed);
        } else {
            number.store(number.load(Relaxed) + 1, Relaxed);
            marks.store(marks.load(Relaxed).wrapping_add(tag_mark(tag)), Relaxed);
        }
    }
}

/// Every communicator that was made and not freed.
static KNOWN: Mutex<Vec<Arc<CommRecord>>> = Mutex::new(Vec::new());

/// The communicators that are not freed, in the order in which they were made.
pub(crate) fn known_comms() -> Vec<Arc<CommRecord>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Identity {
    pub(crate) fn new(handle: ffi::MPI_Comm, rank: usize, size: usize, record: CommRecord) -> Self {
        let record = Arc::new(record);
        if !record.members.is_empty() {
            KNOWN.lock().unwrap_or_else(PoisonError::into_inner).push(record.clone());
        }
        Identity { handle, rank, size, record, strict: None }
    }

    pub fn name(&self) -> String {
        self.record.name()
    }

    pub fn set_name(&self, name: String) {
        *self.record.name.write().unwrap_or_else(PoisonError::into_inner) = name;
    }

    #[inline(always)]
    pub fn id(&self) -> u64 {
        self.record.id
    }

    pub(crate) fn record(&self) -> &Arc<CommRecord> {
        &self.record
    }

    /// Counts a message to a member, when its send begins. The null process gets none.
    #[inline(always)]
    pub fn count_sent(&self, rank: c_int, tag: c_int) {
        if rank >= 0 {
            self.record.messages.count(rank as usize, 0, tag);
        }
    }

    /// Counts a message from a member that has been received.
    #[inline(always)]
    pub fn count_received(&self, rank: c_int, tag: c_int) {
        if rank >= 0 {
            self.record.messages.count(rank as usize, 2, tag);
        }
    }

    /// The number of the collective call that begins.
    #[inline(always)]
    pub fn next_collective(&self) -> u32 {
        let number = self.record.collectives.load(Relaxed).wrapping_add(1);
        self.record.collectives.store(number, Relaxed);
        number
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
        known.retain(|record| !Arc::ptr_eq(record, &self.record));
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
            messages: Messages::new(members.len()),
            members,
            location,
            foreign: AtomicBool::new(false),
            owned,
            collectives: AtomicU32::new(0),
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

    pub fn collectives(&self) -> u32 {
        self.collectives.load(Relaxed)
    }

    /// The messages with one member.
    pub fn counts(&self, peer: usize) -> Counts {
        let at = |index: usize| self.messages.0[4 * peer + index].load(Relaxed);
        Counts { sent: at(0), sent_marks: at(1), received: at(2), received_marks: at(3) }
    }

    /// The rank here of a rank of the world.
    pub fn rank_of(&self, world: u32) -> Option<usize> {
        self.members.iter().position(|&member| member == world)
    }
}

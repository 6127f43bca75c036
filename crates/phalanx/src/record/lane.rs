//! The last calls of a thread.
//!
//! A lane is a ring of entries and a sequence number, which is odd while the thread is inside a call.
//! Only the thread writes it, with plain stores and without a clock; the watch reads it from another
//! thread, and tells by the sequence number whether what it has read belongs together.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed,
};
use std::sync::{Mutex, PoisonError};

use super::{Allowed, Call, Kind, Name, Operation, Peer, What, no_name};

/// Calls that a lane remembers.
pub(crate) const HISTORY: usize = 64;

/// One call.
#[repr(C, align(64))]
pub(crate) struct Entry {
    operation: AtomicPtr<Operation>,
    location: AtomicPtr<Location<'static>>,
    comm: AtomicU64,
    bytes: AtomicU64,
    element: AtomicUsize,
    reduction: AtomicU64,
    /// Peer above, tag below.
    address: AtomicU64,
    /// Number above, kind below.
    rest: AtomicU64,
}

/// Two numbers as one, so that noting them is one store.
#[inline(always)]
const fn pack(above: i32, below: i32) -> u64 {
    (above as u32 as u64) << 32 | below as u32 as u64
}

#[inline(always)]
const fn unpack(both: u64) -> (i32, i32) {
    ((both >> 32) as i32, both as i32)
}

/// Where a peer is not a rank.
const NO_PEER: i32 = -1;
const ANY_SOURCE: i32 = -2;
const NULL: i32 = -3;
const NO_TAG: i32 = -1;

/// What an entry says, as values.
#[derive(Clone, Copy)]
pub(crate) struct Noted {
    pub operation: &'static Operation,
    pub location: &'static Location<'static>,
    pub comm: u64,
    pub peer: Peer,
    pub tag: Option<i32>,
    pub what: What,
}

impl Entry {
    pub const fn new() -> Self {
        Entry {
            operation: AtomicPtr::new(ptr::null_mut()),
            location: AtomicPtr::new(ptr::null_mut()),
            comm: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            element: AtomicUsize::new(0),
            reduction: AtomicU64::new(0),
            address: AtomicU64::new(pack(NO_PEER, NO_TAG)),
            rest: AtomicU64::new(0),
        }
    }

    /// Plain stores: this is on the path of every message.
    #[inline(always)]
    pub fn note(&self, call: &Call<'_>, what: &What) {
        let peer = match call.peer {
            Peer::To(rank) | Peer::From(rank) | Peer::Root(rank) => rank as i32,
            Peer::None => NO_PEER,
            Peer::AnySource => ANY_SOURCE,
            Peer::Null => NULL,
        };
        self.operation.store(ptr::from_ref(call.operation).cast_mut(), Relaxed);
        self.location.store(ptr::from_ref(call.location).cast_mut(), Relaxed);
        self.comm.store(call.comm.map_or(0, |comm| comm.id()), Relaxed);
        self.bytes.store(what.bytes, Relaxed);
        self.element.store(what.element as usize, Relaxed);
        if what.kind.is_collective() {
            self.reduction.store(what.reduction, Relaxed);
        }
        self.address.store(pack(peer, call.tag.unwrap_or(NO_TAG)), Relaxed);
        self.rest.store(pack(what.number as i32, what.kind as i32), Relaxed);
    }

    /// What was noted, or nothing where nothing was. Whether the parts belong together is for the
    /// caller to find out: the entry may be written meanwhile.
    pub fn read(&self) -> Option<Noted> {
        let operation = self.operation.load(Relaxed);
        let location = self.location.load(Relaxed);
        // SAFETY: both pointers are null or were made from `&'static` references in `note`.
        let (operation, location) = unsafe { (operation.as_ref()?, location.as_ref()?) };
        let (number, kind) = unpack(self.rest.load(Relaxed));
        let (peer, tag) = unpack(self.address.load(Relaxed));
        let kind = Kind::ALL.get(kind as usize).copied()?;
        let peer = match (peer, kind) {
            (ANY_SOURCE, _) => Peer::AnySource,
            (NULL, _) => Peer::Null,
            (NO_PEER, _) => Peer::None,
            (rank, Kind::Receive | Kind::Probe) => Peer::From(rank as usize),
            (rank, kind) if kind.is_collective() => Peer::Root(rank as usize),
            (rank, _) => Peer::To(rank as usize),
        };
        let reduction = if kind.is_collective() { self.reduction.load(Relaxed) } else { 0 };
        let what = What {
            kind,
            bytes: self.bytes.load(Relaxed),
            element: name(self.element.load(Relaxed)),
            reduction,
            number: number as u32,
        };
        Some(Noted {
            operation,
            location,
            comm: self.comm.load(Relaxed),
            peer,
            tag: (tag != NO_TAG).then_some(tag),
            what,
        })
    }
}

fn name(address: usize) -> Name {
    if address == 0 {
        return no_name;
    }
    // SAFETY: what is not zero was made of a `Name` in `note`, in this process, whose private memory entries
    // lie in.
    unsafe { std::mem::transmute::<usize, Name>(address) }
}

/// The calls of one thread.
#[repr(C, align(64))]
pub(crate) struct Lane {
    /// Twice the number of calls that are complete, and one more inside a call.
    sequence: AtomicU64,
    /// Where other processes see it. It is never read here: any of them may write there.
    shown: &'static AtomicU64,
    /// How many looks have found nothing after the call with that sequence number.
    looks: AtomicU64,
    looks_after: AtomicU64,
    /// The sequence number of the last call of which all requests that it waits for are marked.
    marked: AtomicU64,
    /// What was looked at last.
    look: Entry,
    ring: [Entry; HISTORY],
}

impl Lane {
    pub const fn new(shown: &'static AtomicU64) -> Self {
        Lane {
            sequence: AtomicU64::new(0),
            shown,
            looks: AtomicU64::new(0),
            looks_after: AtomicU64::new(0),
            marked: AtomicU64::new(0),
            look: Entry::new(),
            ring: [const { Entry::new() }; HISTORY],
        }
    }

    #[inline(always)]
    fn entry(&self, sequence: u64) -> &Entry {
        &self.ring[(sequence / 2) as usize % HISTORY]
    }

    #[inline(always)]
    fn set_sequence(&self, sequence: u64) {
        self.sequence.store(sequence, Ordering::Release);
        self.shown.store(sequence, Ordering::Release);
    }

    /// Before anything else of the lane is read.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Whether the lane is as it was when the sequence was read: to be asked when all is read.
    pub fn is_still_at(&self, sequence: u64) -> bool {
        std::sync::atomic::fence(Ordering::Acquire);
        self.sequence.load(Relaxed) == sequence
    }

    /// The call that the thread is inside of.
    pub fn current(&self, sequence: u64) -> Option<Noted> {
        if sequence % 2 == 1 { self.entry(sequence).read() } else { None }
    }

    /// Complete calls, oldest first.
    pub fn history(&self, sequence: u64) -> Vec<Noted> {
        let complete = sequence / 2;
        let first = complete.saturating_sub(HISTORY as u64 - 1);
        (first..complete).filter_map(|call| self.entry(2 * call).read()).collect()
    }

    /// Whether all requests that the call waits for are marked. A thread may lose its processor before.
    pub fn is_marked(&self, sequence: u64) -> bool {
        self.marked.load(Relaxed) == sequence
    }

    /// How often the thread has looked for something in vain since its last call, and for what.
    pub fn looks(&self) -> (u64, Option<Noted>) {
        let current = self.looks_after.load(Relaxed) == self.sequence.load(Relaxed);
        let looks = if current { self.looks.load(Relaxed) } else { 0 };
        (looks, if looks > 0 { self.look.read() } else { None })
    }
}

/// The lane of the thread that initialises MPI until it is watched, and where nobody watches.
static FIRST: Lane = Lane::new(&NOT_SHOWN);
static NOT_SHOWN: AtomicU64 = AtomicU64::new(0);

static WATCHED: AtomicBool = AtomicBool::new(false);

struct Lanes {
    all: Vec<&'static Lane>,
    free: Vec<&'static Lane>,
}

static LANES: Mutex<Lanes> = Mutex::new(Lanes { all: Vec::new(), free: Vec::new() });

thread_local! {
    static LANE: Cell<&'static Lane> = const { Cell::new(&FIRST) };
    static LEASE: Lease = const { Lease(Cell::new(None)) };
}

/// Gives the lane of a thread that ends to another.
struct Lease(Cell<Option<&'static Lane>>);

impl Drop for Lease {
    fn drop(&mut self) {
        LANE.set(&FIRST);
        if let Some(lane) = self.0.take() {
            LANES.lock().unwrap_or_else(PoisonError::into_inner).free.push(lane);
        }
    }
}

/// From now on the calls of this thread, which has initialised MPI, go to the lane that is returned, and those
/// of other threads to lanes of their own. Its sequence number is shown to other processes.
pub(crate) fn activate(shown: &'static AtomicU64) -> &'static Lane {
    let lane: &'static Lane = Box::leak(Box::new(Lane::new(shown)));
    let mut lanes = LANES.lock().unwrap_or_else(PoisonError::into_inner);
    lanes.all.push(lane);
    LANE.set(lane);
    WATCHED.store(true, Ordering::Release);
    lane
}

/// The watch is over.
pub(crate) fn retire() {
    WATCHED.store(false, Ordering::Release);
    LANE.set(&FIRST);
}

pub(crate) fn is_watched() -> bool {
    WATCHED.load(Ordering::Acquire)
}

/// All lanes, that of the thread which has initialised MPI first.
pub(crate) fn lanes() -> Vec<&'static Lane> {
    LANES.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
}

/// A lane for a thread that has none and may call. To have more lanes than one means that several threads
/// call: then the watch proves nothing.
#[cold]
pub(crate) fn join(_: Allowed<'_>) {
    if !is_watched() || !ptr::eq(LANE.get(), &FIRST) {
        return;
    }
    let mut lanes = LANES.lock().unwrap_or_else(PoisonError::into_inner);
    let lane = lanes.free.pop().unwrap_or_else(|| {
        // Nobody else sees it; a word that threads shared would cost them time.
        let shown = Box::leak(Box::new(AtomicU64::new(0)));
        let lane: &'static Lane = Box::leak(Box::new(Lane::new(shown)));
        lanes.all.push(lane);
        lane
    });
    drop(lanes);
    if LEASE.try_with(|lease| lease.0.set(Some(lane))).is_ok() {
        LANE.set(lane);
    }
}

/// The note of a call that has begun.
#[derive(Clone, Copy)]
pub(crate) struct Noting {
    lane: &'static Lane,
    sequence: u64,
}

/// Notes that a call begins.
#[inline(always)]
pub(crate) fn enter(call: &Call<'_>, what: &What) -> Noting {
    let lane = LANE.get();
    let sequence = lane.sequence.load(Relaxed);
    // Inside a wait of several steps, the steps are no calls of their own.
    if sequence.is_multiple_of(2) {
        lane.entry(sequence).note(call, what);
        lane.set_sequence(sequence + 1);
    }
    Noting { lane, sequence }
}

/// Notes that a call is over.
#[inline(always)]
pub(crate) fn leave(noting: Noting) {
    if noting.sequence.is_multiple_of(2) {
        noting.lane.set_sequence(noting.sequence + 2);
    }
}

/// Notes something that is over: the thread is never seen inside of it.
#[inline(always)]
pub(crate) fn remember(_: Allowed<'_>, call: &Call<'_>, what: &What) {
    let lane = LANE.get();
    let sequence = lane.sequence.load(Relaxed);
    if sequence.is_multiple_of(2) {
        lane.entry(sequence).note(call, what);
        lane.set_sequence(sequence + 2);
    }
}

/// Notes that a look has found nothing.
#[inline(always)]
pub(crate) fn looked(call: &Call<'_>, what: &What) {
    let lane = LANE.get();
    let sequence = lane.sequence.load(Relaxed);
    if sequence.is_multiple_of(2) {
        lane.look.note(call, what);
        let before = lane.looks_after.load(Relaxed) == sequence;
        let looks = if before { lane.looks.load(Relaxed) + 1 } else { 1 };
        lane.looks.store(looks, Relaxed);
        lane.looks_after.store(sequence, Relaxed);
    }
}

/// Notes that all requests which the call of this thread waits for are marked.
#[inline(always)]
pub(crate) fn marked() {
    let lane = LANE.get();
    lane.marked.store(lane.sequence.load(Relaxed), Relaxed);
}

/// The sequence number of the call that this thread is inside of.
#[inline(always)]
pub(crate) fn inside() -> Option<u64> {
    let sequence = LANE.get().sequence.load(Relaxed);
    (sequence % 2 == 1).then_some(sequence)
}

/// A wait that is made of several looks: the lane shows one call until it is dropped.
pub(crate) struct Waiting(Noting);

pub(crate) fn waiting(call: &Call<'_>, what: &What) -> Waiting {
    Waiting(enter(call, what))
}

impl Drop for Waiting {
    fn drop(&mut self) {
        leave(self.0);
    }
}

/// How many calls of any thread were noted, begun or complete.
pub(crate) fn calls() -> u64 {
    let lanes = lanes();
    // Where nobody watches all threads share one.
    let all = if lanes.is_empty() { vec![&FIRST] } else { lanes };
    all.into_iter().map(Lane::sequence).fold(0, u64::wrapping_add)
}

/// The last MPI call of this process, for the report of a failing rank.
pub(crate) struct LastCall {
    noted: Noted,
    inside: bool,
}

pub(crate) fn last_call() -> Option<LastCall> {
    let lanes = lanes();
    let lane = lanes.first().copied().unwrap_or(&FIRST);
    let sequence = lane.sequence();
    let is_users = |it: &Noted| !super::is_internal(it.location);
    if let Some(noted) = lane.current(sequence).filter(is_users) {
        return Some(LastCall { noted, inside: true });
    }
    let noted = lane.history(sequence).into_iter().rfind(is_users)?;
    Some(LastCall { noted, inside: false })
}

impl fmt::Display for LastCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.inside { "inside" } else { "last MPI call:" };
        write!(f, "{when} {}", self.noted.operation.name)?;
        if let Peer::To(rank) | Peer::From(rank) | Peer::Root(rank) = self.noted.peer {
            write!(f, " with rank {rank}")?;
        }
        write!(f, " at {}", self.noted.location)
    }
}

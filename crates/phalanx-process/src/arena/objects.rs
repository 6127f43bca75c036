//! The table of all objects: what each is, where it lies, and which processes hold it.
//!
//! A bit for each process says whether it has handles to the object; a count says how many handles are on their
//! way. When there are neither, the object ends. Whoever cleans up after a process clears its bits.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::processes::MAX_PROCESSES;
use super::{Arena, Place, refused};
use crate::error::Result;
use crate::sys::robust::RobustMutex;

/// Objects are looked up in chunks of this many.
const CHUNK: usize = 1024;
const CHUNKS: usize = 1024;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Queue = 0,
    PipeEnd = 1,
    Lock = 2,
    RwLock = 3,
    Semaphore = 4,
    Condition = 5,
    Event = 6,
    Barrier = 7,
    Value = 8,
    List = 9,
    Map = 10,
    Pool = 11,
    ReentrantLock = 12,
    FairLock = 13,
    Array = 14,
    Atomic = 15,
    SortedQueue = 16,
}

/// With room for more.
const KINDS: usize = 32;

/// A structure of shared memory.
///
/// # Safety
/// It is `repr(C)`, zeros are a valid value, its alignment is at most 64, and it is changed only through atomics
/// and [`RobustMutex`]es.
pub unsafe trait Shared: Sync + Sized + 'static {
    const KIND: Kind;

    /// Gives back what belongs to the object beside this structure. Nobody has a handle to it any more.
    fn destroy(&self, arena: &Arena);

    /// Whether another object can be made in the memory of this one, to which nobody has a handle any more. A thread
    /// that has leaked the guard of a lock holds the lock for as long as it lives.
    fn is_free(&self) -> bool {
        true
    }
}

#[repr(C, align(64))]
struct Entry {
    /// Twice the generation, and one more while the object lives.
    state: AtomicU64,
    body: AtomicU64,
    fingerprint: AtomicU64,
    next_free: AtomicU32,
    kind: AtomicU32,
    /// Handles that were sent and not received yet.
    under_way: AtomicU32,
    /// Changes with each new holder and each handle that is sent, so that nobody misses one that moves.
    gained: AtomicU32,
    holders: [AtomicU64; MAX_PROCESSES / 64],
}

#[repr(C)]
pub struct Table {
    lock: RobustMutex,
    chunks: [AtomicU64; CHUNKS],
    /// Entries that were ever used.
    used: AtomicU32,
    /// The first free entry of each kind, by its number plus one. An entry, and the memory of its object, serve one
    /// kind only: locks stay locks.
    free: [AtomicU32; KINDS],
}

/// Names an object in all processes of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Name {
    pub index: u32,
    pub generation: u64,
}

impl Table {
    pub fn init(&self) -> io::Result<()> {
        // SAFETY: the memory was just created.
        unsafe { self.lock.init() }
    }
}

impl Entry {
    fn is(&self, generation: u64) -> bool {
        self.state.load(Ordering::Acquire) == 2 * generation + 1
    }

    fn hold(&self, process: u32) {
        self.holders[process as usize / 64].fetch_or(1 << (process % 64), Ordering::AcqRel);
        self.gained.fetch_add(1, Ordering::AcqRel);
    }

    fn send(&self) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        self.gained.fetch_add(1, Ordering::AcqRel);
    }

    fn let_go(&self, process: u32) -> bool {
        let bit = 1 << (process % 64);
        self.holders[process as usize / 64].fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Whether anybody has a handle, or one is under way. A handle goes on before the one that it was made of goes,
    /// so if nothing was gained while everything was looked at, nothing was missed.
    fn is_held(&self) -> bool {
        loop {
            let before = self.gained.load(Ordering::Acquire);
            if self.under_way.load(Ordering::Acquire) != 0
                || self.holders.iter().any(|bits| bits.load(Ordering::Acquire) != 0)
            {
                return true;
            }
            if self.gained.load(Ordering::Acquire) == before {
                return false;
            }
        }
    }
}

impl Arena {
    fn entry(&self, index: u32) -> Result<Option<&Entry>> {
        let table = &self.known_root().table;
        if index >= table.used.load(Ordering::Acquire) {
            return Ok(None);
        }
        let chunk = table.chunks[index as usize / CHUNK].load(Ordering::Acquire);
        let start = self.address(Place(chunk), size_of::<Entry>() * CHUNK)?.cast::<Entry>();
        // SAFETY: a chunk has that many entries, of which zeros are a valid value; chunks stay for ever.
        Ok(Some(unsafe { start.add(index as usize % CHUNK).as_ref() }))
    }

    /// Makes an object. `init` finds the memory as the last object of this kind left it, or zeroed.
    pub(super) fn create<T: Shared>(
        &self,
        fingerprint: u64,
        init: impl FnOnce(&T) -> Result<()>,
    ) -> Result<(Name, Place)> {
        let table = &self.known_root().table;
        let index = {
            let (_held, _) = table.lock.hold();
            let free = &table.free[T::KIND as usize];
            loop {
                let Some(index) = free.load(Ordering::Relaxed).checked_sub(1) else {
                    break self.new_entry::<T>(table)?;
                };
                let entry = self.entry(index)?.expect("a free entry was used");
                let body = Place(entry.body.load(Ordering::Relaxed));
                // SAFETY: the entry has memory for this kind, in which an object was.
                let is_free = unsafe { self.structure::<T>(body)? }.is_free();
                crash_point!("object-take");
                free.store(entry.next_free.load(Ordering::Relaxed), Ordering::Release);
                if is_free {
                    break index;
                }
            }
        };
        let entry = self.entry(index)?.expect("it was just made");
        let body = Place(entry.body.load(Ordering::Relaxed));
        // SAFETY: the entry has memory for this kind, which nobody else uses now.
        if let Err(error) = unsafe { self.structure::<T>(body) }.and_then(init) {
            self.put_back(index, entry, T::KIND);
            return Err(error);
        }
        crash_point!("object-create");
        entry.fingerprint.store(fingerprint, Ordering::Relaxed);
        entry.under_way.store(0, Ordering::Relaxed);
        entry.hold(self.me());
        let generation = entry.state.load(Ordering::Relaxed) / 2;
        crash_point!("object-created");
        entry.state.store(2 * generation + 1, Ordering::Release);
        Ok((Name { index, generation }, body))
    }

    fn new_entry<T: Shared>(&self, table: &Table) -> Result<u32> {
        let index = table.used.load(Ordering::Relaxed);
        let chunk = table.chunks.get(index as usize / CHUNK).ok_or_else(|| {
            refused(
                "shared memory",
                &io::Error::other(format!("there are {} objects already", CHUNK * CHUNKS)),
            )
        })?;
        if chunk.load(Ordering::Relaxed) == 0 {
            // New memory of the file is zeroed; what was used before is not.
            let place = self.take(size_of::<Entry>() * CHUNK)?;
            let start = self.address(place, size_of::<Entry>() * CHUNK)?;
            // SAFETY: the block is new.
            unsafe { start.write_bytes(0, size_of::<Entry>() * CHUNK) };
            chunk.store(place.0, Ordering::Release);
        }
        let body = self.take(size_of::<T>())?;
        let memory = self.address(body, size_of::<T>())?;
        // SAFETY: the block is new.
        unsafe { memory.write_bytes(0, size_of::<T>()) };
        crash_point!("object-new");
        table.used.store(index + 1, Ordering::Release);
        let entry = self.entry(index)?.expect("it was just counted");
        crash_point!("object-new-body");
        entry.body.store(body.0, Ordering::Relaxed);
        entry.kind.store(T::KIND as u32, Ordering::Release);
        Ok(index)
    }

    fn put_back(&self, index: u32, entry: &Entry, kind: Kind) {
        let table = &self.known_root().table;
        let (_held, _) = table.lock.hold();
        let free = &table.free[kind as usize];
        crash_point!("object-give");
        entry.next_free.store(free.load(Ordering::Relaxed), Ordering::Relaxed);
        crash_point!("object-give-free");
        free.store(index + 1, Ordering::Release);
    }

    /// Where an object is that the caller knows to live.
    pub fn locate(&self, name: Name) -> Result<Option<Place>> {
        let found = self.entry(name.index)?.filter(|entry| entry.is(name.generation));
        Ok(found.map(|entry| Place(entry.body.load(Ordering::Relaxed))))
    }

    /// Where a living object is, if it is of this kind and type.
    pub(super) fn find(&self, name: Name, kind: Kind, fingerprint: u64) -> Result<Option<Place>> {
        let found = self.entry(name.index)?.filter(|entry| {
            entry.is(name.generation)
                && entry.kind.load(Ordering::Relaxed) == kind as u32
                && entry.fingerprint.load(Ordering::Relaxed) == fingerprint
        });
        Ok(found.map(|entry| Place(entry.body.load(Ordering::Relaxed))))
    }

    /// This or another process has handles to the object from now on. The caller knows that it lives.
    pub(super) fn hold(&self, name: Name, process: u32) -> Result<()> {
        if let Some(entry) = self.entry(name.index)? {
            entry.hold(process);
        }
        Ok(())
    }

    /// Counts handles under way.
    pub fn count_under_way(&self, name: Name, more: bool) -> Result<()> {
        if let Some(entry) = self.entry(name.index)?.filter(|entry| entry.is(name.generation)) {
            if more {
                crash_point!("object-send");
                entry.send();
            } else {
                crash_point!("object-receive");
                entry.under_way.fetch_sub(1, Ordering::AcqRel);
            }
        }
        Ok(())
    }

    /// A process has no handle any more. Says whether it had one: then the object may have to end.
    pub(super) fn let_go(&self, name: Name, process: u32) -> bool {
        let Ok(Some(entry)) = self.entry(name.index) else { return false };
        entry.is(name.generation) && entry.let_go(process)
    }

    /// Ends an object to which nobody has a handle.
    pub fn end_if_unused(&self, name: Name, destroy: impl FnOnce(Kind, Place)) {
        if let Ok(Some(entry)) = self.entry(name.index) {
            self.end_entry(name.index, entry, destroy);
        }
    }

    fn end_entry(&self, index: u32, entry: &Entry, destroy: impl FnOnce(Kind, Place)) {
        crash_point!("object-end");
        let state = entry.state.load(Ordering::Acquire);
        if state.is_multiple_of(2) || entry.is_held() {
            return;
        }
        if entry
            .state
            .compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            crash_point!("object-ended");
            let Some(kind) = kind_of(entry.kind.load(Ordering::Relaxed)) else { return };
            destroy(kind, Place(entry.body.load(Ordering::Relaxed)));
            self.put_back(index, entry, kind);
        }
    }

    /// A process is gone, and with it all of its handles.
    pub fn forget_process(&self, process: u32, destroy: impl Fn(Kind, Place)) {
        let used = self.known_root().table.used.load(Ordering::Acquire);
        let forget = |is_of_this_pass: &dyn Fn(u32) -> bool| {
            for index in 0..used {
                if let Ok(Some(entry)) = self.entry(index)
                    && is_of_this_pass(entry.kind.load(Ordering::Relaxed))
                {
                    entry.let_go(process);
                    // Also those that it has let go and, killed in between, has not ended.
                    self.end_entry(index, entry, &destroy);
                }
            }
        };
        // The end of a pipe closes its channels, which the process still holds then.
        forget(&|kind| kind == Kind::PipeEnd as u32);
        forget(&|kind| kind != Kind::PipeEnd as u32);
    }

    /// Living objects, for tests: everything that is not used any more must go.
    pub fn objects(&self) -> usize {
        let used = self.known_root().table.used.load(Ordering::Acquire);
        (0..used)
            .filter_map(|index| self.entry(index).ok().flatten())
            .filter(|entry| entry.state.load(Ordering::Acquire) % 2 == 1)
            .count()
    }
}

fn kind_of(number: u32) -> Option<Kind> {
    use Kind::{
        Array, Atomic, Barrier, Condition, Event, FairLock, List, Lock, Map, PipeEnd, Pool, Queue,
        ReentrantLock, RwLock, Semaphore, SortedQueue, Value,
    };
    [
        Queue,
        PipeEnd,
        Lock,
        RwLock,
        Semaphore,
        Condition,
        Event,
        Barrier,
        Value,
        List,
        Map,
        Pool,
        ReentrantLock,
        FairLock,
        Array,
        Atomic,
        SortedQueue,
    ]
    .into_iter()
    .find(|kind| *kind as u32 == number)
}

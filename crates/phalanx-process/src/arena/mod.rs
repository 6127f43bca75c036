//! The memory that a tree of processes shares: blocks of bytes, the processes, and the objects in it.
//!
//! | module | what it has |
//! |---|---|
//! | `segments` | the file, mapped piece by piece |
//! | `blocks` | blocks of memory, taken and given back |
//! | `processes` | a slot for each living process |
//! | `objects` | a table of all objects, and who holds them |
//! | `handle` | objects as values: counted here, sent to other processes |
//!
//! Every change is completed by one store. A process that dies between two instructions leaves either the state
//! before or the state after it; at worst a block stays taken until the tree ends.

mod blocks;
mod handle;
mod objects;
mod processes;
mod segments;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::memory::Memory;
use blocks::Blocks;
use objects::Table;
use segments::Segments;

pub use handle::{
    Handle, Object, Transit, fingerprint, noting_sent, sent_since, sent_until_now, with_transit,
};
pub use objects::{Kind, Name, Shared};
pub use processes::{Ended, MAX_PROCESSES, ProcessSlot, State};
pub use segments::Place;

/// What is at the beginning of the memory.
#[repr(C)]
struct Root {
    magic: AtomicU64,
    /// Tells trees of processes apart.
    tree: AtomicU64,
    /// Numbers for the default names of processes.
    named: AtomicU32,
    blocks: Blocks,
    table: Table,
    processes: [ProcessSlot; MAX_PROCESSES],
}

const MAGIC: u64 = u64::from_le_bytes(*b"phalanx1");

/// The shared memory, as this process sees it.
pub struct Arena {
    segments: Segments,
    /// The slot of this process.
    me: u32,
    pid: u32,
}

static ARENA: OnceLock<Arena> = OnceLock::new();

/// The memory of this tree of processes. The first call in its root creates it.
pub fn arena() -> Result<&'static Arena> {
    match ARENA.get() {
        Some(arena) => Ok(arena),
        None => create().map_err(|error| refused("shared memory", &error)),
    }
}

/// The memory, where there is an object in it.
pub fn existing() -> &'static Arena {
    ARENA.get().expect("there is no object without it")
}

pub fn refused(operation: &'static str, error: &io::Error) -> Error {
    Error::new(ErrorKind::System, operation, error.to_string())
}

#[cold]
fn create() -> io::Result<&'static Arena> {
    static CREATING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = CREATING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(arena) = ARENA.get() {
        return Ok(arena);
    }
    let arena = Arena::of(Memory::create()?, 0);
    arena.segments.grow_for(0)?;
    let root = arena.root()?;
    root.blocks.init(size_of::<Root>() as u64)?;
    root.table.init()?;
    root.tree.store(RandomState::new().build_hasher().finish(), Ordering::Relaxed);
    root.magic.store(MAGIC, Ordering::Release);
    root.processes[0].begin_root(arena.pid)?;
    Ok(ARENA.get_or_init(|| arena))
}

/// Takes part in the memory of a parent.
pub fn take_part(memory: Memory, me: u32) -> io::Result<&'static Arena> {
    let arena = Arena::of(memory, me);
    let root = arena.root()?;
    if root.magic.load(Ordering::Acquire) != MAGIC || me as usize >= MAX_PROCESSES {
        return Err(io::Error::other("the parent's shared memory is not what it should be"));
    }
    Ok(ARENA.get_or_init(|| arena))
}

impl Arena {
    fn of(memory: Memory, me: u32) -> Arena {
        Arena { segments: Segments::new(memory), me, pid: std::process::id() }
    }

    fn root(&self) -> io::Result<&Root> {
        let address = self.segments.address(Place(0), size_of::<Root>())?;
        // SAFETY: the beginning of the memory is a `Root` in every process, of which zeros are a valid value, and
        // all of which is changed through atomics and locks only.
        Ok(unsafe { address.cast().as_ref() })
    }

    /// The root of a memory that is in use, and therefore mapped.
    fn known_root(&self) -> &Root {
        self.root().expect("the first segment is mapped")
    }

    /// For a child: the descriptor of the memory.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.segments.fd()
    }

    /// Which tree of processes this is.
    pub fn tree(&self) -> u64 {
        self.known_root().tree.load(Ordering::Relaxed)
    }

    /// The number of the slot of this process.
    pub fn me(&self) -> u32 {
        self.me
    }

    /// The root of the tree has no parent in it.
    pub fn is_root(&self) -> bool {
        self.me == 0
    }

    /// A copy of this process that was made without this library shares its slot, and must not act.
    pub fn is_mine(&self) -> bool {
        self.pid == std::process::id()
    }

    /// The next number for a default name.
    pub fn next_name(&self) -> u32 {
        self.known_root().named.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn process(&self, slot: u32) -> &ProcessSlot {
        &self.known_root().processes[slot as usize]
    }

    pub fn processes(&self) -> impl Iterator<Item = (u32, &ProcessSlot)> {
        (0..).zip(&self.known_root().processes)
    }

    /// Takes a block of at least this many bytes.
    pub fn take(&self, bytes: usize) -> Result<Place> {
        self.known_root()
            .blocks
            .take(&self.segments, bytes)
            .map_err(|error| refused("shared memory", &error))
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// It was taken with this length, and nobody uses it.
    pub unsafe fn give(&self, place: Place, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.known_root().blocks.give(&self.segments, place, bytes) }
    }

    /// Where a block lies in this process.
    pub fn address(&self, place: Place, bytes: usize) -> Result<NonNull<u8>> {
        self.segments.address(place, bytes).map_err(|error| refused("shared memory", &error))
    }

    /// Takes a block and fills it.
    pub fn store(&self, bytes: &[u8]) -> Result<Place> {
        let place = self.take(bytes.len())?;
        let address = self.address(place, bytes.len())?;
        // SAFETY: the block is new: nobody else knows it.
        unsafe { address.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        Ok(place)
    }

    /// Copies what a block holds.
    ///
    /// # Safety
    /// The bytes were written before, and nobody changes them now.
    pub unsafe fn load(&self, place: Place, bytes: usize) -> Result<Vec<u8>> {
        let address = self.address(place, bytes)?;
        let mut copy = Vec::with_capacity(bytes);
        // SAFETY: `copy` has room for them; the caller says that they are initialised and at rest.
        unsafe {
            address.copy_to_nonoverlapping(NonNull::new_unchecked(copy.as_mut_ptr()), bytes);
            copy.set_len(bytes);
        }
        Ok(copy)
    }

    /// A structure at a place.
    ///
    /// # Safety
    /// A `T` was put there, and stays there for as long as the reference is used.
    pub unsafe fn structure<T: Shared>(&self, place: Place) -> Result<&T> {
        let address = self.address(place, size_of::<T>())?;
        // SAFETY: the caller's promise; blocks are aligned to 64 bytes.
        Ok(unsafe { address.cast().as_ref() })
    }
}

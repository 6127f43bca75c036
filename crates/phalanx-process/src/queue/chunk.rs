//! The memory of a queue's records: rings of cells, each linked to the next, larger one.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::position::{AtomicPosition, Position};
use crate::arena::{Arena, Place};
use crate::error::Result;

/// A cell: records begin at cells, so that small ones do not share cache lines.
pub const CELL: usize = 64;
const FIRST: u64 = 128;
const LARGEST: u64 = 1 << 18;

/// What is at the beginning of a chunk, in a cell of its own.
#[repr(C, align(64))]
struct Header {
    /// The next chunk, which is used from its `first` on.
    next: AtomicU64,
    cells: AtomicU64,
    first: AtomicPosition,
}

/// A chunk, as this process sees it.
#[derive(Clone, Copy)]
pub struct Chunk {
    pub place: Place,
    header: &'static Header,
    start: NonNull<u8>,
    cells: u64,
}

impl Chunk {
    /// A chunk for at least so many cells at once, which begins at a position.
    pub fn create(
        arena: &'static Arena,
        before: Option<Chunk>,
        needed: u64,
        first: Position,
    ) -> Result<Chunk> {
        let cells = before.map_or(FIRST, |chunk| (2 * chunk.cells).min(LARGEST));
        let cells = cells.max((2 * needed).next_power_of_two());
        let place = arena.take(Chunk::bytes(cells))?;
        let address = arena.address(place, Chunk::bytes(cells))?;
        // SAFETY: the block is new, and aligned to 64 bytes.
        let header: &'static Header = unsafe {
            address.cast::<Header>().write_bytes(0, 1);
            address.cast().as_ref()
        };
        header.cells.store(cells, Ordering::Relaxed);
        header.first.store(first);
        Chunk::at(arena, place)
    }

    fn bytes(cells: u64) -> usize {
        size_of::<Header>() + cells as usize * CELL
    }

    /// The chunk at a place. It must be one that is linked to its queue.
    pub fn at(arena: &'static Arena, place: Place) -> Result<Chunk> {
        let address = arena.address(place, size_of::<Header>())?;
        // SAFETY: a chunk is there for as long as the caller, which holds the lock of its side, does not go on to
        // the next.
        let header: &'static Header = unsafe { address.cast().as_ref() };
        let cells = header.cells.load(Ordering::Relaxed);
        let start = arena.address(place, Chunk::bytes(cells))?;
        // SAFETY: the cells follow the header.
        let start = unsafe { start.add(size_of::<Header>()) };
        Ok(Chunk { place, header, start, cells })
    }

    /// # Safety
    /// Nobody uses the chunk.
    pub unsafe fn give(self, arena: &Arena) {
        // SAFETY: the caller's promise; this is its length.
        unsafe { arena.give(self.place, Chunk::bytes(self.cells)) }
    }

    pub fn next(&self) -> Option<Place> {
        match self.header.next.load(Ordering::Acquire) {
            0 => None,
            place => Some(Place(place)),
        }
    }

    pub fn link(&self, next: Chunk) {
        crash_point!("chunk-link");
        self.header.next.store(next.place.0, Ordering::Release);
    }

    pub fn first(&self) -> Position {
        self.header.first.load()
    }

    /// Cells that are free, for the side of the producers.
    pub fn free(&self, head: Position, tail: Position) -> u64 {
        // Consumers may still be in an earlier chunk.
        self.cells - tail.cells_since(head).min(tail.cells_since(self.first()))
    }

    /// Where a piece of the ring lies: what fits before its end, and the rest from its beginning.
    fn pieces(&self, from: Position, offset: usize, length: usize) -> [(NonNull<u8>, usize); 2] {
        let ring = self.cells as usize * CELL;
        let from = (from.cells() % self.cells) as usize * CELL;
        let start = (from + offset) % ring;
        let before_end = length.min(ring - start);
        // SAFETY: `start` is within the ring.
        [(unsafe { self.start.add(start) }, before_end), (self.start, length - before_end)]
    }

    /// Writes into free cells.
    ///
    /// # Safety
    /// The cells are free, and the caller holds the producers' lock.
    pub unsafe fn write(&self, at: Position, offset: usize, bytes: &[u8]) {
        let [(first, length), (second, rest)] = self.pieces(at, offset, bytes.len());
        let (before, after) = bytes.split_at(length);
        // SAFETY: both pieces are within the ring, whose free cells nobody else uses.
        unsafe {
            first.copy_from_nonoverlapping(NonNull::from(before).cast(), length);
            second.copy_from_nonoverlapping(NonNull::from(after).cast(), rest);
        }
    }

    /// Reads from cells that hold records.
    ///
    /// # Safety
    /// The cells hold a record, and the caller holds the consumers' lock.
    pub unsafe fn read(&self, at: Position, offset: usize, into: &mut [u8]) {
        let [(first, length), (second, rest)] = self.pieces(at, offset, into.len());
        let (before, after) = into.split_at_mut(length);
        // SAFETY: both pieces are within the ring; nobody writes to cells that hold records.
        unsafe {
            first.copy_to_nonoverlapping(NonNull::from(before).cast(), length);
            second.copy_to_nonoverlapping(NonNull::from(after).cast(), rest);
        }
    }
}

//! How far the producers, or the consumers, of a queue have come: cells and items in one word.

use std::sync::atomic::{AtomicU64, Ordering};

const CELL_BITS: u32 = 34;
const CELLS: u64 = (1 << CELL_BITS) - 1;
const ITEMS: u64 = (1 << (64 - CELL_BITS)) - 1;

/// Items that a queue can hold.
pub const MAX_ITEMS: u64 = ITEMS;

/// Cells and items that were put, or got, since the queue was made; both start again at 0 when they are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(u64);

impl Position {
    pub fn cells(self) -> u64 {
        self.0 & CELLS
    }

    fn items(self) -> u64 {
        self.0 >> CELL_BITS
    }

    /// After one more item, of so many cells.
    pub fn after(self, cells: u64) -> Position {
        let items = (self.items() + 1) & ITEMS;
        Position(items << CELL_BITS | (self.cells() + cells) & CELLS)
    }

    /// Cells from an earlier position to this one.
    pub fn cells_since(self, earlier: Position) -> u64 {
        self.cells().wrapping_sub(earlier.cells()) & CELLS
    }

    /// Items from an earlier count of items to this position.
    pub fn items_before(self, earlier: u64) -> u64 {
        self.items().wrapping_sub(earlier) & ITEMS
    }

    /// Items from an earlier position to this one.
    pub fn items_since(self, earlier: Position) -> u64 {
        self.items().wrapping_sub(earlier.items()) & ITEMS
    }
}

/// A position in shared memory.
#[repr(transparent)]
pub struct AtomicPosition(AtomicU64);

impl AtomicPosition {
    pub fn load(&self) -> Position {
        Position(self.0.load(Ordering::Acquire))
    }

    pub fn store(&self, position: Position) {
        self.0.store(position.0, Ordering::Release);
    }

    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_right_across_the_end_of_the_counters() {
        let mut position = Position((CELLS - 1) | ((ITEMS - 1) << CELL_BITS));
        let start = position;
        for passed in 1..=5 {
            position = position.after(3);
            assert_eq!(position.cells_since(start), 3 * passed);
            assert_eq!(position.items_since(start), passed);
        }
        assert_eq!(start.cells_since(start), 0);
    }
}

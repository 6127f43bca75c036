//! A block of shared memory as an array of atomic words.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::{Arena, Place};
use crate::error::Result;

const WORD: usize = size_of::<AtomicU64>();

/// The array, as this process sees it. All words are zero at first.
#[derive(Clone, Copy)]
pub struct Words {
    pub place: Place,
    /// The first word is the number of all.
    all: &'static [AtomicU64],
}

impl Words {
    /// An array of at least so many words: one less than a power of two, which is what a block has room for.
    pub fn create(arena: &'static Arena, least: usize) -> Result<Words> {
        let count = (least + 1).next_power_of_two().max(8);
        let place = arena.take(count * WORD)?;
        let start = arena.address(place, count * WORD)?.cast::<AtomicU64>();
        // SAFETY: the block is new, aligned, and has this length; zeros are valid words.
        let all = unsafe {
            start.write_bytes(0, count);
            std::slice::from_raw_parts(start.as_ptr(), count)
        };
        all[0].store(count as u64, Ordering::Release);
        Ok(Words { place, all })
    }

    /// The array at a place. It must be one that belongs to an object whose lock the caller holds.
    pub fn at(arena: &'static Arena, place: u64) -> Result<Words> {
        let place = Place(place);
        let start = arena.address(place, WORD)?.cast::<AtomicU64>();
        // SAFETY: an array is there for as long as its owner does not give it back.
        let count = unsafe { start.as_ref() }.load(Ordering::Acquire) as usize;
        arena.address(place, count * WORD)?;
        // SAFETY: as above; this is its length.
        let all = unsafe { std::slice::from_raw_parts(start.as_ptr(), count) };
        Ok(Words { place, all })
    }

    /// The words that an array can hold.
    pub fn words(&self) -> &'static [AtomicU64] {
        &self.all[1..]
    }

    /// Gives the block back.
    ///
    /// # Safety
    /// Nothing names the array any more, and nobody uses it.
    pub unsafe fn give(self, arena: &Arena) {
        // SAFETY: the caller's promise; this is its length.
        unsafe { arena.give(self.place, self.all.len() * WORD) }
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        self.words()
    }
}

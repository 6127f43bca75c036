//! Bytes that one word of shared memory names: a few are in the word itself, more are in a block.
//!
//! So a value is replaced by one store. A word is never 0, nor [`NOTHING`].

use std::mem::{self, ManuallyDrop};
use std::ptr::NonNull;

use crate::arena::{Arena, Place};
use crate::error::Result;

/// Bytes that have room in a word, beside their length.
const IN_WORD: usize = 7;
/// Places of blocks are even.
const IS_IN_WORD: u64 = 1;
/// The first word of a block is the length of what follows.
const LENGTH: usize = size_of::<u64>();

/// A word that names no bytes, and is not 0 either.
pub const NOTHING: u64 = 2;

/// Bytes that belong to this process, which are given back when this is dropped.
pub struct Packed {
    arena: &'static Arena,
    word: u64,
    bytes: [u8; 8],
}

impl Packed {
    pub fn new(arena: &'static Arena, bytes: &[u8]) -> Result<Packed> {
        if bytes.len() <= IN_WORD {
            let mut word = [0; 8];
            word[0] = (bytes.len() as u8) << 1 | IS_IN_WORD as u8;
            word[1..=bytes.len()].copy_from_slice(bytes);
            return Ok(Packed { arena, word: u64::from_le_bytes(word), bytes: word });
        }
        let place = arena.take(LENGTH + bytes.len())?;
        let start = arena.address(place, LENGTH + bytes.len())?;
        // SAFETY: the block is new, aligned, and has room for both.
        unsafe {
            start.cast::<u64>().write(bytes.len() as u64);
            let rest = start.add(LENGTH);
            rest.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        }
        Ok(Packed { arena, word: place.0, bytes: [0; 8] })
    }

    /// Takes what a word names.
    ///
    /// # Safety
    /// The word is one of [`into_word`](Packed::into_word), and no shared memory names the bytes any more.
    pub unsafe fn from_word(arena: &'static Arena, word: u64) -> Packed {
        Packed { arena, word, bytes: word.to_le_bytes() }
    }

    /// What a word names, which stays where it is.
    ///
    /// # Safety
    /// The word is one of [`into_word`](Packed::into_word), and nobody gives the bytes back while this is used: the
    /// caller holds the lock of the object that they belong to.
    pub unsafe fn peek(arena: &'static Arena, word: u64) -> ManuallyDrop<Packed> {
        ManuallyDrop::new(Packed { arena, word, bytes: word.to_le_bytes() })
    }

    /// The word for shared memory, which owns the bytes from now on.
    pub fn into_word(self) -> u64 {
        let word = self.word;
        mem::forget(self);
        word
    }

    fn length(&self) -> Result<usize> {
        let start = self.arena.address(Place(self.word), LENGTH)?.cast::<u64>();
        // SAFETY: `new` has written the length of a block there, which never changes.
        Ok(unsafe { start.read() } as usize)
    }

    pub fn bytes(&self) -> Result<&[u8]> {
        if self.word & IS_IN_WORD != 0 {
            let length = usize::from(self.bytes[0] >> 1).min(IN_WORD);
            return Ok(&self.bytes[1..=length]);
        }
        let length = self.length()?;
        let start = self.arena.address(Place(self.word), LENGTH + length)?;
        // SAFETY: `new` has written that many bytes, which nobody changes or gives back while `self` is there.
        Ok(unsafe { std::slice::from_raw_parts(start.add(LENGTH).as_ptr(), length) })
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        if self.word & IS_IN_WORD == 0
            && let Ok(length) = self.length()
        {
            // SAFETY: it was taken with this length, and belongs to us.
            unsafe { self.arena.give(Place(self.word), LENGTH + length) }
        }
    }
}

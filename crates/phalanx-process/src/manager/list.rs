//! A list of byte strings in shared memory.
//!
//! The list is a table: its length, and a word for each item (see `packed`). One store completes each change: of an
//! item's word, of the length, or of the place of a new table. Two items change places by a note of what is to be
//! done, which the next holder of the lock does when its writer has died.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::lock::{self, Guard};
use crate::arena::{Arena, Kind, Shared, existing};
use crate::error::Result;
use crate::packed::Packed;
use crate::sys::robust::RobustMutex;
use crate::words::Words;

/// Where in the table the length is, and where the items begin.
const LENGTH: usize = 0;
const ITEMS: usize = 1;

#[repr(C, align(64))]
pub struct Body {
    lock: RobustMutex,
    table: AtomicU64,
    /// The length of the table, for those who do not lock.
    length: AtomicU64,
    swap: Swap,
}

/// Two words that are to be stored: valid when `noted` is not zero.
#[repr(C)]
struct Swap {
    noted: AtomicU64,
    positions: [AtomicU64; 2],
    words: [AtomicU64; 2],
}

// SAFETY: it is `repr(C)`, of atomics and a mutex, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::List;

    fn destroy(&self, _arena: &Arena) {
        let destroy = || -> Result<()> {
            let list = self.lock("drop")?;
            list.clear()?;
            // SAFETY: nobody has a handle any more.
            unsafe { list.table()?.give(list.arena) };
            Ok(())
        };
        // What cannot be mapped cannot be given back.
        drop(destroy());
    }
}

impl Body {
    pub fn init(&self, arena: &'static Arena) -> Result<()> {
        lock::init(&self.lock)?;
        self.length.store(0, Ordering::Relaxed);
        self.swap.noted.store(0, Ordering::Relaxed);
        self.table.store(Words::create(arena, 0)?.place.0, Ordering::Release);
        Ok(())
    }

    /// Items that there are. A change that its process has not completed has not happened yet.
    pub fn len(&self) -> usize {
        self.length.load(Ordering::Acquire) as usize
    }

    /// Locks the list, and completes what a process has left half done.
    pub fn lock(&self, operation: &'static str) -> Result<List<'_>> {
        let (guard, _) = lock::lock(operation, &self.lock)?;
        let list = List { body: self, arena: existing(), _guard: guard };
        if self.swap.noted.load(Ordering::Acquire) != 0 {
            list.complete_swap()?;
        }
        list.publish_length()?;
        Ok(list)
    }
}

/// The list, while this thread has the lock.
pub struct List<'a> {
    body: &'a Body,
    arena: &'static Arena,
    _guard: Guard<'a>,
}

impl List<'_> {
    fn table(&self) -> Result<Words> {
        Words::at(self.arena, self.body.table.load(Ordering::Acquire))
    }

    /// The words of the items.
    fn items(&self) -> Result<&[AtomicU64]> {
        let table = self.table()?;
        let words: &'static [AtomicU64] = table.words();
        let length = words[LENGTH].load(Ordering::Acquire) as usize;
        Ok(&words[ITEMS..ITEMS + length])
    }

    pub fn len(&self) -> Result<usize> {
        Ok(self.items()?.len())
    }

    fn publish_length(&self) -> Result<()> {
        let length = self.len()? as u64;
        if self.body.length.load(Ordering::Relaxed) != length {
            self.body.length.store(length, Ordering::Release);
        }
        Ok(())
    }

    fn packed(&self, word: &AtomicU64) -> std::mem::ManuallyDrop<Packed> {
        // SAFETY: it is the word of an item, and this thread has the lock.
        unsafe { Packed::peek(self.arena, word.load(Ordering::Acquire)) }
    }

    fn give(&self, word: u64) {
        // SAFETY: the callers have just replaced the last word that named it.
        drop(unsafe { Packed::from_word(self.arena, word) });
    }

    /// Appends an item's bytes to the buffer: `false` when there is no such item.
    pub fn copy(&self, index: usize, into: &mut Vec<u8>) -> Result<bool> {
        let Some(word) = self.items()?.get(index) else { return Ok(false) };
        into.extend_from_slice(self.packed(word).bytes()?);
        Ok(true)
    }

    /// Appends the bytes of all items to the buffer, and says where each ends.
    pub fn copy_all(&self, into: &mut Vec<u8>) -> Result<Vec<usize>> {
        let items = self.items()?;
        let mut ends = Vec::with_capacity(items.len());
        for word in items {
            into.extend_from_slice(self.packed(word).bytes()?);
            ends.push(into.len());
        }
        Ok(ends)
    }

    /// Replaces an item, which is there.
    pub fn set(&self, index: usize, bytes: &[u8]) -> Result<()> {
        let word = &self.items()?[index];
        let new = Packed::new(self.arena, bytes)?.into_word();
        let old = word.load(Ordering::Relaxed);
        crash_point!("list-set");
        word.store(new, Ordering::Release);
        crash_point!("list-set-give");
        self.give(old);
        Ok(())
    }

    /// Appends items, all at once.
    pub fn append<'a>(&self, items: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<()> {
        let length = self.len()?;
        let mut table = self.table()?;
        let needed = ITEMS + length + items.len();
        if needed > table.len() {
            let larger = Words::create(self.arena, needed.max(2 * table.len()))?;
            copy(&table, 0..ITEMS + length, &larger, 0);
            self.replace(larger, 0..0)?;
            table = larger;
        }
        let end = length + items.len();
        self.fill(&table, ITEMS + length, items)?;
        crash_point!("list-append");
        table[LENGTH].store(end as u64, Ordering::Release);
        crash_point!("list-append-length");
        self.publish_length()
    }

    /// Stores items that no list has yet. What is stored before a failure is given back.
    fn fill<'a>(
        &self,
        table: &Words,
        from: usize,
        items: impl Iterator<Item = &'a [u8]>,
    ) -> Result<()> {
        for (offset, bytes) in items.enumerate() {
            match Packed::new(self.arena, bytes) {
                Ok(packed) => table[from + offset].store(packed.into_word(), Ordering::Relaxed),
                Err(error) => {
                    for word in &table[from..from + offset] {
                        self.give(word.load(Ordering::Relaxed));
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes the last item.
    pub fn pop(&self) -> Result<Option<Packed>> {
        let Some((last, rest)) = self.items()?.split_last() else { return Ok(None) };
        let word = last.load(Ordering::Acquire);
        crash_point!("list-pop");
        self.table()?[LENGTH].store(rest.len() as u64, Ordering::Release);
        crash_point!("list-pop-length");
        self.publish_length()?;
        // SAFETY: the list does not name it any more.
        Ok(Some(unsafe { Packed::from_word(self.arena, word) }))
    }

    /// Puts an item before another one, or at the end.
    pub fn insert(&self, index: usize, bytes: &[u8]) -> Result<()> {
        let length = self.len()?;
        if index == length {
            return self.append(std::iter::once(bytes));
        }
        let (old, new) = (self.table()?, Words::create(self.arena, ITEMS + length + 1)?);
        copy(&old, 0..ITEMS + index, &new, 0);
        copy(&old, ITEMS + index..ITEMS + length, &new, ITEMS + index + 1);
        new[LENGTH].store(length as u64 + 1, Ordering::Relaxed);
        if let Err(error) = self.fill(&new, ITEMS + index, std::iter::once(bytes)) {
            // SAFETY: nobody knows it.
            unsafe { new.give(self.arena) };
            return Err(error);
        }
        self.replace(new, 0..0)
    }

    /// Takes an item, which is there.
    pub fn remove(&self, index: usize) -> Result<Packed> {
        let items = self.items()?;
        let length = items.len();
        let word = items[index].load(Ordering::Acquire);
        if index + 1 == length {
            crash_point!("list-remove-last");
            self.table()?[LENGTH].store(index as u64, Ordering::Release);
            self.publish_length()?;
        } else {
            let (old, new) = (self.table()?, Words::create(self.arena, ITEMS + length)?);
            copy(&old, 0..ITEMS + index, &new, 0);
            copy(&old, ITEMS + index + 1..ITEMS + length, &new, ITEMS + index);
            new[LENGTH].store(length as u64 - 1, Ordering::Relaxed);
            self.replace(new, 0..0)?;
        }
        // SAFETY: the list does not name it any more.
        Ok(unsafe { Packed::from_word(self.arena, word) })
    }

    /// Lets two items change places; both are there.
    pub fn swap(&self, a: usize, b: usize) -> Result<()> {
        let items = self.items()?;
        let Swap { noted, positions, words } = &self.body.swap;
        for (which, (position, from)) in [(a, b), (b, a)].into_iter().enumerate() {
            positions[which].store(position as u64, Ordering::Relaxed);
            words[which].store(items[from].load(Ordering::Relaxed), Ordering::Relaxed);
        }
        crash_point!("list-swap");
        noted.store(1, Ordering::Release);
        self.complete_swap()
    }

    fn complete_swap(&self) -> Result<()> {
        let items = self.items()?;
        let Swap { noted, positions, words } = &self.body.swap;
        for (position, word) in positions.iter().zip(words) {
            crash_point!("list-swap-item");
            items[position.load(Ordering::Relaxed) as usize]
                .store(word.load(Ordering::Relaxed), Ordering::Release);
        }
        crash_point!("list-swap-done");
        noted.store(0, Ordering::Release);
        Ok(())
    }

    /// Removes all items.
    pub fn clear(&self) -> Result<()> {
        let items = self.items()?;
        crash_point!("list-clear");
        self.table()?[LENGTH].store(0, Ordering::Release);
        crash_point!("list-clear-length");
        self.publish_length()?;
        for word in items {
            self.give(word.load(Ordering::Relaxed));
        }
        Ok(())
    }

    /// Replaces all items.
    pub fn set_all<'a>(&self, items: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<()> {
        let new = Words::create(self.arena, ITEMS + items.len())?;
        new[LENGTH].store(items.len() as u64, Ordering::Relaxed);
        if let Err(error) = self.fill(&new, ITEMS, items) {
            // SAFETY: nobody knows it.
            unsafe { new.give(self.arena) };
            return Err(error);
        }
        let old_items = 0..self.len()?;
        self.replace(new, old_items)
    }

    /// Another table is the list from now on. The old one is given back, and these items with it.
    fn replace(&self, new: Words, items: Range<usize>) -> Result<()> {
        let old = self.table()?;
        crash_point!("list-replace");
        self.body.table.store(new.place.0, Ordering::Release);
        crash_point!("list-replace-give");
        for word in &old[ITEMS..][items] {
            self.give(word.load(Ordering::Relaxed));
        }
        // SAFETY: it was named there only, and this thread has the lock.
        unsafe { old.give(self.arena) };
        self.publish_length()
    }
}

fn copy(from: &Words, range: Range<usize>, to: &Words, at: usize) {
    for (new, old) in to[at..].iter().zip(&from[range]) {
        new.store(old.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

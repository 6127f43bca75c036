//! A map of byte strings in shared memory.
//!
//! A table with open addressing: three words for each entry. An entry is there when its third word names a value;
//! so one store inserts, replaces or removes it. A larger table replaces the old one by one store, too.
//!
//! `count` and `used` follow the table. A process that dies before it has brought them up to date leaves `changing`:
//! the next holder of the lock counts again.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::lock::{self, Guard};
use crate::arena::{Arena, Kind, Shared, existing};
use crate::error::Result;
use crate::packed::{NOTHING, Packed};
use crate::sys::robust::{Acquired, RobustMutex};
use crate::words::Words;

/// Words of an entry.
const ENTRY: usize = 3;
const HASH: usize = 0;
const KEY: usize = 1;
/// 0: never used; [`NOTHING`]: removed.
const VALUE: usize = 2;

#[repr(C, align(64))]
pub struct Body {
    lock: RobustMutex,
    table: AtomicU64,
    changing: AtomicU32,
    /// Entries that are there.
    count: AtomicU64,
    /// Entries that are there or were removed: they keep the way to others open.
    used: AtomicU64,
}

// SAFETY: it is `repr(C)`, of atomics and a mutex, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::Map;

    fn destroy(&self, _arena: &Arena) {
        let destroy = || -> Result<()> {
            let table = self.lock("drop")?;
            table.clear()?;
            // SAFETY: nobody has a handle any more.
            unsafe { table.words()?.give(table.arena) };
            Ok(())
        };
        // What cannot be mapped cannot be given back.
        drop(destroy());
    }
}

impl Body {
    pub fn init(&self, arena: &'static Arena) -> Result<()> {
        lock::init(&self.lock)?;
        self.changing.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
        self.table.store(Words::create(arena, 8 * ENTRY)?.place.0, Ordering::Release);
        Ok(())
    }

    /// Entries that there are. A change that its process has not completed has not happened yet.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire) as usize
    }

    /// Locks the table, and makes good what a process has left half done.
    pub fn lock(&self, operation: &'static str) -> Result<Table<'_>> {
        let (guard, acquired) = lock::lock(operation, &self.lock)?;
        let table = Table { body: self, arena: existing(), _guard: guard };
        if acquired == Acquired::HolderDied || self.changing.load(Ordering::Acquire) != 0 {
            self.changing.store(1, Ordering::Relaxed);
            table.count_again()?;
        }
        Ok(table)
    }
}

/// The table, while this thread has the lock.
pub struct Table<'a> {
    body: &'a Body,
    arena: &'static Arena,
    _guard: Guard<'a>,
}

/// An entry of the table that the lock protects.
#[derive(Clone, Copy)]
pub struct Entry(&'static [AtomicU64]);

impl Entry {
    fn get(self, which: usize) -> u64 {
        self.0[which].load(Ordering::Acquire)
    }

    fn is_there(self) -> bool {
        !matches!(self.get(VALUE), 0 | NOTHING)
    }
}

/// What is where a key belongs.
pub enum Found {
    Entry(Entry),
    /// The key is not there; here it may be put.
    Free(Entry),
}

/// A number for a key: equal bytes have equal numbers.
pub fn hash(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(FACTOR);
        product as u64 ^ (product >> 64) as u64
    };
    let mut hash = FACTOR ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_le_bytes(word)).wrapping_add(FACTOR);
    }
    mix(hash, FACTOR >> 1)
}

fn entries(words: Words) -> impl Iterator<Item = Entry> {
    words.words().chunks_exact(ENTRY).map(Entry)
}

fn capacity(words: &Words) -> usize {
    words.len() / ENTRY
}

/// Entries from the one at which the search for a hash begins.
fn way(words: Words, hash: u64) -> impl Iterator<Item = Entry> {
    let words = words.words();
    let capacity = words.len() / ENTRY;
    let start = ((u128::from(hash) * capacity as u128) >> 64) as usize;
    (start..capacity).chain(0..start).map(|at| Entry(&words[at * ENTRY..][..ENTRY]))
}

impl Table<'_> {
    fn words(&self) -> Result<Words> {
        Words::at(self.arena, self.body.table.load(Ordering::Acquire))
    }

    fn peek(&self, word: u64) -> ManuallyDrop<Packed> {
        // SAFETY: it is a word of an entry that is there, and this thread has the lock.
        unsafe { Packed::peek(self.arena, word) }
    }

    fn give(&self, word: u64) {
        // SAFETY: the callers have just replaced the last word that named it.
        drop(unsafe { Packed::from_word(self.arena, word) });
    }

    /// Finds a key.
    pub fn find(&self, hash: u64, key: &[u8]) -> Result<Found> {
        let mut removed = None;
        for entry in way(self.words()?, hash) {
            match entry.get(VALUE) {
                0 => return Ok(Found::Free(removed.unwrap_or(entry))),
                NOTHING => {
                    removed.get_or_insert(entry);
                }
                _ if entry.get(HASH) == hash && self.peek(entry.get(KEY)).bytes()? == key => {
                    return Ok(Found::Entry(entry));
                }
                _ => {}
            }
        }
        unreachable!("a table is never full")
    }

    /// The entry of a key, if it is there.
    pub fn entry(&self, hash: u64, key: &[u8]) -> Result<Option<Entry>> {
        Ok(match self.find(hash, key)? {
            Found::Entry(entry) => Some(entry),
            Found::Free(_) => None,
        })
    }

    /// Appends the bytes of a value to the buffer.
    pub fn copy(&self, entry: Entry, into: &mut Vec<u8>) -> Result<()> {
        into.extend_from_slice(self.peek(entry.get(VALUE)).bytes()?);
        Ok(())
    }

    /// Replaces a value. The old one belongs to the caller.
    pub fn replace(&self, entry: Entry, value: &[u8]) -> Result<Packed> {
        let new = Packed::new(self.arena, value)?.into_word();
        let old = entry.get(VALUE);
        crash_point!("map-replace");
        entry.0[VALUE].store(new, Ordering::Release);
        crash_point!("map-replace-done");
        // SAFETY: the table does not name it any more.
        Ok(unsafe { Packed::from_word(self.arena, old) })
    }

    /// Inserts a key that was not found.
    pub fn insert(&self, hash: u64, key: &[u8], value: &[u8]) -> Result<()> {
        let Body { changing, count, used, .. } = self.body;
        let words = self.words()?;
        if (used.load(Ordering::Relaxed) as usize + 1) * 4 > capacity(&words) * 3 {
            self.grow(words)?;
        }
        let Found::Free(entry) = self.find(hash, key)? else { unreachable!("it was not found") };
        let (key, value) = (Packed::new(self.arena, key)?, Packed::new(self.arena, value)?);
        let is_new = entry.get(VALUE) == 0;
        changing.store(1, Ordering::Relaxed);
        entry.0[HASH].store(hash, Ordering::Relaxed);
        entry.0[KEY].store(key.into_word(), Ordering::Relaxed);
        crash_point!("map-insert");
        entry.0[VALUE].store(value.into_word(), Ordering::Release);
        crash_point!("map-insert-count");
        used.store(used.load(Ordering::Relaxed) + u64::from(is_new), Ordering::Relaxed);
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
        crash_point!("map-insert-done");
        changing.store(0, Ordering::Release);
        Ok(())
    }

    /// Removes an entry. The value belongs to the caller.
    pub fn remove(&self, entry: Entry) -> Packed {
        let Body { changing, count, .. } = self.body;
        let (key, value) = (entry.get(KEY), entry.get(VALUE));
        changing.store(1, Ordering::Relaxed);
        crash_point!("map-remove");
        entry.0[VALUE].store(NOTHING, Ordering::Release);
        crash_point!("map-remove-count");
        count.store(count.load(Ordering::Relaxed) - 1, Ordering::Release);
        crash_point!("map-remove-done");
        changing.store(0, Ordering::Release);
        self.give(key);
        // SAFETY: the table does not name it any more.
        unsafe { Packed::from_word(self.arena, value) }
    }

    /// Removes everything.
    pub fn clear(&self) -> Result<()> {
        let old = self.words()?;
        let new = Words::create(self.arena, 8 * ENTRY)?;
        self.move_to(new, 0);
        for entry in entries(old).filter(|entry| entry.is_there()) {
            self.give(entry.get(KEY));
            self.give(entry.get(VALUE));
        }
        // SAFETY: nothing names the table any more.
        unsafe { old.give(self.arena) };
        Ok(())
    }

    /// Appends the bytes of all keys and values to the buffer, and says where each ends.
    pub fn copy_all(&self, into: &mut Vec<u8>) -> Result<Vec<usize>> {
        let mut ends = Vec::with_capacity(2 * self.body.len());
        for entry in entries(self.words()?).filter(|entry| entry.is_there()) {
            for word in [KEY, VALUE] {
                into.extend_from_slice(self.peek(entry.get(word)).bytes()?);
                ends.push(into.len());
            }
        }
        Ok(ends)
    }

    /// A table without removed entries, which has room for as many as there are again.
    fn grow(&self, old: Words) -> Result<()> {
        let count = self.body.count.load(Ordering::Relaxed);
        let new = Words::create(self.arena, (count as usize + 4) * 2 * ENTRY)?;
        for entry in entries(old).filter(|entry| entry.is_there()) {
            let free = way(new, entry.get(HASH)).find(|entry| entry.get(VALUE) == 0);
            let free = free.expect("it is larger than the old one");
            for (to, from) in free.0.iter().zip(entry.0) {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        self.move_to(new, count);
        // SAFETY: nothing names the table any more; what it named is in the new one.
        unsafe { old.give(self.arena) };
        Ok(())
    }

    fn move_to(&self, new: Words, count: u64) {
        let Body { changing, .. } = self.body;
        changing.store(1, Ordering::Relaxed);
        crash_point!("map-table");
        self.body.table.store(new.place.0, Ordering::Release);
        crash_point!("map-table-count");
        self.body.used.store(count, Ordering::Relaxed);
        self.body.count.store(count, Ordering::Release);
        crash_point!("map-table-done");
        changing.store(0, Ordering::Release);
    }

    #[cold]
    fn count_again(&self) -> Result<()> {
        let (mut count, mut used) = (0, 0);
        for entry in entries(self.words()?) {
            count += u64::from(entry.is_there());
            used += u64::from(entry.get(VALUE) != 0);
        }
        self.body.used.store(used, Ordering::Relaxed);
        self.body.count.store(count, Ordering::Release);
        self.body.changing.store(0, Ordering::Release);
        Ok(())
    }
}

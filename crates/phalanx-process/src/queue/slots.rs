//! Records of a queue that is not first in, first out: a table of slots, and the order in which they come.
//!
//! | word | what it says |
//! |---|---|
//! | the record of a slot | the truth: which item the slot holds, or none. A put and a get change this one word |
//! | `order` | the numbers of all slots: first those with items, as a heap or a stack, then the free ones |
//! | `count`, `sequence` | items that are there; items that were put |
//! | `changing` | not zero while the last three may not fit the slots |
//!
//! A process that dies in the middle leaves `changing`: the next one that has the lock makes the rest anew from the
//! slots.

use std::cmp::Ordering::Less;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::position::MAX_ITEMS;
use crate::arena::Arena;
use crate::error::{Error, ErrorKind, Result};
use crate::packed::Packed;
use crate::sys::robust::{Acquired, Held, RobustMutex};
use crate::words::Words;

/// Slots of the first piece of the table; each further piece has twice as many as the one before.
const FIRST: usize = 64;
const PIECES: usize = 25;
/// Words of a slot: its record, its priority, and its number in the sequence of all.
const SLOT: usize = 3;
const RECORD: usize = 0;
const PRIORITY: usize = 1;
const SEQUENCE: usize = 2;

/// Which item comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Rule {
    /// The one that was put last.
    Last = 0,
    /// The one with the smallest priority; of equal ones that which was put first.
    Smallest = 1,
}

#[repr(C)]
pub struct Slots {
    lock: RobustMutex,
    changing: AtomicU32,
    rule: AtomicU32,
    count: AtomicU64,
    sequence: AtomicU64,
    order: AtomicU64,
    pieces: [AtomicU64; PIECES],
}

/// The piece in which a slot is, and the slot's number there.
fn piece_of(slot: usize) -> (usize, usize) {
    let piece = (slot / FIRST + 1).ilog2() as usize;
    (piece, slot - slots_before(piece))
}

fn slots_before(piece: usize) -> usize {
    FIRST * ((1 << piece) - 1)
}

impl Slots {
    pub fn init(&self, arena: &'static Arena, rule: Rule) -> Result<()> {
        // SAFETY: nobody else knows the object yet.
        unsafe { self.lock.init() }
            .map_err(|error| Error::new(ErrorKind::System, "new", error.to_string()))?;
        for word in self.pieces.iter().chain([&self.count, &self.sequence]) {
            word.store(0, Ordering::Relaxed);
        }
        self.changing.store(0, Ordering::Relaxed);
        self.rule.store(rule as u32, Ordering::Relaxed);
        self.order.store(Words::create(arena, 0)?.place.0, Ordering::Release);
        Ok(())
    }

    /// Gives everything back. Nobody has a handle any more.
    pub fn destroy(&self, arena: &'static Arena) -> Result<()> {
        for piece in self.pieces.iter().map(|piece| piece.load(Ordering::Acquire)) {
            if piece == 0 {
                break;
            }
            let piece = Words::at(arena, piece)?;
            for slot in piece.chunks_exact(SLOT) {
                let record = slot[RECORD].load(Ordering::Acquire);
                if record != 0 {
                    // SAFETY: the slot names a record, and is given back below.
                    drop(unsafe { Packed::from_word(arena, record) });
                }
            }
            // SAFETY: nobody has a handle.
            unsafe { piece.give(arena) };
        }
        // SAFETY: as above.
        unsafe { Words::at(arena, self.order.load(Ordering::Acquire))?.give(arena) };
        Ok(())
    }

    /// Items that are there. A change that its process has not completed has not happened yet.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Counts what was put.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Locks the slots, and makes good what a process has left half done.
    pub fn lock(&self, arena: &'static Arena) -> Result<Locked<'_>> {
        let (held, acquired) = self.lock.hold();
        let locked = Locked { slots: self, arena, _held: held, _stays: PhantomData };
        if acquired == Acquired::HolderDied || self.changing.load(Ordering::Acquire) != 0 {
            self.changing.store(1, Ordering::Relaxed);
            locked.repair()?;
        }
        Ok(locked)
    }

    /// Runs something while nobody puts or gets, whatever the state of the slots.
    pub fn alone(&self, f: impl FnOnce()) {
        let (_held, acquired) = self.lock.hold();
        if acquired == Acquired::HolderDied {
            self.changing.store(1, Ordering::Relaxed);
        }
        f();
    }
}

/// The slots, while this thread has the lock.
pub struct Locked<'a> {
    slots: &'a Slots,
    arena: &'static Arena,
    _held: Held<'a>,
    /// The lock belongs to the thread.
    _stays: PhantomData<*const ()>,
}

/// A slot, as this process sees it.
#[derive(Clone, Copy)]
struct Slot(Words, usize);

impl Slot {
    fn word(&self, which: usize) -> &AtomicU64 {
        &self.0[self.1 * SLOT + which]
    }

    fn key(&self) -> (i64, u64) {
        let [priority, sequence] =
            [PRIORITY, SEQUENCE].map(|which| self.word(which).load(Ordering::Relaxed));
        (priority.cast_signed(), sequence)
    }
}

impl Locked<'_> {
    fn slot(&self, number: u64) -> Result<Slot> {
        let (piece, inside) = piece_of(number as usize);
        Ok(Slot(Words::at(self.arena, self.slots.pieces[piece].load(Ordering::Acquire))?, inside))
    }

    fn order(&self) -> Result<Words> {
        Words::at(self.arena, self.slots.order.load(Ordering::Acquire))
    }

    fn is_heap(&self) -> bool {
        self.slots.rule.load(Ordering::Relaxed) == Rule::Smallest as u32
    }

    /// Slots that there are, with and without an item.
    fn capacity(&self) -> usize {
        let pieces = self.slots.pieces.iter();
        slots_before(pieces.take_while(|piece| piece.load(Ordering::Acquire) != 0).count())
    }

    /// Puts a record.
    pub fn put(&self, priority: i64, record: Packed) -> Result<()> {
        let Slots { changing, count, sequence, .. } = self.slots;
        let position = count.load(Ordering::Relaxed) as usize;
        changing.store(1, Ordering::Relaxed);
        if position == self.capacity() {
            self.grow(position)?;
        }
        let order = self.order()?;
        let slot = self.slot(order[position].load(Ordering::Relaxed))?;
        let number = sequence.load(Ordering::Relaxed);
        slot.word(PRIORITY).store(priority.cast_unsigned(), Ordering::Relaxed);
        slot.word(SEQUENCE).store(number, Ordering::Relaxed);
        crash_point!("slots-put");
        slot.word(RECORD).store(record.into_word(), Ordering::Release);
        crash_point!("slots-put-sequence");
        sequence.store(number + 1, Ordering::Release);
        crash_point!("slots-put-order");
        if self.is_heap() {
            self.up(&order, position)?;
        }
        crash_point!("slots-put-count");
        count.store(position as u64 + 1, Ordering::Release);
        crash_point!("slots-put-done");
        changing.store(0, Ordering::Release);
        Ok(())
    }

    /// Takes the first record, if there is one.
    pub fn get(&self) -> Result<Option<Packed>> {
        let Slots { changing, count, .. } = self.slots;
        let Some(last) = (count.load(Ordering::Relaxed) as usize).checked_sub(1) else {
            return Ok(None);
        };
        let order = self.order()?;
        let first = if self.is_heap() { 0 } else { last };
        let number = order[first].load(Ordering::Relaxed);
        let slot = self.slot(number)?;
        let record = slot.word(RECORD).load(Ordering::Acquire);
        changing.store(1, Ordering::Relaxed);
        crash_point!("slots-get");
        slot.word(RECORD).store(0, Ordering::Release);
        // SAFETY: only that slot has named it.
        let record = unsafe { Packed::from_word(self.arena, record) };
        crash_point!("slots-get-order");
        order[first].store(order[last].load(Ordering::Relaxed), Ordering::Relaxed);
        order[last].store(number, Ordering::Relaxed);
        if self.is_heap() {
            self.down(&order, last)?;
        }
        crash_point!("slots-get-count");
        count.store(last as u64, Ordering::Release);
        crash_point!("slots-get-done");
        changing.store(0, Ordering::Release);
        Ok(Some(record))
    }

    fn key(&self, order: &Words, position: usize) -> Result<(i64, u64)> {
        Ok(self.slot(order[position].load(Ordering::Relaxed))?.key())
    }

    /// Moves the last of the heap to where it belongs.
    fn up(&self, order: &Words, mut position: usize) -> Result<()> {
        let number = order[position].load(Ordering::Relaxed);
        let key = self.slot(number)?.key();
        while position > 0 {
            let above = (position - 1) / 2;
            if self.key(order, above)? <= key {
                break;
            }
            order[position].store(order[above].load(Ordering::Relaxed), Ordering::Relaxed);
            position = above;
        }
        order[position].store(number, Ordering::Relaxed);
        Ok(())
    }

    /// Moves the first of a heap of so many to where it belongs.
    fn down(&self, order: &Words, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let number = order[0].load(Ordering::Relaxed);
        let key = self.slot(number)?.key();
        let mut position = 0;
        loop {
            let mut below = 2 * position + 1;
            if below >= count {
                break;
            }
            let mut smaller = self.key(order, below)?;
            if below + 1 < count {
                let right = self.key(order, below + 1)?;
                if right.cmp(&smaller) == Less {
                    (below, smaller) = (below + 1, right);
                }
            }
            if key <= smaller {
                break;
            }
            order[position].store(order[below].load(Ordering::Relaxed), Ordering::Relaxed);
            position = below;
        }
        order[position].store(number, Ordering::Relaxed);
        Ok(())
    }

    /// Adds a piece of free slots to a full table.
    fn grow(&self, capacity: usize) -> Result<()> {
        let (piece, _) = piece_of(capacity);
        if piece >= PIECES || capacity as u64 >= MAX_ITEMS {
            return Err(Error::new(ErrorKind::System, "put", "the queue is at its largest"));
        }
        let slots = Words::create(self.arena, (FIRST << piece) * SLOT)?;
        crash_point!("slots-grow");
        self.slots.pieces[piece].store(slots.place.0, Ordering::Release);
        let old = self.order()?;
        let order = self.larger_order(slots_before(piece + 1))?;
        for (new, old) in order.iter().zip(&old[..capacity]) {
            new.store(old.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for (new, number) in order.iter().zip(0u64..).skip(capacity) {
            new.store(number, Ordering::Relaxed);
        }
        self.replace_order(old, order);
        Ok(())
    }

    fn larger_order(&self, capacity: usize) -> Result<Words> {
        Words::create(self.arena, capacity)
    }

    fn replace_order(&self, old: Words, new: Words) {
        crash_point!("slots-order");
        self.slots.order.store(new.place.0, Ordering::Release);
        // SAFETY: it was named there only, and this thread has the lock.
        unsafe { old.give(self.arena) };
    }

    /// Makes everything anew from the records of the slots.
    #[cold]
    fn repair(&self) -> Result<()> {
        let capacity = self.capacity() as u64;
        let (mut full, mut free) = (Vec::new(), Vec::new());
        for number in 0..capacity {
            let slot = self.slot(number)?;
            if slot.word(RECORD).load(Ordering::Acquire) == 0 {
                free.push(number);
            } else {
                full.push((slot.key(), number));
            }
        }
        if self.is_heap() {
            full.sort_unstable();
        } else {
            full.sort_unstable_by_key(|&((_, sequence), _)| sequence);
        }
        let mut order = self.order()?;
        if order.len() < capacity as usize {
            let larger = self.larger_order(capacity as usize)?;
            self.replace_order(order, larger);
            order = larger;
        }
        let numbers = full.iter().map(|&(_, number)| number).chain(free);
        for (word, number) in order.iter().zip(numbers) {
            word.store(number, Ordering::Relaxed);
        }
        let put = full.iter().map(|&((_, sequence), _)| sequence + 1).max().unwrap_or(0);
        self.slots.sequence.fetch_max(put, Ordering::AcqRel);
        self.slots.count.store(full.len() as u64, Ordering::Release);
        self.slots.changing.store(0, Ordering::Release);
        Ok(())
    }
}

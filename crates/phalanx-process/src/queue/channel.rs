//! A line of records in shared memory, with any number of producers and consumers.
//!
//! Producers have a lock, consumers have another. A put writes its record into free cells and then moves `tail`; a
//! get copies a record and then moves `head`. Each is one store: a process that dies before it has changed nothing,
//! one that dies after it has completed. At worst a block that was taken for a large record is lost.
//!
//! Who waits sleeps while it holds its side's lock: so there is one sleeper a side at most, wake-ups have one
//! address, and when a sleeper dies the kernel hands its lock, and the waiting, on.
//!
//! | flag | set | cleared, and woken |
//! |---|---|---|
//! | `getter_sleeps` | by a consumer that found nothing, which then looks again | by a producer after it has moved `tail` |
//! | `putter_sleeps` | by a producer that found no room, which then looks again | by a consumer after it has moved `head` |
//!
//! The store and the look are ordered by a fence on both sides, so that at least one of both sees the other. A
//! wake-up that dies with its sender is made good by the next look, after [`SLICE`](crate::sys::SLICE) at most.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use super::chunk::{CELL, Chunk};
use super::position::{AtomicPosition, MAX_ITEMS, Position};
use crate::arena::{Arena, MAX_PROCESSES, Name, Place};
use crate::error::{Error, ErrorKind, Result};
use crate::objects::Kept;
use crate::sys::robust::{NotPassed, RobustMutex};
use crate::sys::{Deadline, futex};

/// Records up to this length lie in the ring, longer ones in a block.
const INLINE: usize = 4096;
/// The length of a record is its first word; this bit says that a block holds it,
const IN_BLOCK: u64 = 1 << 63;
/// and this one that names of handles follow it, and their number.
const HAS_NAMES: u64 = 1 << 62;
/// Bytes of a name, and of the number of names.
const NAME: usize = 12;
const NAMES: usize = 4;
const WORD: usize = 8;

#[repr(C, align(64))]
pub struct Channel {
    put: RobustMutex,
    put_chunk: AtomicU64,
    tail: AtomicPosition,
    getter_sleeps: AtomicU32,
    closed: AtomicU32,
    /// Items that it may hold.
    limit: AtomicU64,
    /// For how many microseconds a consumer lets others run before it sleeps.
    patience: AtomicU32,
    consumers: Consumers,
    /// Processes that wait for this and other things at the same time.
    watched: AtomicU32,
    watchers: [AtomicU64; MAX_PROCESSES / 64],
}

/// In cache lines of their own.
#[repr(C, align(64))]
struct Consumers {
    get: RobustMutex,
    get_chunk: AtomicU64,
    head: AtomicPosition,
    putter_sleeps: AtomicU32,
}

/// A record that was got.
pub enum Record {
    /// Its bytes are in the buffer.
    Copied,
    /// It lies in a block, which belongs to this process now.
    Block(Block),
}

/// A block with a record, which is given back when it is dropped.
pub struct Block {
    arena: &'static Arena,
    place: Place,
    length: usize,
    has_names: bool,
}

impl Block {
    pub fn bytes(&self) -> Result<&[u8]> {
        let all = self.all()?;
        Ok(&all[..value_length(all, self.has_names)])
    }

    fn all(&self) -> Result<&[u8]> {
        let address = self.arena.address(self.place, self.length)?;
        // SAFETY: a producer has written that many bytes, and nobody else has the block now.
        Ok(unsafe { std::slice::from_raw_parts(address.as_ptr(), self.length) })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it was stored with this length, and `bytes` borrows it.
        unsafe { self.arena.give(self.place, self.length) };
    }
}

/// Why nothing was put or got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Closed,
    /// There was no room, or nothing to get, until the time was up.
    TimedOut,
}

impl Channel {
    pub fn init(&self, arena: &'static Arena, limit: u64, patience: Duration) -> Result<()> {
        let refused =
            |error: std::io::Error| Error::new(ErrorKind::System, "new", error.to_string());
        // SAFETY: nobody else knows the channel yet.
        unsafe {
            self.put.init().map_err(refused)?;
            self.consumers.get.init().map_err(refused)?;
        }
        for flag in
            [&self.getter_sleeps, &self.closed, &self.watched, &self.consumers.putter_sleeps]
        {
            flag.store(0, Ordering::Relaxed);
        }
        self.limit.store(limit, Ordering::Relaxed);
        self.patience.store(patience.as_micros() as u32, Ordering::Relaxed);
        self.tail.reset();
        self.consumers.head.reset();
        let chunk = Chunk::create(arena, None, 0, self.tail.load())?;
        self.put_chunk.store(chunk.place.0, Ordering::Relaxed);
        self.consumers.get_chunk.store(chunk.place.0, Ordering::Relaxed);
        Ok(())
    }

    /// Gives everything back. Nobody has a handle any more.
    pub fn destroy(&self, arena: &'static Arena) -> Result<()> {
        let mut buffer = Vec::new();
        let head = |channel: &Channel| channel.consumers.head.load().cells();
        while head(self) != self.tail.load().cells() {
            // Nobody gets what is still here: its handles go with it.
            let mut names = Vec::new();
            drop(self.take_first(arena, &mut buffer, |_| (), |all| names = names_of(all))?);
            drop(Kept::new(names));
        }
        let mut place = Some(Place(self.consumers.get_chunk.load(Ordering::Acquire)));
        while let Some(here) = place {
            let chunk = Chunk::at(arena, here)?;
            place = chunk.next();
            // SAFETY: nobody has a handle.
            unsafe { chunk.give(arena) };
        }
        Ok(())
    }

    /// Items that were put and not got: exact at the moment at which `tail` did not change.
    pub fn len(&self) -> u64 {
        loop {
            let tail = self.tail.load();
            let head = self.consumers.head.load();
            if self.tail.load() == tail {
                return tail.items_since(head);
            }
        }
    }

    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Counts what was put, from an earlier count.
    pub fn tail(&self) -> Position {
        self.tail.load()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) != 0
    }

    pub fn close(&self) {
        crash_point!("channel-close");
        self.closed.store(1, Ordering::Release);
        fence(Ordering::SeqCst);
        wake_sleeper(&self.getter_sleeps);
        wake_sleeper(&self.consumers.putter_sleeps);
        self.tell_watchers();
    }

    /// Puts a record.
    pub fn put(
        &self,
        arena: &'static Arena,
        record: &[u8],
        deadline: Deadline,
    ) -> Result<(), Refused> {
        self.put_flagged(arena, record, 0, deadline)
    }

    /// Puts a record with the names of the handles in it, which go when nobody gets it.
    pub fn put_with(
        &self,
        arena: &'static Arena,
        record: &[u8],
        names: &[Name],
        deadline: Deadline,
    ) -> Result<(), Refused> {
        if names.is_empty() {
            return self.put_flagged(arena, record, 0, deadline);
        }
        let mut all = record.to_vec();
        for name in names {
            all.extend_from_slice(&name.index.to_le_bytes());
            all.extend_from_slice(&name.generation.to_le_bytes());
        }
        all.extend_from_slice(&(names.len() as u32).to_le_bytes());
        self.put_flagged(arena, &all, HAS_NAMES, deadline)
    }

    fn put_flagged(
        &self,
        arena: &'static Arena,
        record: &[u8],
        flag: u64,
        deadline: Deadline,
    ) -> Result<(), Refused> {
        self.acquire(&self.put, deadline, || self.len() >= self.limit())?;
        let _held = Unlock(&self.put);
        self.wait_for_room(deadline)?;
        let head = self.consumers.head.load();
        let tail = self.tail.load();
        let end = if record.len() <= INLINE {
            let cells = cells_for(record.len());
            let chunk = self.chunk_with_room(arena, cells, head, tail)?;
            // SAFETY: there is room, and this thread holds the lock.
            unsafe {
                chunk.write(tail, 0, &(record.len() as u64 | flag).to_le_bytes());
                chunk.write(tail, WORD, record);
            }
            tail.after(cells)
        } else {
            let chunk = self.chunk_with_room(arena, 1, head, tail)?;
            let block = arena.store(record)?;
            let mut words = [0; 2 * WORD];
            words[..WORD].copy_from_slice(&(record.len() as u64 | IN_BLOCK | flag).to_le_bytes());
            words[WORD..].copy_from_slice(&block.0.to_le_bytes());
            // SAFETY: as above.
            unsafe { chunk.write(tail, 0, &words) };
            tail.after(1)
        };
        crash_point!("channel-put");
        self.tail.store(end);
        crash_point!("channel-put-wake");
        fence(Ordering::SeqCst);
        wake_sleeper(&self.getter_sleeps);
        self.tell_watchers();
        Ok(())
    }

    /// Gets a record, into the buffer if it is short.
    pub fn get(
        &self,
        arena: &'static Arena,
        deadline: Deadline,
        buffer: &mut Vec<u8>,
    ) -> Result<Record, Refused> {
        self.get_noting(arena, deadline, buffer, |_| ())
    }

    /// [`get`](Channel::get), where `note` sees the beginning of the record before it is out of the channel: who dies
    /// afterwards has noted what it took.
    pub fn get_noting(
        &self,
        arena: &'static Arena,
        deadline: Deadline,
        buffer: &mut Vec<u8>,
        note: impl FnOnce(&[u8]),
    ) -> Result<Record, Refused> {
        self.acquire(&self.consumers.get, deadline, || self.len() == 0)?;
        let _held = Unlock(&self.consumers.get);
        loop {
            if self.consumers.head.load().cells() != self.tail.load().cells() {
                break;
            }
            if self.is_closed() && self.is_finished() {
                return Err(Refusal::Closed.into());
            }
            if deadline.has_passed() {
                return Err(Refusal::TimedOut.into());
            }
            if self.item_comes_soon() {
                continue;
            }
            self.getter_sleeps.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if self.len() == 0 && !self.is_closed() {
                futex::wait(&self.getter_sleeps, 1, deadline.slice());
            }
            self.getter_sleeps.store(0, Ordering::Relaxed);
        }
        let record = self.take_first(arena, buffer, note, |_| ())?;
        crash_point!("channel-get-wake");
        fence(Ordering::SeqCst);
        wake_sleeper(&self.consumers.putter_sleeps);
        if self.limit() != MAX_ITEMS {
            self.tell_watchers();
        }
        Ok(record)
    }

    /// Shows the beginning of the first record, if there is one. It stays.
    pub fn look(&self, arena: &'static Arena, f: impl FnOnce(&[u8])) -> Result<(), Refused> {
        self.acquire(&self.consumers.get, Deadline::after(Duration::ZERO), || self.len() == 0)?;
        let _held = Unlock(&self.consumers.get);
        let head = self.consumers.head.load();
        if head.cells() == self.tail.load().cells() {
            return Ok(());
        }
        let chunk = self.chunk_of_head(arena, head)?;
        let (length, place, has_names) = first_words(chunk, head);
        if let Some(place) = place {
            // It stays in the channel, and is not ours.
            f(ManuallyDrop::new(Block { arena, place, length, has_names }).bytes()?);
        } else {
            let mut beginning = [0; CELL - WORD];
            let beginning = &mut beginning[..length.min(CELL - WORD)];
            // SAFETY: a record of this length begins at `head`, and this thread holds the lock.
            unsafe { chunk.read(head, WORD, beginning) };
            f(beginning);
        }
        Ok(())
    }

    /// Whether a closed channel is empty for ever: no producer is in the middle of a put.
    fn is_finished(&self) -> bool {
        let (_held, _) = self.put.hold();
        self.len() == 0
    }

    /// Lets others run for a moment: an answer often comes sooner than this thread could sleep and be woken.
    fn item_comes_soon(&self) -> bool {
        let patience = Duration::from_micros(self.patience.load(Ordering::Relaxed).into());
        if patience.is_zero() {
            return false;
        }
        let start = Instant::now();
        loop {
            std::thread::yield_now();
            if self.len() != 0 {
                return true;
            }
            if start.elapsed() >= patience || self.is_closed() {
                return false;
            }
        }
    }

    /// Copies the first record and moves `head`. The caller holds the consumers' lock.
    fn take_first(
        &self,
        arena: &'static Arena,
        buffer: &mut Vec<u8>,
        note: impl FnOnce(&[u8]),
        see_names: impl FnOnce(&[u8]),
    ) -> Result<Record> {
        let head = self.consumers.head.load();
        let chunk = self.chunk_of_head(arena, head)?;
        let (length, place, has_names) = first_words(chunk, head);
        let Some(place) = place else {
            buffer.clear();
            buffer.resize(length, 0);
            // SAFETY: a record of this length begins at `head`, and this thread holds the lock.
            unsafe { chunk.read(head, WORD, buffer) };
            if has_names {
                see_names(buffer);
                buffer.truncate(value_length(buffer, true));
            }
            note(buffer);
            crash_point!("channel-get");
            self.consumers.head.store(head.after(cells_for(length)));
            return Ok(Record::Copied);
        };
        // It is not ours, to be given back, before it is out of the channel.
        let block = ManuallyDrop::new(Block { arena, place, length, has_names });
        note(block.bytes()?);
        if has_names {
            see_names(block.all()?);
        }
        crash_point!("channel-get-block");
        self.consumers.head.store(head.after(1));
        Ok(Record::Block(ManuallyDrop::into_inner(block)))
    }

    fn wait_for_room(&self, deadline: Deadline) -> Result<(), Refused> {
        loop {
            if self.is_closed() {
                return Err(Refusal::Closed.into());
            }
            if self.len() < self.limit() {
                return Ok(());
            }
            if deadline.has_passed() {
                return Err(Refusal::TimedOut.into());
            }
            let sleeps = &self.consumers.putter_sleeps;
            sleeps.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if self.len() >= self.limit() && !self.is_closed() {
                futex::wait(sleeps, 1, deadline.slice());
            }
            sleeps.store(0, Ordering::Relaxed);
        }
    }

    /// Acquires the lock of a side. Somebody who sleeps holds it: then there is nothing to do on this side, and who
    /// does not wait is told so. Not because somebody else is just busy, unless it is for so long that it must be
    /// stopped.
    fn acquire(
        &self,
        lock: &RobustMutex,
        deadline: Deadline,
        nothing_to_do: impl Fn() -> bool,
    ) -> Result<(), Refusal> {
        lock.pass(deadline, nothing_to_do).map_err(|why| match why {
            NotPassed::NothingToDo if self.is_closed() => Refusal::Closed,
            NotPassed::NothingToDo | NotPassed::Standstill => Refusal::TimedOut,
        })
    }

    /// The chunk that the producers write to; a larger one follows when it is full.
    fn chunk_with_room(
        &self,
        arena: &'static Arena,
        cells: u64,
        head: Position,
        tail: Position,
    ) -> Result<Chunk> {
        let mut chunk = Chunk::at(arena, Place(self.put_chunk.load(Ordering::Acquire)))?;
        // A producer may have died after it linked a chunk.
        while let Some(next) = chunk.next() {
            self.put_chunk.store(next.0, Ordering::Release);
            chunk = Chunk::at(arena, next)?;
        }
        if chunk.free(head, tail) >= cells {
            return Ok(chunk);
        }
        let larger = Chunk::create(arena, Some(chunk), cells, tail)?;
        chunk.link(larger);
        crash_point!("channel-put-chunk");
        self.put_chunk.store(larger.place.0, Ordering::Release);
        Ok(larger)
    }

    /// The chunk in which `head` is; those before it are given back.
    fn chunk_of_head(&self, arena: &'static Arena, head: Position) -> Result<Chunk> {
        let mut chunk = Chunk::at(arena, Place(self.consumers.get_chunk.load(Ordering::Acquire)))?;
        while let Some(place) = chunk.next() {
            let next = Chunk::at(arena, place)?;
            if next.first() != head {
                break;
            }
            // A producer that linked it and died may have left the old one as the producers' chunk.
            let _moved = self.put_chunk.compare_exchange(
                chunk.place.0,
                place.0,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            crash_point!("channel-get-chunk");
            self.consumers.get_chunk.store(place.0, Ordering::Release);
            crash_point!("channel-chunk-give");
            // SAFETY: no side uses it any more.
            unsafe { chunk.give(arena) };
            chunk = next;
        }
        Ok(chunk)
    }

    /// This process is woken by whatever happens here.
    pub fn watch(&self, process: u32) {
        self.watchers[process as usize / 64].fetch_or(1 << (process % 64), Ordering::AcqRel);
        self.watched.store(1, Ordering::SeqCst);
    }

    fn tell_watchers(&self) {
        if self.watched.load(Ordering::Relaxed) != 0 {
            self.wake_watchers();
        }
    }

    #[cold]
    fn wake_watchers(&self) {
        self.watched.store(0, Ordering::SeqCst);
        let arena = crate::arena::existing();
        for (word, bits) in self.watchers.iter().enumerate() {
            let mut bits = bits.swap(0, Ordering::AcqRel);
            while bits != 0 {
                let process = arena.process(word as u32 * 64 + bits.trailing_zeros());
                bits &= bits - 1;
                process.event.fetch_add(1, Ordering::AcqRel);
                futex::wake(&process.event, u32::MAX);
            }
        }
    }
}

/// The length of the record that begins here, the place of its block, if it is in one, and whether it has names. The caller holds the
/// consumers' lock.
fn first_words(chunk: Chunk, head: Position) -> (usize, Option<Place>, bool) {
    let mut words = [0; 2 * WORD];
    // SAFETY: a record begins at `head`, in a cell that has room for two words.
    unsafe { chunk.read(head, 0, &mut words) };
    let (word, place) = words.split_at(WORD);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let word = number(word);
    (
        (word & !(IN_BLOCK | HAS_NAMES)) as usize,
        (word & IN_BLOCK != 0).then(|| Place(number(place))),
        word & HAS_NAMES != 0,
    )
}

/// The length of the value at the beginning of a record.
fn value_length(record: &[u8], has_names: bool) -> usize {
    let Some((rest, count)) = record.split_last_chunk::<NAMES>().filter(|_| has_names) else {
        return record.len();
    };
    rest.len().saturating_sub(u32::from_le_bytes(*count) as usize * NAME)
}

/// The names at the end of a record that has some.
fn names_of(record: &[u8]) -> Vec<Name> {
    let names = &record[value_length(record, true)..record.len() - NAMES];
    let name = |bytes: &[u8]| {
        let (index, generation) = bytes.split_at(4);
        Name {
            index: u32::from_le_bytes(index.try_into().expect("four bytes")),
            generation: u64::from_le_bytes(generation.try_into().expect("eight bytes")),
        }
    };
    names.chunks_exact(NAME).map(name).collect()
}

/// Cells for a record of this length and its first word.
fn cells_for(length: usize) -> u64 {
    (WORD + length).div_ceil(CELL) as u64
}

pub(super) fn wake_sleeper(flag: &AtomicU32) {
    if flag.load(Ordering::Relaxed) != 0 && flag.swap(0, Ordering::AcqRel) != 0 {
        futex::wake(flag, 1);
    }
}

pub(super) struct Unlock<'a>(pub(super) &'a RobustMutex);

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

/// Why nothing was done: for a reason of the channel's, or of the system's.
#[derive(Debug)]
pub enum Refused {
    Channel(Refusal),
    System(Error),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Refused::Channel(refusal)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused::System(error)
    }
}

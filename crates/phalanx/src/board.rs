//! Memory that the ranks of a node share: who reports a failure, and what each rank does.
//!
//! An assertion that fails on every rank would print one report a rank. So there is one word on the
//! board; who changes it from zero prints, the others stay silent. And each rank has a slot, in which
//! its calls are noted (`record/lane.rs`) and its statement lies for the watch of any other rank. The
//! file behind the board is unlinked as soon as all have opened it: nothing is left behind, whatever
//! ends the job.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence,
};

use crate::host::{Process, ProcessState, process_space};
use crate::record::Lane;

/// Bytes of a statement or a report.
const PAPER: usize = 64 * 1024;
const WORDS: usize = PAPER / 8;

/// Where one process writes and others read.
#[repr(C, align(64))]
pub(crate) struct Paper {
    /// Odd while somebody writes.
    version: AtomicU32,
    length: AtomicU32,
    words: [AtomicU64; WORDS],
}

impl Paper {
    pub const CAPACITY: usize = PAPER;

    /// Writes a text; what does not fit is cut off. One writer at a time.
    pub fn write(&self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(PAPER)];
        let version = self.version.load(Relaxed) | 1;
        self.version.store(version, Relaxed);
        fence(Release);
        for (word, chunk) in self.words.iter().zip(bytes.chunks(8)) {
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(value), Relaxed);
        }
        self.length.store(bytes.len() as u32, Relaxed);
        self.version.store(version.wrapping_add(1), Release);
    }

    /// What was written, or `None` while somebody writes.
    pub fn read(&self) -> Option<Vec<u8>> {
        let version = self.version.load(Acquire);
        if version % 2 == 1 {
            return None;
        }
        let length = (self.length.load(Relaxed) as usize).min(PAPER);
        let words = self.words[..length.div_ceil(8)].iter();
        let mut bytes: Vec<u8> = words.flat_map(|it| it.load(Relaxed).to_ne_bytes()).collect();
        bytes.truncate(length);
        fence(Acquire);
        (self.version.load(Relaxed) == version).then_some(bytes)
    }
}

/// What a rank is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    /// Nobody has taken the slot.
    Free = 0,
    Running = 1,
    /// MPI is finalized, or the watch is over in a guest's MPI.
    Finalized = 2,
}

/// What the board knows of one rank.
#[repr(C, align(64))]
pub(crate) struct Slot {
    phase: AtomicU32,
    process: AtomicU32,
    started: AtomicU64,
    space: AtomicU64,
    world_rank: AtomicU32,
    /// Grows when a thread other than the first makes progress.
    pub others: AtomicU64,
    /// The sequence number for which the statement was written, plus one, or 0 for none.
    stated: AtomicU64,
    /// The sequence number of a call of which it is proved that it never returns.
    pub told: AtomicU64,
    /// The sequence number of a call about which a warning was printed, plus one.
    pub warned: AtomicU64,
    pub lane: Lane,
    pub statement: Paper,
}

impl Slot {
    pub fn take(&self, world_rank: usize) {
        let process = Process::this();
        self.process.store(process.id, Relaxed);
        self.started.store(process.started, Relaxed);
        self.space.store(process_space(), Relaxed);
        self.world_rank.store(world_rank as u32, Relaxed);
        self.set_phase(Phase::Running);
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u32, Release);
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Acquire) {
            1 => Phase::Running,
            2 => Phase::Finalized,
            _ => Phase::Free,
        }
    }

    pub fn world_rank(&self) -> usize {
        self.world_rank.load(Relaxed) as usize
    }

    /// The process of the rank, as far as this one can know it.
    pub fn process(&self) -> Process {
        let visible = self.space.load(Relaxed) == process_space();
        let started = if visible { self.started.load(Relaxed) } else { 0 };
        Process { id: self.process.load(Relaxed), started }
    }

    /// Whether the rank is inside a call of which it has told, and its process can act.
    pub fn waits(&self) -> bool {
        let sequence = self.lane.sequence();
        self.phase() == Phase::Running
            && sequence % 2 == 1
            && self.stated() == Some(sequence)
            && matches!(self.process().state(), ProcessState::Alive | ProcessState::Unknown)
    }

    /// Publishes what the rank says of the state with this sequence number.
    pub fn state(&self, sequence: u64, statement: &[u8]) {
        if self.stated() != Some(sequence) {
            self.stated.store(0, Release);
        }
        self.statement.write(statement);
        self.stated.store(sequence + 1, Release);
    }

    /// The sequence number of the last statement.
    pub fn stated(&self) -> Option<u64> {
        self.stated.load(Acquire).checked_sub(1)
    }
}

#[repr(C, align(64))]
pub(crate) struct Header {
    /// Tells boards of other versions of this library apart.
    format: AtomicU64,
    /// The process that prints the report of a failure.
    claim: AtomicU32,
    /// The process that prints a warning.
    pub warner: AtomicU32,
    /// Not zero when the job is being ended by the watch: the exit code.
    pub ending: AtomicU32,
    /// What has been proved.
    pub verdict: Paper,
}

/// The board of a node, mapped until the process ends.
pub(crate) struct Board {
    pub header: &'static Header,
    pub slots: &'static [Slot],
    /// Which of the slots is this rank's.
    mine: usize,
}

static BOARD: OnceLock<Board> = OnceLock::new();

/// The board, once it is there.
pub(crate) fn board() -> Option<&'static Board> {
    BOARD.get()
}

impl Board {
    pub fn mine(&self) -> &'static Slot {
        &self.slots[self.mine]
    }
}

fn format() -> u64 {
    let text = concat!(env!("CARGO_PKG_VERSION"), " ", env!("CARGO_PKG_NAME"));
    let size = size_of::<Slot>() as u64;
    text.bytes().fold(size, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)) | 1
}

/// Where a file can live in memory: nothing of it should reach a disk.
fn directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn length(slots: usize) -> usize {
    size_of::<Header>() + slots * size_of::<Slot>()
}

/// Creates the board. Called by one rank of a node, which tells the others the path.
pub(crate) fn create(unique: u64, slots: usize) -> io::Result<PathBuf> {
    let path = directory().join(format!("phalanx-{}-{unique:016x}", std::process::id()));
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    let made = reserve(&file, length(slots)).and_then(|()| map(&file, slots, 0));
    if let Err(error) = made {
        // Nobody else knows the file. That it stays is less than what is told already.
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    if let Some(board) = board() {
        board.header.format.store(format(), Release);
    }
    Ok(path)
}

/// Takes the memory now: a full file system is an error here, and not a signal at the first write.
fn reserve(file: &File, length: usize) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length as libc::off_t) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Opens the board that another rank has made.
pub(crate) fn open(path: &Path, slots: usize, mine: usize) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    if file.metadata()?.len() != length(slots) as u64 {
        return Err(io::Error::other("the board is another version's"));
    }
    map(&file, slots, mine)
}

pub(crate) fn unlink(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// A board for this rank alone, where none can be shared.
pub(crate) fn alone() {
    let words = length(1).div_ceil(64);
    // SAFETY: the memory is zero, aligned as its first part asks for, never freed, and nobody else's.
    BOARD.get_or_init(|| unsafe {
        let layout = std::alloc::Layout::from_size_align_unchecked(words * 64, 64);
        let memory = std::alloc::alloc_zeroed(layout);
        if memory.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        board_at(memory, 1, 0)
    });
}

/// # Safety
/// `length(slots)` zeroed or shared bytes lie there, aligned to 64, until the process ends.
unsafe fn board_at(memory: *mut u8, slots: usize, mine: usize) -> Board {
    // SAFETY: the caller's promise; all fields are atomic numbers, for which every bit pattern is a
    // value and which other processes may change.
    unsafe {
        let header = &*memory.cast::<Header>();
        let first = memory.add(size_of::<Header>()).cast::<Slot>();
        Board { header, slots: std::slice::from_raw_parts(first, slots), mine }
    }
}

fn map(file: &File, slots: usize, mine: usize) -> io::Result<()> {
    // SAFETY: a new shared mapping of a file of that length; the result is checked.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length(slots),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping has that length, begins at a page and stays.
    BOARD.get_or_init(|| unsafe { board_at(address.cast(), slots, mine) });
    Ok(())
}

impl Header {
    /// Another node reports: the ranks of this one need not.
    pub fn give_up_claim(&self) {
        // Who has claimed it already reports as well.
        let _ = self.claim.compare_exchange(0, NOBODY, Ordering::AcqRel, Relaxed);
    }
}

/// The number of no process.
const NOBODY: u32 = u32::MAX;

/// Whether the board was made by this version of the library. To be asked when all have opened it.
pub(crate) fn is_understood() -> bool {
    board().is_some_and(|board| board.header.format.load(Acquire) == format())
}

/// Whether this rank is the first of its node to report. Without a board every rank is.
pub(crate) fn is_first() -> bool {
    let me = std::process::id();
    board().is_none_or(|board| {
        match board.header.claim.compare_exchange(0, me, Ordering::AcqRel, Acquire) {
            Ok(_) => true,
            Err(owner) => owner == me,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper() -> Box<Paper> {
        let layout = std::alloc::Layout::new::<Paper>();
        // SAFETY: a paper has a size and is plain numbers, for which zero is a value; the box frees an
        // allocation of the global allocator with the layout of its content.
        unsafe { Box::from_raw(std::alloc::alloc_zeroed(layout).cast()) }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_too_long_is_cut() {
        let paper = paper();
        assert_eq!(paper.read().as_deref(), Some(&[][..]));
        paper.write(b"hello, board");
        assert_eq!(paper.read().as_deref(), Some(&b"hello, board"[..]));
        paper.write(&vec![7; PAPER + 5]);
        assert_eq!(paper.read().map(|it| it.len()), Some(PAPER));
    }

    #[test]
    fn a_reader_never_sees_half_of_a_text() {
        let paper = paper();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..2000_u32 {
                    paper.write(&[round as u8; 3000]);
                }
                done.store(true, Release);
            });
            while !done.load(Acquire) {
                if let Some(text) = paper.read()
                    && let Some(first) = text.first()
                {
                    assert!(text.iter().all(|byte| byte == first));
                }
            }
        });
    }
}

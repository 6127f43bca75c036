//! Memory that the ranks of a node share: who reports a failure, and what each rank does.
//!
//! An assertion that fails on every rank would print one report a rank. So there is one word on the
//! board; who claims it prints, the others stay silent. And each rank has a slot, in which the number of its
//! calls and its statement lie for the watch of any other rank, and what it says of the messages that it sends.
//! The file behind the board is unlinked as soon as all have opened it: nothing is left behind, whatever ends
//! the job.
//!
//! Each rank can write to all of it, so that a wild pointer of one could mislead the others. Therefore the
//! board holds numbers and bytes alone, and all that something follows from is sealed (`seal.rs`): where a
//! stray write has hit, nothing is said. What need not be shared is not: who has which slot
//! is in the memory of each rank.

mod paper;
mod seal;
mod sent_notes;
mod slot;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU64, Ordering, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::mm::{MapFlags, ProtFlags};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::host::{ProcessState, process_space};
use paper::Paper;
use seal::Seal;
pub(crate) use sent_notes::{Entry, MessageNumber, NO_TEXT, Text};
use slot::Slot;
pub(crate) use slot::{Member, Owner, Phase};

/// Bytes of a statement.
pub(crate) const LONGEST_STATEMENT: usize = Paper::CAPACITY;

#[repr(C, align(64))]
struct Header {
    /// Tells boards of other versions of this library apart.
    format: AtomicU64,
    /// The rank that prints the report of a failure.
    claim: AtomicU64,
    /// The rank that prints a warning.
    warner: AtomicU64,
    /// The rank that writes a verdict.
    writer: AtomicU64,
    /// Not zero when the job is being ended by the watch: the exit code.
    ending: AtomicU64,
    /// What has been proved.
    verdict: Paper,
}

/// What of the header is sealed. The places of slots have their index above.
const CLAIM: u64 = 1 << 40 | 1;
const WARNER: u64 = 1 << 40 | 2;
const WRITER: u64 = 1 << 40 | 3;
const ENDING: u64 = 1 << 40 | 4;
const VERDICT: u64 = 1 << 40 | 5;

/// The board of a node, mapped until the process ends.
pub(crate) struct Board {
    header: &'static Header,
    seal: Seal,
    pub members: Vec<Member>,
    /// Which of the members is this rank.
    mine: usize,
}

static BOARD: OnceLock<Board> = OnceLock::new();

/// The board, once it is there.
pub(crate) fn board() -> Option<&'static Board> {
    BOARD.get()
}

fn format() -> u64 {
    let text = concat!(env!("CARGO_PKG_VERSION"), " ", env!("CARGO_PKG_NAME"));
    xxh3_64_with_seed(text.as_bytes(), size_of::<Slot>() as u64) | 1
}

/// Where a file can live in memory: nothing of it should reach a disk.
fn directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn length(slots: usize) -> usize {
    size_of::<Header>() + slots * size_of::<Slot>()
}

/// Shared memory with room for a board, that no rank has a slot in.
pub(crate) struct Memory {
    start: *mut u8,
    slots: usize,
}

/// Creates the memory of a board. Called by one rank of a node, which tells the others the path.
pub(crate) fn create(unique: u64, slots: usize) -> io::Result<(PathBuf, Memory)> {
    let path = directory().join(format!("phalanx-{}-{unique:016x}", std::process::id()));
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    match reserve(&file, length(slots)).and_then(|()| map(&file, slots)) {
        Ok(memory) => {
            memory.header().format.store(format(), Release);
            Ok((path, memory))
        }
        Err(error) => {
            // Nobody else knows the file. That it stays is less than what is told already.
            let _ = fs::remove_file(&path);
            Err(error)
        }
    }
}

/// Takes the memory now: a full file system is an error here, and not a signal at the first write.
fn reserve(file: &File, length: usize) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length as libc::off_t) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Opens the memory that another rank has made.
pub(crate) fn open(path: &Path, slots: usize) -> io::Result<Memory> {
    let no_link = OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new().read(true).write(true).custom_flags(no_link).open(path)?;
    if file.metadata()?.len() != length(slots) as u64 {
        return Err(io::Error::other("the board is another version's"));
    }
    let memory = map(&file, slots)?;
    if memory.header().format.load(Acquire) != format() {
        return Err(io::Error::other("the board is another version's"));
    }
    Ok(memory)
}

pub(crate) fn unlink(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

fn map(file: &File, slots: usize) -> io::Result<Memory> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new shared mapping of a file of that length, where the system likes.
    let start = unsafe {
        rustix::mm::mmap(ptr::null_mut(), length(slots), access, MapFlags::SHARED, file, 0)?
    };
    Ok(Memory { start: start.cast(), slots })
}

impl Memory {
    /// Memory for this rank alone, where none can be shared.
    fn alone() -> Self {
        let words = length(1).div_ceil(64);
        // SAFETY: the layout has a size, and an alignment that is a power of two.
        let start = unsafe {
            let layout = std::alloc::Layout::from_size_align_unchecked(words * 64, 64);
            let start = std::alloc::alloc_zeroed(layout);
            if start.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            start
        };
        Memory { start, slots: 1 }
    }

    fn header(&self) -> &'static Header {
        // SAFETY: at least `length(slots)` bytes lie there until the process ends, zeroed or shared,
        // aligned to 64; all fields are atomic numbers, for which every bit pattern is a value and which
        // other processes may change.
        unsafe { &*self.start.cast() }
    }

    fn slots(&self) -> &'static [Slot] {
        // SAFETY: as above; the slots follow the header.
        unsafe {
            let first = self.start.add(size_of::<Header>()).cast();
            std::slice::from_raw_parts(first, self.slots)
        }
    }
}

/// Takes a slot. `key` and `owners`, in the order of the slots, are what the ranks of the node have told each
/// other. Without memory that is shared this rank has a board for itself.
pub(crate) fn begin(memory: Option<Memory>, key: u64, owners: &[Owner], mine: usize) {
    let shared = memory.filter(|memory| memory.slots == owners.len());
    let (memory, owners, mine) = match shared {
        Some(memory) => (memory, owners, mine),
        None => (Memory::alone(), &owners[mine..=mine], 0),
    };
    let (seal, space) = (Seal::new(key), process_space());
    let members = memory.slots().iter().zip(owners).enumerate();
    let members = members
        .map(|(index, (slot, owner))| Member::new(slot, seal, *owner, index, space))
        .collect();
    let board = BOARD.get_or_init(|| Board { header: memory.header(), seal, members, mine });
    board.mine().set_phase(Phase::Running);
}

/// How long the writer of a verdict may take.
const WRITES_WITHIN: Duration = Duration::from_millis(100);

impl Board {
    pub fn mine(&self) -> &Member {
        &self.members[self.mine]
    }

    /// Another node reports: the ranks of this one need not.
    pub fn give_up_claim(&self) {
        self.claim(&self.header.claim, CLAIM, NOBODY);
    }

    /// Claims a word for a member. Returns whether it is that member's now.
    fn claim(&self, word: &AtomicU64, place: u64, member: u32) -> bool {
        loop {
            let current = word.load(Acquire);
            match self.seal.number(place, current) {
                Some(owner) => return owner == member,
                // Nobody has it, or what is there was written by accident.
                None => {
                    let mine = self.seal.word(place, member);
                    if word.compare_exchange(current, mine, Ordering::AcqRel, Relaxed).is_ok() {
                        return true;
                    }
                }
            }
        }
    }

    /// Claims a word for this rank, unless a process that exists has it.
    fn claim_for_a_while(&self, word: &AtomicU64, place: u64) -> bool {
        let current = word.load(Acquire);
        let owner = self.seal.number(place, current).and_then(|it| self.members.get(it as usize));
        if owner.is_some_and(|it| it.process().state() == ProcessState::Gone) {
            let _ = word.compare_exchange(current, 0, Ordering::AcqRel, Relaxed);
        }
        // This rank has several threads that may ask.
        self.seal.number(place, word.load(Acquire)).is_none()
            && self.claim(word, place, self.mine as u32)
    }

    /// Says that the job ends with this exit code.
    pub fn end(&self, code: i32) {
        self.header.ending.store(self.seal.word(ENDING, code.cast_unsigned()), Release);
    }

    /// The exit code with which the job ends, if the watch of any rank has said so.
    pub fn ending(&self) -> Option<i32> {
        let word = self.header.ending.load(Acquire);
        self.seal.number(ENDING, word).map(u32::cast_signed)
    }

    /// Writes what has been proved. One rank after the other.
    pub fn set_verdict(&self, text: &str) {
        let start = Instant::now();
        let writer = &self.header.writer;
        while !self.claim_for_a_while(writer, WRITER) && start.elapsed() < WRITES_WITHIN {
            thread::yield_now();
        }
        self.header.verdict.write(self.seal, VERDICT, text.as_bytes());
        writer.store(0, Release);
    }

    /// What has been proved; empty where nothing was, and where it cannot be read.
    pub fn verdict(&self) -> String {
        let bytes = self.header.verdict.read(self.seal, VERDICT).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Lets one rank print a warning. `None` while another one does. (A right that is made and dropped would
    /// take away the other one's.)
    pub fn warner(&self) -> Option<Warner<'_>> {
        self.claim_for_a_while(&self.header.warner, WARNER).then(|| Warner(self))
    }
}

/// The right to print a warning.
pub(crate) struct Warner<'a>(&'a Board);

impl Drop for Warner<'_> {
    fn drop(&mut self) {
        self.0.header.warner.store(0, Release);
    }
}

/// The number of no member.
const NOBODY: u32 = u32::MAX;

/// Whether this rank is the first of its node to report. Without a board every rank is.
pub(crate) fn is_first() -> bool {
    board().is_none_or(|board| board.claim(&board.header.claim, CLAIM, board.mine as u32))
}

/// A board for the tests of those who read one.
#[cfg(test)]
pub(crate) fn board_for_tests() -> &'static Board {
    Box::leak(Box::new(tests::alone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Process;

    pub(super) fn alone() -> Board {
        let (memory, seal) = (Memory::alone(), Seal::new(3));
        let owner = Owner { world_rank: 5, process: Process::this(), space: process_space() };
        let slot = &memory.slots()[0];
        let members = vec![Member::new(slot, seal, owner, 0, process_space())];
        Board { header: memory.header(), seal, members, mine: 0 }
    }

    /// Writes over all of a board.
    fn damage(board: &Board, value: u64) {
        let header = ptr::from_ref(board.header).cast::<AtomicU64>();
        // SAFETY: all of the memory is atomic numbers of at most 64 bits.
        let words = unsafe { std::slice::from_raw_parts(header, length(1) / 8) };
        words.iter().for_each(|word| word.store(value, Relaxed));
    }

    #[test]
    fn nothing_follows_from_what_no_rank_has_written() {
        for value in [1, 2, 3, 0x4141_4141_4141, 0x4141_4141_4141_4141, u64::MAX] {
            let board = alone();
            board.mine().set_phase(Phase::Running);
            damage(&board, value);
            let mine = board.mine();
            assert_eq!((board.ending(), board.verdict().as_str()), (None, ""));
            assert_eq!((mine.phase(), mine.world_rank()), (Phase::Free, 5));
            assert!(!mine.waits() && !mine.is_stuck(value) && mine.statement().is_none());
            // What is written later counts again.
            assert!(board.claim(&board.header.claim, CLAIM, 0), "the failure can be reported");
            assert!(!board.claim(&board.header.claim, CLAIM, 1));
            assert!(board.warner().is_some() && board.warner().is_some());
            board.set_verdict("proved");
            board.end(86);
            mine.set_stuck(7);
            mine.state(9, b"here");
            assert_eq!((board.ending(), board.verdict().as_str()), (Some(86), "proved"));
            assert!(mine.is_stuck(7) && !mine.is_stuck(9));
            assert_eq!((mine.stated(), mine.statement().as_deref()), (Some(9), Some(&b"here"[..])));
        }
    }

    #[test]
    fn who_asks_in_vain_for_the_right_to_speak_leaves_it_to_its_owner() {
        let board = alone();
        let owner = board.warner().expect("nobody speaks");
        assert!(board.warner().is_none());
        assert!(board.warner().is_none(), "the first question has not taken it away");
        drop(owner);
        assert!(board.warner().is_some());
    }

    #[test]
    fn one_of_several_ranks_reports_and_none_after_another_node_has() {
        let board = alone();
        assert!(board.claim(&board.header.claim, CLAIM, 2));
        assert!(board.claim(&board.header.claim, CLAIM, 2), "it may ask again");
        assert!(!board.claim(&board.header.claim, CLAIM, 1));
        let other = alone();
        other.give_up_claim();
        assert!(!other.claim(&other.header.claim, CLAIM, 0));
    }
}

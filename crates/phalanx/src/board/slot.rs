//! The part of the board that belongs to one rank.

use std::sync::atomic::{
    AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence,
};

use super::paper::Paper;
use super::seal::Seal;
use super::sent_notes::Notes;
use crate::host::{Process, ProcessState};

/// What a rank is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    /// Nobody has taken the slot, or what it says makes no sense.
    Free = 0,
    Running = 1,
    /// MPI is finalized, or the watch is over in a guest's MPI.
    Finalized = 2,
}

/// What the board knows of one rank. Numbers and bytes alone: whatever is written there, by whomever, is
/// checked by who reads it.
#[repr(C, align(64))]
pub(super) struct Slot {
    /// The sequence number of the rank's lane. The rank writes it and never reads it.
    sequence: AtomicU64,
    phase: AtomicU64,
    /// The sequence number for which the statement was written, plus one, or 0 for none.
    stated: AtomicU64,
    /// The sequence number of a call of which it is proved that it never returns, and its hash.
    stuck_call: AtomicU64,
    stuck_hash: AtomicU64,
    /// The sequence number of a call about which a warning was printed, plus one.
    warned: AtomicU64,
    statement: Paper,
    notes: Notes,
}

/// Who has a slot: what the ranks have told each other over MPI. In private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub world_rank: usize,
    pub process: Process,
    /// The set of processes in which it knows itself by that number.
    pub space: u64,
}

impl Owner {
    /// As numbers, to be told to others.
    pub fn to_words(self) -> [u64; 4] {
        [self.world_rank as u64, u64::from(self.process.id), self.process.started, self.space]
    }

    pub fn from_words(&[world_rank, id, started, space]: &[u64; 4]) -> Self {
        let process = Process { id: id as u32, started };
        Owner { world_rank: world_rank as usize, process, space }
    }
}

/// A rank of the node, with its slot.
pub(crate) struct Member {
    slot: &'static Slot,
    seal: Seal,
    owner: Owner,
    /// The process, as far as this one can know it.
    process: Process,
    /// Which place on the board it has, for the seals.
    index: u64,
}

/// What of a slot is sealed.
const PHASE: u64 = 1;
const STATEMENT: u64 = 2;
const STUCK: u64 = 3;
const NOTES: u64 = 4;

impl Member {
    pub(super) fn new(
        slot: &'static Slot,
        seal: Seal,
        owner: Owner,
        index: usize,
        space: u64,
    ) -> Self {
        let started = if owner.space == space { owner.process.started } else { 0 };
        let process = Process { id: owner.process.id, started };
        Member { slot, seal, owner, process, index: index as u64 }
    }

    fn place(&self, what: u64) -> u64 {
        self.index << 8 | what
    }

    pub fn world_rank(&self) -> usize {
        self.owner.world_rank
    }

    pub fn process(&self) -> Process {
        self.process
    }

    pub fn set_phase(&self, phase: Phase) {
        self.slot.phase.store(self.seal.word(self.place(PHASE), phase as u32), Release);
    }

    pub fn phase(&self) -> Phase {
        match self.seal.number(self.place(PHASE), self.slot.phase.load(Acquire)) {
            Some(1) => Phase::Running,
            Some(2) => Phase::Finalized,
            _ => Phase::Free,
        }
    }

    /// Where the rank shows the sequence number of its lane.
    pub fn sequence_word(&self) -> &'static AtomicU64 {
        &self.slot.sequence
    }

    /// Shows again what this rank shows, where a stray write may have hit. `sequence` is that of its lane.
    pub fn repair(&self, sequence: impl FnOnce() -> u64) {
        let shown = self.slot.sequence.load(Acquire);
        let sequence = sequence();
        if shown != sequence {
            // Where the rank has gone on meanwhile it shows so itself, and what it shows stays.
            let _ = self.slot.sequence.compare_exchange(shown, sequence, Release, Relaxed);
        }
        if self.phase() == Phase::Free {
            self.set_phase(Phase::Running);
        }
    }

    /// Before anything else of the slot is read.
    pub fn sequence(&self) -> u64 {
        self.slot.sequence.load(Acquire)
    }

    /// Whether the rank is as it was when the sequence was read: to be asked when all is read.
    pub fn is_still_at(&self, sequence: u64) -> bool {
        fence(Acquire);
        self.slot.sequence.load(Relaxed) == sequence
    }

    /// Whether the rank is inside a call of which it has told, and its process can act.
    pub fn waits(&self) -> bool {
        let sequence = self.sequence();
        self.phase() == Phase::Running
            && sequence % 2 == 1
            && self.stated() == Some(sequence)
            && matches!(self.process.state(), ProcessState::Alive | ProcessState::Unknown)
    }

    /// Publishes what the rank says of the state with this sequence number.
    pub fn state(&self, sequence: u64, statement: &[u8]) {
        if self.stated() != Some(sequence) {
            self.slot.stated.store(0, Release);
        }
        self.slot.statement.write(self.seal, self.place(STATEMENT), statement);
        self.slot.stated.store(sequence + 1, Release);
    }

    /// The sequence number of the last statement.
    pub fn stated(&self) -> Option<u64> {
        self.slot.stated.load(Acquire).checked_sub(1)
    }

    /// The last statement.
    pub fn statement(&self) -> Option<Vec<u8>> {
        self.slot.statement.read(self.seal, self.place(STATEMENT))
    }

    /// Says that the call with this sequence number never returns.
    pub fn set_stuck(&self, sequence: u64) {
        let hash = self.seal.hash(self.place(STUCK), &sequence.to_le_bytes());
        self.slot.stuck_call.store(sequence, Relaxed);
        self.slot.stuck_hash.store(hash, Release);
    }

    /// Whether somebody has said so.
    pub fn is_stuck(&self, sequence: u64) -> bool {
        let hash = self.seal.hash(self.place(STUCK), &sequence.to_le_bytes());
        self.slot.stuck_hash.load(Acquire) == hash && self.slot.stuck_call.load(Relaxed) == sequence
    }

    /// Takes it back, when the rank has heard of it.
    pub fn clear_stuck(&self) {
        self.slot.stuck_hash.store(0, Release);
    }

    /// Notes that a warning about the rank as it is was printed.
    pub fn set_warned(&self) {
        self.slot.warned.store(self.sequence().wrapping_add(1), Release);
    }

    pub fn is_warned(&self, sequence: u64) -> bool {
        self.slot.warned.load(Acquire) == sequence.wrapping_add(1)
    }

    /// Forgets it, because the rank has made progress on another thread.
    pub fn clear_warned(&self) {
        self.slot.warned.store(0, Release);
    }

    /// What it says of the messages that it sends.
    pub fn notes(&self) -> (&'static Notes, Seal, u64) {
        (&self.slot.notes, self.seal, self.place(NOTES))
    }
}

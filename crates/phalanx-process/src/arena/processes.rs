//! A slot of shared memory for each process of a tree.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::sys::Deadline;
use crate::sys::robust::{Acquired, RobustMutex};

/// Processes of one tree that live at the same time.
pub const MAX_PROCESSES: usize = 1024;

const NAME: usize = 48;

/// What a slot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    Free = 0,
    /// A parent fills it.
    Starting = 1,
    /// Its process holds the life lock.
    Running = 2,
    /// Somebody cleans up after its process.
    Ended = 3,
}

/// What a process left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ended {
    Nothing = 0,
    Value = 1,
    Panic = 2,
    Encode = 3,
    Decode = 4,
}

#[repr(C, align(64))]
pub struct ProcessSlot {
    state: AtomicU32,
    /// Tells the users of one slot apart.
    generation: AtomicU32,
    pid: AtomicU32,
    parent: AtomicU32,
    /// Changes, and is woken, when something may have happened that this process waits for.
    pub event: AtomicU32,
    name_length: AtomicU32,
    name: [AtomicU8; NAME],
    /// Held by the process for as long as it lives: the kernel releases it.
    life: RobustMutex,
    pub enter: AtomicU64,
    pub function: AtomicU64,
    pub arguments: AtomicU64,
    pub arguments_length: AtomicU64,
    ended: AtomicU32,
    result: AtomicU64,
    result_length: AtomicU64,
    /// Where it says which locks its threads wait for. The block stays with the slot.
    pub waits: AtomicU64,
}

impl ProcessSlot {
    /// The slot of the root.
    pub fn begin_root(&self, pid: u32) -> io::Result<()> {
        // SAFETY: the memory was just created.
        unsafe { self.life.init()? };
        self.set_name("main");
        self.pid.store(pid, Ordering::Relaxed);
        self.state.store(State::Running as u32, Ordering::Release);
        Ok(())
    }

    /// Takes a free slot for a child. It is not visible as a process before it has started.
    pub fn reserve(&self, parent: u32, name: &str) -> io::Result<bool> {
        if self
            .state
            .compare_exchange(
                State::Free as u32,
                State::Starting as u32,
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_err()
        {
            return Ok(false);
        }
        // Once only: somebody may be asking at this moment whether its former process is dead, and holds the lock.
        if self.generation.load(Ordering::Relaxed) == 0 {
            // SAFETY: the slot is ours, and was never used.
            if let Err(error) = unsafe { self.life.init() } {
                self.free();
                return Err(error);
            }
        }
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.parent.store(parent, Ordering::Relaxed);
        self.pid.store(0, Ordering::Relaxed);
        self.event.store(0, Ordering::Relaxed);
        self.leave(Ended::Nothing, 0, 0);
        self.set_name(name);
        Ok(true)
    }

    fn set_name(&self, name: &str) {
        let mut end = name.len().min(NAME);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        for (stored, byte) in self.name.iter().zip(&name.as_bytes()[..end]) {
            stored.store(*byte, Ordering::Relaxed);
        }
        self.name_length.store(end as u32, Ordering::Release);
    }

    pub fn name(&self) -> String {
        let length = (self.name_length.load(Ordering::Acquire) as usize).min(NAME);
        let bytes: Vec<u8> =
            self.name[..length].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn set_pid(&self, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
    }

    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    pub fn parent(&self) -> u32 {
        self.parent.load(Ordering::Relaxed)
    }

    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            1 => State::Starting,
            2 => State::Running,
            3 => State::Ended,
            _ => State::Free,
        }
    }

    /// The process begins: `false` when it was given up already. The calling thread holds the life lock from now
    /// on, and must not end before the process does.
    pub fn begin(&self, generation: u32) -> bool {
        if self.life.lock(Deadline::NEVER).is_err() {
            return false;
        }
        // The slot may serve another process by now.
        let begins = self.generation() == generation
            && self
                .state
                .compare_exchange(
                    State::Starting as u32,
                    State::Running as u32,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                )
                .is_ok();
        if !begins {
            self.life.unlock();
        }
        begins
    }

    /// The calling thread of the root holds the life lock from now on.
    pub fn hold_root(&self) {
        // Nobody else takes the root's lock but to ask whether it is free.
        let _held = self.life.lock(Deadline::NEVER);
    }

    /// Whether a process that has begun is dead, as the kernel says. Not to be asked by itself.
    pub fn is_dead(&self) -> bool {
        match self.life.try_lock() {
            Ok(Acquired::HolderDied | Acquired::Released) => {
                // While the lock is held: it may begin as soon as it is not.
                let is_dead = self.state() != State::Starting;
                self.life.unlock();
                is_dead
            }
            Err(_) => false,
        }
    }

    /// Claims the cleaning up after the process: one succeeds.
    pub fn end(&self) -> bool {
        let ended = |from: State| {
            self.state
                .compare_exchange(
                    from as u32,
                    State::Ended as u32,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                )
                .is_ok()
        };
        ended(State::Running) || ended(State::Starting)
    }

    pub fn free(&self) {
        self.state.store(State::Free as u32, Ordering::Release);
    }

    /// The process leaves its result.
    pub fn leave(&self, ended: Ended, result: u64, length: u64) {
        self.result.store(result, Ordering::Relaxed);
        self.result_length.store(length, Ordering::Relaxed);
        self.ended.store(ended as u32, Ordering::Release);
    }

    /// What the process has left: place and length of the bytes.
    pub fn left(&self) -> (Ended, u64, u64) {
        let ended = match self.ended.load(Ordering::Acquire) {
            1 => Ended::Value,
            2 => Ended::Panic,
            3 => Ended::Encode,
            4 => Ended::Decode,
            _ => Ended::Nothing,
        };
        (ended, self.result.load(Ordering::Relaxed), self.result_length.load(Ordering::Relaxed))
    }
}

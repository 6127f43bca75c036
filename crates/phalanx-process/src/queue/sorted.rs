//! Waiting for items, and for room, in a queue of slots.
//!
//! As in `channel`, who waits sleeps while it holds the gate of its side: one sleeper a side, and the kernel hands
//! the waiting on when it dies. The slots have a lock of their own, which is held for a few instructions.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::channel::{Refusal, Refused, Unlock, wake_sleeper};
use super::position::MAX_ITEMS;
use super::slots::{Rule, Slots};
use crate::arena::{Arena, Kind, Shared, existing};
use crate::error::{Error, ErrorKind, Result};
use crate::packed::Packed;
use crate::sys::robust::{NotPassed, RobustMutex};
use crate::sys::{Deadline, futex};

#[repr(C, align(64))]
pub struct Body {
    /// Held by who puts into a queue with a limit.
    put: RobustMutex,
    get: RobustMutex,
    putter_sleeps: AtomicU32,
    getter_sleeps: AtomicU32,
    closed: AtomicU32,
    limit: AtomicU64,
    /// Items that were worked on, as `task_done` counts them.
    done: AtomicU64,
    /// Changes when the last item was worked on.
    finished: AtomicU32,
    slots: Slots,
}

// SAFETY: it is `repr(C)`, of atomics and mutexes, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::SortedQueue;

    fn destroy(&self, _arena: &Arena) {
        // What cannot be mapped cannot be given back.
        drop(self.slots.destroy(existing()));
    }
}

impl Body {
    pub fn init(&self, arena: &'static Arena, rule: Rule, limit: u64) -> Result<()> {
        for gate in [&self.put, &self.get] {
            // SAFETY: nobody else knows the object yet.
            unsafe { gate.init() }
                .map_err(|error| Error::new(ErrorKind::System, "new", error.to_string()))?;
        }
        for word in [&self.putter_sleeps, &self.getter_sleeps, &self.closed, &self.finished] {
            word.store(0, Ordering::Relaxed);
        }
        self.done.store(0, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        self.slots.init(arena, rule)
    }

    pub fn len(&self) -> u64 {
        self.slots.count()
    }

    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.len() >= self.limit()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) != 0
    }

    pub fn close(&self) {
        // What is put before it is in the queue before it: nobody who sees it misses an item.
        self.slots.alone(|| self.closed.store(1, Ordering::Release));
        fence(Ordering::SeqCst);
        wake_sleeper(&self.getter_sleeps);
        wake_sleeper(&self.putter_sleeps);
    }

    /// Puts a record.
    pub fn put(
        &self,
        arena: &'static Arena,
        priority: i64,
        record: &[u8],
        deadline: Deadline,
    ) -> Result<(), Refused> {
        let _gate = if self.limit() == MAX_ITEMS {
            None
        } else {
            self.pass(&self.put, deadline, || self.is_full())?;
            Some(Unlock(&self.put))
        };
        let record = Packed::new(arena, record)?;
        loop {
            let slots = self.slots.lock(arena)?;
            if self.is_closed() {
                return Err(Refusal::Closed.into());
            }
            if !self.is_full() {
                slots.put(priority, record)?;
                break;
            }
            drop(slots);
            self.sleep(&self.putter_sleeps, deadline, || self.is_full())?;
        }
        fence(Ordering::SeqCst);
        wake_sleeper(&self.getter_sleeps);
        Ok(())
    }

    /// Gets a record.
    pub fn get(&self, arena: &'static Arena, deadline: Deadline) -> Result<Packed, Refused> {
        self.pass(&self.get, deadline, || self.len() == 0)?;
        let _gate = Unlock(&self.get);
        let record = loop {
            let slots = self.slots.lock(arena)?;
            if let Some(record) = slots.get()? {
                break record;
            }
            if self.is_closed() {
                return Err(Refusal::Closed.into());
            }
            drop(slots);
            self.sleep(&self.getter_sleeps, deadline, || self.len() == 0)?;
        };
        fence(Ordering::SeqCst);
        wake_sleeper(&self.putter_sleeps);
        Ok(record)
    }

    /// Sleeps until somebody wakes this side, or it is time to look again.
    fn sleep(
        &self,
        flag: &AtomicU32,
        deadline: Deadline,
        nothing_to_do: impl Fn() -> bool,
    ) -> Result<(), Refusal> {
        if deadline.has_passed() {
            return Err(Refusal::TimedOut);
        }
        flag.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if nothing_to_do() && !self.is_closed() {
            futex::wait(flag, 1, deadline.slice());
        }
        flag.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Acquires a gate. It does not give up because somebody else is just busy there, unless that one
    /// must be stopped.
    fn pass(
        &self,
        gate: &RobustMutex,
        deadline: Deadline,
        nothing_to_do: impl Fn() -> bool,
    ) -> Result<(), Refusal> {
        gate.pass(deadline, nothing_to_do).map_err(|why| match why {
            NotPassed::NothingToDo if self.is_closed() => Refusal::Closed,
            NotPassed::NothingToDo | NotPassed::Standstill => Refusal::TimedOut,
        })
    }

    /// Counts an item that was worked on: `false` when there is none.
    pub fn task_done(&self) -> bool {
        loop {
            let done = self.done.load(Ordering::Acquire);
            let Some(rest) = self.slots.sequence().checked_sub(done + 1) else { return false };
            if self
                .done
                .compare_exchange(done, done + 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                if rest == 0 {
                    self.finished.fetch_add(1, Ordering::AcqRel);
                    futex::wake(&self.finished, u32::MAX);
                }
                return true;
            }
        }
    }

    /// Items that were put, without those that were worked on.
    pub fn unfinished(&self) -> u64 {
        let done = self.done.load(Ordering::Acquire);
        self.slots.sequence().saturating_sub(done)
    }

    /// Waits until all are worked on.
    pub fn join(&self, deadline: Deadline) -> bool {
        loop {
            let finished = self.finished.load(Ordering::Acquire);
            if self.unfinished() == 0 {
                return true;
            }
            if deadline.has_passed() {
                return false;
            }
            futex::wait(&self.finished, finished, deadline.slice());
        }
    }
}

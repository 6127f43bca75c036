//! Threads that wait in the order in which they came. Those that died are passed over.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::party::{is_gone, me};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::robust::{Held, RobustMutex};
use crate::sys::{Deadline, futex};

/// Threads that wait in one line at most.
pub const PLACES: usize = 1000;

const FREE: u32 = 0;
const WAITS: u32 = 1;
const CALLED: u32 = 2;
/// It waits, and is to look whether it is the first now.
const NUDGED: u32 = 3;

#[repr(C)]
struct Seat {
    /// The process; 0 for a free one.
    who: AtomicU64,
    ticket: AtomicU32,
    state: AtomicU32,
}

/// The line. A seat is taken by the store of `who`, and left by another one.
#[repr(C)]
pub struct Line {
    gate: RobustMutex,
    next: AtomicU32,
    /// Seats that were ever used.
    used: AtomicU32,
    seats: [Seat; PLACES],
}

impl Line {
    pub fn init(&self) -> Result<()> {
        // SAFETY: nobody else knows it yet.
        unsafe { self.gate.init() }
            .map_err(|error| Error::new(ErrorKind::System, "new", error.to_string()))?;
        for seat in self.used_seats() {
            seat.who.store(0, Ordering::Relaxed);
            seat.state.store(FREE, Ordering::Relaxed);
        }
        self.used.store(0, Ordering::Relaxed);
        self.next.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn used_seats(&self) -> &[Seat] {
        &self.seats[..(self.used.load(Ordering::Acquire) as usize).min(PLACES)]
    }

    /// Those that wait and live. The caller has the gate.
    fn waiting(&self) -> impl Iterator<Item = (usize, &Seat)> {
        self.used_seats().iter().enumerate().filter(|(_, seat)| {
            let who = seat.who.load(Ordering::Acquire);
            if who == 0 || seat.state.load(Ordering::Acquire) == CALLED {
                return false;
            }
            if is_gone(who) {
                seat.leave();
                return false;
            }
            true
        })
    }

    fn first(&self) -> Option<(usize, &Seat)> {
        let next = self.next.load(Ordering::Relaxed);
        // Tickets go round: the oldest is the one that is farthest behind the next.
        self.waiting()
            .max_by_key(|(_, seat)| next.wrapping_sub(seat.ticket.load(Ordering::Relaxed)))
    }

    pub fn hold(&self) -> Held<'_> {
        self.gate.hold().0
    }

    /// Whether nobody waits. The caller has the gate.
    pub fn is_empty(&self, _held: &Held<'_>) -> bool {
        self.used_seats().iter().all(|seat| seat.who.load(Ordering::Relaxed) == 0)
            || self.first().is_none()
    }

    /// Takes a seat at the end.
    pub fn enter(&self, _held: &Held<'_>) -> Result<usize, Error> {
        let used = self.used_seats();
        let free = used.iter().position(|seat| {
            let who = seat.who.load(Ordering::Acquire);
            who == 0 || is_gone(who)
        });
        let number = match free {
            Some(number) => number,
            None if used.len() < PLACES => {
                self.used.store(used.len() as u32 + 1, Ordering::Release);
                used.len()
            }
            None => {
                let detail = format!("{PLACES} threads wait for it already");
                return Err(Error::new(ErrorKind::System, "wait", detail));
            }
        };
        let seat = &self.seats[number];
        seat.who.store(0, Ordering::Release);
        let ticket = self.next.load(Ordering::Relaxed);
        self.next.store(ticket.wrapping_add(1), Ordering::Relaxed);
        seat.ticket.store(ticket, Ordering::Relaxed);
        seat.state.store(WAITS, Ordering::Relaxed);
        seat.who.store(me(), Ordering::Release);
        Ok(number)
    }

    /// Gives a seat up. Says whether it was called.
    pub fn leave(&self, number: usize) -> bool {
        let _held = self.hold();
        let was_called = self.seats[number].state.load(Ordering::Relaxed) == CALLED;
        self.seats[number].leave();
        was_called
    }

    /// Whether a seat was called.
    pub fn is_called(&self, number: usize) -> bool {
        self.seats[number].state.load(Ordering::Acquire) == CALLED
    }

    /// Sleeps until the seat is called, and for a slice at most.
    pub fn sleep(&self, number: usize, deadline: Deadline) {
        futex::wait(&self.seats[number].state, WAITS, deadline.slice());
    }

    /// Whether a seat is the first in the line. It can be nudged again if it is not.
    pub fn is_first(&self, number: usize) -> bool {
        let _held = self.hold();
        self.seats[number].state.store(WAITS, Ordering::Release);
        self.first().is_some_and(|(first, _)| first == number)
    }

    /// A call for one that has died since, and cannot heed it, is for the first that lives.
    pub fn pass_on_lost_calls(&self) {
        let mut lost = 0;
        {
            let _held = self.hold();
            for seat in self.used_seats() {
                let who = seat.who.load(Ordering::Acquire);
                if who != 0 && seat.state.load(Ordering::Acquire) == CALLED && is_gone(who) {
                    seat.leave();
                    lost += 1;
                }
            }
        }
        if lost > 0 {
            self.call(lost);
        }
    }

    /// Wakes the first, which looks whether it is the first then.
    pub fn nudge(&self) {
        let _held = self.hold();
        if let Some((_, seat)) = self.first() {
            seat.state.store(NUDGED, Ordering::Release);
            futex::wake(&seat.state, 1);
        }
    }

    /// Wakes the first so many.
    pub fn call(&self, count: usize) -> usize {
        // Nobody enters unseen: who enters holds a lock that the caller has had, or does not need this call.
        if self.used.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let mut called = Vec::new();
        let _held = self.hold();
        if count == 1 {
            called.extend(self.first());
        } else {
            let next = self.next.load(Ordering::Relaxed);
            called.extend(self.waiting());
            called.sort_by_key(|(_, seat)| {
                std::cmp::Reverse(next.wrapping_sub(seat.ticket.load(Ordering::Relaxed)))
            });
            called.truncate(count);
        }
        for (_, seat) in &called {
            seat.state.store(CALLED, Ordering::Release);
        }
        for (_, seat) in &called {
            futex::wake(&seat.state, 1);
        }
        called.len()
    }
}

impl Seat {
    fn leave(&self) {
        self.who.store(0, Ordering::Release);
    }
}

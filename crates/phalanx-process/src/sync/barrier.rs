//! A point at which processes wait for each other.
//!
//! One word says which round it is and how many have come; each round ends by one store to it. Who waits has noted
//! its process: the others look whether all of these live.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::core::Caller;
use super::handle;
use super::party::{Holder, is_gone, me};
use crate::arena::{Arena, Kind, Object, Shared, fingerprint};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::robust::RobustMutex;
use crate::sys::{Deadline, futex};

/// Threads that one barrier can wait for.
const PARTIES: usize = 1024;

const BROKEN: u64 = 1 << 31;
const COUNT: u64 = BROKEN - 1;
const ROUND: u64 = 1 << 32;

const DIED: u32 = 1;
const TIMED_OUT: u32 = 2;
const ABORTED: u32 = 3;
const PANICKED: u32 = 4;
const RESET: u32 = 5;

#[repr(C, align(64))]
pub struct Body {
    gate: RobustMutex,
    parties: AtomicU32,
    /// Changes, and is woken, when a round ends.
    bell: AtomicU32,
    /// The round, whether the barrier is broken, and how many have come.
    state: AtomicU64,
    /// How the last 64 rounds ended: a bit is set for one that was broken.
    endings: AtomicU64,
    /// Why the last one was, and who was to blame.
    reason: AtomicU32,
    culprit: Holder,
    /// The processes of those that have come.
    came: [AtomicU64; PARTIES],
}

// SAFETY: it is `repr(C)`, of atomics and mutexes, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::Barrier;

    fn destroy(&self, _arena: &Arena) {}
}

fn round_of(state: u64) -> u64 {
    state / ROUND
}

fn count_of(state: u64) -> usize {
    (state & COUNT) as usize
}

impl Body {
    fn state(&self) -> u64 {
        self.state.load(Ordering::Acquire)
    }

    /// Ends a round: `reason` for a broken one. The caller has the gate.
    fn end(&self, state: u64, reason: Option<(u32, u64)>) {
        let bit = 1 << (round_of(state) % 64);
        let next = round_of(state).wrapping_add(1) as u32;
        let mut after = u64::from(next) * ROUND;
        match reason {
            None => drop(self.endings.fetch_and(!bit, Ordering::AcqRel)),
            Some((reason, who)) => {
                self.endings.fetch_or(bit, Ordering::AcqRel);
                self.culprit.note_other(who, 0);
                self.reason.store(reason, Ordering::Relaxed);
                if reason != RESET {
                    after |= BROKEN;
                }
            }
        }
        self.state.store(after, Ordering::Release);
        self.ring();
    }

    fn ring(&self) {
        self.bell.fetch_add(1, Ordering::AcqRel);
        futex::wake(&self.bell, u32::MAX);
    }

    /// One of those who have come to the round that is gone. The caller has the gate.
    fn dead(&self, state: u64) -> Option<u64> {
        self.came[..count_of(state)]
            .iter()
            .map(|who| who.load(Ordering::Acquire))
            .find(|who| is_gone(*who))
    }

    fn why(&self) -> String {
        let who = self.culprit.person();
        match self.reason.load(Ordering::Relaxed) {
            DIED => format!("{who} died while it waited"),
            TIMED_OUT => format!("the time of {who} was up while it waited"),
            PANICKED => format!("the action panicked in {who}"),
            RESET => format!("{who} has reset it"),
            _ => format!("{who} has called `abort`"),
        }
    }
}

/// How a [`Barrier`] was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierPass {
    index: usize,
    is_leader: bool,
}

impl BarrierPass {
    /// The number of this thread in the order in which they came, from 0.
    pub fn index(self) -> usize {
        self.index
    }

    /// Whether this is the one that came last. There is one in each round.
    pub fn is_leader(self) -> bool {
        self.is_leader
    }
}

/// A point at which a number of threads, of any processes, wait until all of them have come. It can be passed again
/// and again.
///
/// It *breaks* when one that waits dies, waits no longer, or calls [`abort`](Barrier::abort): everybody who waits or
/// comes is told so, until somebody calls [`reset`](Barrier::reset).
///
/// ```
/// use phalanx_process::{Barrier, Process};
///
/// let start = Barrier::new(2)?;
/// let other = Process::spawn(|start: Barrier| start.wait().is_ok(), start.clone())?;
/// start.wait()?;
/// assert!(other.join()?);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct Barrier {
    object: Object<Body>,
}

handle!(Barrier, "barrier");

impl Barrier {
    /// A barrier for so many threads.
    ///
    /// # Errors
    /// `Argument` for none, and for more than 1024; `System` when there is no memory.
    #[track_caller]
    pub fn new(parties: usize) -> Result<Self> {
        let location = Location::caller();
        let create = || {
            if parties == 0 || parties > PARTIES {
                let detail = format!("{parties} threads: it can be 1 to {PARTIES}");
                return Err(Error::new(ErrorKind::Argument, "new", detail));
            }
            Object::create(fingerprint::<Self>(), |_, body: &Body| {
                // SAFETY: nobody else knows it yet.
                unsafe { body.gate.init() }
                    .map_err(|error| Error::new(ErrorKind::System, "new", error.to_string()))?;
                body.parties.store(parties as u32, Ordering::Relaxed);
                body.state.store(0, Ordering::Relaxed);
                body.endings.store(0, Ordering::Relaxed);
                body.culprit.reset();
                Ok(())
            })
        };
        let object = create().map_err(|error| error.of("barrier").at(location))?;
        Ok(Barrier { object })
    }

    /// Waits until all have come.
    ///
    /// # Errors
    /// `Broken` when it is broken, or breaks while this thread waits: the message says why.
    #[track_caller]
    pub fn wait(&self) -> Result<BarrierPass> {
        let pass = self.pass("wait", Deadline::NEVER, || {}, Location::caller())?;
        Ok(pass.expect("a wait without an end"))
    }

    /// [`wait`](Barrier::wait), for so long at most: then this call gives `None`, and the barrier is broken for all
    /// others.
    ///
    /// # Errors
    /// As [`wait`](Barrier::wait).
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<BarrierPass>> {
        self.pass("wait_timeout", Deadline::after(timeout), || {}, Location::caller())
    }

    /// [`wait`](Barrier::wait); the last one to come runs the action before anybody goes on. A panic in it breaks
    /// the barrier.
    ///
    /// ```
    /// let barrier = phalanx_process::Barrier::new(1)?;
    /// let mut runs = 0;
    /// assert!(barrier.wait_with(|| runs += 1)?.is_leader());
    /// assert_eq!(runs, 1);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Barrier::wait).
    #[track_caller]
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<BarrierPass> {
        let pass = self.pass("wait_with", Deadline::NEVER, action, Location::caller())?;
        Ok(pass.expect("a wait without an end"))
    }

    /// Breaks it: those who wait and who come get `Broken`, until it is [`reset`](Barrier::reset).
    pub fn abort(&self) {
        let body = &*self.object;
        let (_held, _) = body.gate.hold();
        if body.state() & BROKEN == 0 {
            body.end(body.state(), Some((ABORTED, me())));
        }
    }

    /// Makes it as new. Those who wait get `Broken`.
    pub fn reset(&self) {
        let body = &*self.object;
        let (_held, _) = body.gate.hold();
        let state = body.state();
        if count_of(state) > 0 {
            body.end(state, Some((RESET, me())));
        } else {
            body.state.store(state & !BROKEN, Ordering::Release);
        }
    }

    /// How many it waits for.
    pub fn parties(&self) -> usize {
        self.object.parties.load(Ordering::Relaxed) as usize
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        count_of(self.object.state())
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.object.state() & BROKEN != 0
    }

    fn pass(
        &self,
        operation: &'static str,
        deadline: Deadline,
        action: impl FnOnce(),
        location: Caller,
    ) -> Result<Option<BarrierPass>> {
        let body = &*self.object;
        let broken =
            || Error::new(ErrorKind::Broken, operation, body.why()).of(self.subject()).at(location);
        let Some((round, index)) = self.arrive(deadline).map_err(|Broken| broken())? else {
            return Ok(None);
        };
        let is_leader = index + 1 == self.parties();
        if is_leader {
            let mut ending = Ending { body, round, reason: Some((PANICKED, me())) };
            action();
            ending.reason = None;
        } else if !self.await_end(round, deadline) {
            return Ok(None);
        }
        if body.endings.load(Ordering::Acquire) & (1 << (round % 64)) != 0 {
            return Err(broken());
        }
        Ok(Some(BarrierPass { index, is_leader }))
    }

    /// Joins the round that is not complete.
    fn arrive(&self, deadline: Deadline) -> Result<Option<(u64, usize)>, Broken> {
        let body = &*self.object;
        loop {
            let round = {
                let (_held, _) = body.gate.hold();
                let state = body.state();
                if state & BROKEN != 0 {
                    return Err(Broken);
                }
                let count = count_of(state);
                if count < self.parties() {
                    body.came[count].store(me(), Ordering::Relaxed);
                    body.state.store(state + 1, Ordering::Release);
                    return Ok(Some((round_of(state), count)));
                }
                round_of(state)
            };
            // All have come, and the action runs: this thread is for the next round.
            if !self.await_end(round, deadline) {
                return Ok(None);
            }
        }
    }

    /// Waits until a round ends. When the time is up it is broken.
    fn await_end(&self, round: u64, deadline: Deadline) -> bool {
        let body = &*self.object;
        for _ in 0..20 {
            if round_of(body.state()) != round {
                return true;
            }
            std::thread::yield_now();
        }
        loop {
            let bell = body.bell.load(Ordering::Acquire);
            if round_of(body.state()) != round {
                return true;
            }
            if !deadline.has_passed() {
                futex::wait(&body.bell, bell, deadline.slice());
            }
            if round_of(body.state()) != round {
                return true;
            }
            if body.bell.load(Ordering::Acquire) != bell {
                continue;
            }
            let (_held, _) = body.gate.hold();
            let state = body.state();
            if round_of(state) != round {
                return true;
            }
            if let Some(dead) = body.dead(state) {
                body.end(state, Some((DIED, dead)));
                return true;
            }
            if deadline.has_passed() {
                body.end(state, Some((TIMED_OUT, me())));
                return false;
            }
        }
    }
}

struct Broken;

/// The end of a round by its leader, also when the action panics.
struct Ending<'a> {
    body: &'a Body,
    round: u64,
    reason: Option<(u32, u64)>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let (_held, _) = self.body.gate.hold();
        let state = self.body.state();
        // Somebody may have broken it while the action ran.
        if round_of(state) == self.round {
            self.body.end(state, self.reason);
        }
    }
}

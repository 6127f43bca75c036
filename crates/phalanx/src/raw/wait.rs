//! How a rank waits.
//!
//! Where each rank has a core of its own the library's own blocking calls are fastest. Where ranks
//! outnumber cores they are not: MPICH 4.0 spins through a whole time slice before another rank may
//! run (5.8 ms for an 8-byte allreduce of 4 ranks on 2 cores). There every blocking call becomes its
//! non-blocking form and a loop of ours: test, yield while somebody may be about to answer, sleep
//! when it takes long, so that an idle rank leaves its core to the rank that has work.
//!
//! The policy is agreed by all ranks at start: a blocking collective of one rank must not meet a
//! non-blocking one of another (MPI-4.1, section 6.12).

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::os::raw::c_int;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use phalanx_sys as ffi;

use super::{ABANDONED, SUCCESS, delay, gate_as, observer};
use crate::error::Result;
use crate::record::{self, Call, Kind, What};

/// Who waits: the MPI library in its blocking calls, or a loop of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Policy {
    Library = 0,
    Poll = 1,
}

/// What all ranks have agreed on.
static POLICY: AtomicU8 = AtomicU8::new(Policy::Library as u8);

/// Lets this thread know whether the library waits for messages and nobody compares them. Another one that
/// calls MPI asks each time.
pub(super) fn tell_thread() {
    super::state::set_direct(policy() == Policy::Library && !observer::compares());
}

/// How all ranks wait.
#[inline(always)]
pub(crate) fn policy() -> Policy {
    if POLICY.load(Relaxed) == Policy::Library as u8 { Policy::Library } else { Policy::Poll }
}

pub(crate) fn set_policy(policy: Policy) {
    POLICY.store(policy as u8, Relaxed);
    tell_thread();
}

/// Tests before the first look at the clock.
const ROUNDS_BEFORE_CLOCK: u32 = 64;
/// How long a rank yields before it sleeps: an answer within this time comes without the delay of a
/// timer.
const YIELD_FOR: Duration = Duration::from_millis(2);
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);
const LONGEST_SLEEP: Duration = Duration::from_millis(1);

/// The pauses between two looks at something that is not there yet.
pub(crate) struct Backoff {
    rounds: u32,
    since: Option<Instant>,
    sleep: Duration,
}

impl Backoff {
    pub fn new() -> Self {
        Backoff { rounds: 0, since: None, sleep: SHORTEST_SLEEP }
    }

    /// Lets others run: yields at first, sleeps when nothing has come for long.
    pub fn pause(&mut self) {
        self.rounds += 1;
        if self.rounds < ROUNDS_BEFORE_CLOCK {
            thread::yield_now();
            return;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() < YIELD_FOR {
            thread::yield_now();
        } else {
            thread::sleep(self.sleep);
            self.sleep = (self.sleep * 2).min(LONGEST_SLEEP);
        }
    }
}

/// A call of all ranks that returns when the operation is complete, in the way they have agreed on.
#[inline(always)]
pub(crate) fn blocking(
    call: &Call<'_>,
    what: impl FnOnce() -> What,
    direct: impl FnOnce() -> c_int,
    start: impl FnOnce(*mut ffi::MPI_Request) -> c_int,
    status: impl FnOnce() -> *mut ffi::MPI_Status,
) -> Result<()> {
    let kind = Cell::new(Kind::Local);
    let what = || {
        let what = what();
        kind.set(what.kind);
        what
    };
    gate_as(call, what, || match policy() {
        Policy::Library => direct(),
        Policy::Poll => {
            delay::delay();
            // SAFETY: reading a constant of the C library.
            let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
            let code = start(&mut request);
            if code != SUCCESS { code } else { poll(&mut request, status(), kind.get()) }
        }
    })
}

/// Looks until the request is complete, or the watch says that it never will be: what happens to the
/// request then depends on what it is. Cold, because where a rank polls a jump does not matter.
#[cold]
pub(super) fn poll(
    request: &mut ffi::MPI_Request,
    status: *mut ffi::MPI_Status,
    kind: Kind,
) -> c_int {
    let mut backoff = Backoff::new();
    loop {
        let mut done = 0;
        // SAFETY: the request is live until the call completes it; `status` is a valid status or
        // MPI_STATUS_IGNORE.
        let code = unsafe { ffi::MPI_Test(request, &mut done, status) };
        if code != SUCCESS || done != 0 {
            return code;
        }
        backoff.pause();
        if record::has_verdict()
            && let Some(code) = abandon(request, status, kind)
        {
            return code;
        }
    }
}

/// Gives up an operation that never completes.
fn abandon(
    request: &mut ffi::MPI_Request,
    status: *mut ffi::MPI_Status,
    kind: Kind,
) -> Option<c_int> {
    match kind {
        Kind::Receive | Kind::Probe => Some(take_back(request, status)),
        // The message lies in memory of our own (`strict/copies.rs`), which stays allocated.
        Kind::Send | Kind::SyncSend | Kind::BufferedSend => Some(ABANDONED),
        // The owner of the requests keeps them. At the end there is a barrier, which has no buffers.
        Kind::WaitAll | Kind::WaitAny | Kind::Finalize => Some(ABANDONED),
        // Its buffers are the caller's. In strict mode its members have agreed before it began.
        _ => None,
    }
}

/// Cancels a receive that never gets its message. If it has got it after all, that is the result.
pub(super) fn take_back(request: &mut ffi::MPI_Request, status: *mut ffi::MPI_Status) -> c_int {
    let mut end = empty_status();
    let mut cancelled = 0;
    // SAFETY: the request is live; a receive that is cancelled or has its message completes.
    let code = unsafe {
        ffi::MPI_Cancel(request);
        let code = ffi::MPI_Wait(request, &mut end);
        ffi::MPI_Test_cancelled(&end, &mut cancelled);
        code
    };
    if code == SUCCESS && cancelled != 0 {
        return ABANDONED;
    }
    if status != ignore() {
        // SAFETY: the caller gave a status to write to.
        unsafe { *status = end };
    }
    code
}

/// Repeats a look that does not block until it finds something. For the record it is one call.
pub(crate) fn until<T>(
    call: &Call<'_>,
    kind: Kind,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let _permit = super::permit(call)?;
    let _waiting = record::waiting(call, &What::of(kind, 0, record::no_name));
    let mut backoff = Backoff::new();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        // Each look marks what it waits for.
        record::marked();
        backoff.pause();
        if record::has_verdict() {
            return Err(super::deadlock(call));
        }
    }
}

/// `MPI_STATUS_IGNORE`.
#[inline(always)]
pub(crate) fn ignore() -> *mut ffi::MPI_Status {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_STATUS_IGNORE }
}

/// A status that says nothing yet.
#[inline(always)]
pub(super) fn empty_status() -> ffi::MPI_Status {
    // SAFETY: a status is plain integers, for which zero is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

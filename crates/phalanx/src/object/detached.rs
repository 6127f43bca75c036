//! Messages of ours that the program does not wait for.
//!
//! What follows the first part of an object must not need its receiver's help: that may be inside of a
//! blocking collective call of the MPI library, in which nobody can post a receive for it. So it is sent from
//! memory of this library's own, is waited for a moment, and then goes on by itself: the list keeps it until it
//! is complete. `README.md` says why this cannot grow without a bound.

use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::raw::p2p::{self, Envelope};
use crate::raw::request::{self as raw, was_refused};
use crate::raw::wait::Backoff;
use crate::raw::{View, ViewMut};
use crate::record::{self, Call, Identity, Operation, Peer};
use crate::request::{Handle, Memory};

/// How long a send waits for a receiver that may be about to come. One that waits is served within this time,
/// so that the data has left when the send returns; for one that is elsewhere, this is what a large object
/// costs at most.
const PATIENCE: Duration = Duration::from_millis(20);
/// The same if another receiver has just not come: a program that sends to many of them must not wait so long for
/// each.
const SHORT_PATIENCE: Duration = Duration::from_millis(1);
/// How long it waits while [`BUDGET`] is exceeded.
const LONG_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes on their way above which sends slow down.
static BUDGET: AtomicUsize = AtomicUsize::new(256 << 20);
/// How many messages each new one looks after.
const SWEPT: usize = 8;

/// What a message in flight reads or writes.
enum Data {
    Nothing,
    /// Several messages may share it.
    Shared(Arc<Vec<u8>>),
    Received(#[allow(dead_code, reason = "MPI writes there")] Memory),
}

/// A message in flight that owns its memory. Dropping it lets it go on by itself.
pub(crate) struct Detached {
    request: Handle,
    data: Data,
    bytes: usize,
    comm: Arc<Identity>,
    operation: &'static Operation,
    location: &'static Location<'static>,
    peer: Peer,
    tag: i32,
    /// Its receiver did not come in time.
    stalled: bool,
}

static LIST: Mutex<Vec<Detached>> = Mutex::new(Vec::new());
/// How many are in the list, and how many bytes they hold.
static COUNT: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

impl Detached {
    fn new(call: &Call<'_>, peer: Peer, tag: i32) -> Result<Self> {
        let Some(comm) = call.comm.and_then(Identity::shared) else {
            return Err(Error::new(ErrorKind::State, call, "there is no communicator"));
        };
        Ok(Detached {
            request: Handle(raw::null()),
            data: Data::Nothing,
            bytes: 0,
            comm,
            operation: call.operation,
            location: call.location,
            peer,
            tag,
            stalled: false,
        })
    }

    /// Starts to send the bytes from `start`. The call is on the communicator of the message.
    pub fn send(call: &Call<'_>, data: Arc<Vec<u8>>, start: usize, to: Envelope) -> Result<Self> {
        sweep(SWEPT);
        let mut it = Detached::new(call, Peer::To(to.rank as usize), to.tag)?;
        let view = View::bytes(data.get(start..).unwrap_or(&[]));
        it.bytes = view.bytes_in_all();
        let mut request = Handle(raw::null());
        // SAFETY: the bytes are behind an `Arc` that is kept until the request is complete.
        unsafe { p2p::isend_apart(&it.call(), view, to, &mut request.0)? };
        it.request = request;
        it.data = Data::Shared(data);
        Ok(it)
    }

    /// Starts to send an empty message.
    pub fn send_nothing(call: &Call<'_>, to: Envelope) -> Result<Self> {
        Self::send(call, Arc::default(), 0, to)
    }

    /// Starts to receive an empty message.
    pub fn receive_nothing(call: &Call<'_>, from: Envelope) -> Result<Self> {
        let mut it = Detached::new(call, Peer::From(from.rank as usize), from.tag)?;
        let mut request = Handle(raw::null());
        // SAFETY: there is no memory.
        unsafe { p2p::irecv_apart(&it.call(), ViewMut::empty(), from, &mut request.0)? };
        it.request = request;
        Ok(it)
    }

    /// Takes care of a receive that its owner gives up.
    pub fn keep(call: &Call<'_>, request: Handle, memory: Memory) {
        // Without a communicator nothing was started.
        let Ok(mut it) = Detached::new(call, call.peer, call.tag.unwrap_or(0)) else {
            return std::mem::forget(memory);
        };
        it.request = request;
        it.data = Data::Received(memory);
    }

    fn call(&self) -> Call<'_> {
        Call::on(self.operation, &self.comm, self.location).peer(self.peer).tag(Some(self.tag))
    }

    /// Looks whether it is complete. An error ends it too: nobody is left to hear of it, and the other side has
    /// its own.
    pub fn is_over(&mut self) -> bool {
        if self.request.0.is_null() {
            return true;
        }
        let mut request = std::mem::replace(&mut self.request, Handle(raw::null()));
        let over = match raw::is_over(&self.call(), &mut request.0) {
            Ok(over) => over,
            Err(error) => !was_refused(&error),
        };
        if !over {
            self.request = request;
        }
        over
    }

    /// Waits a moment for its completion. Returns whether it is complete.
    pub fn finish_soon(&mut self) -> bool {
        finish_soon(&mut [self])
    }

    /// Whether the other side has not come for an earlier message yet.
    fn others_stall(&self) -> bool {
        if COUNT.load(Relaxed) == 0 {
            return false;
        }
        with_list(|list| {
            list.iter_mut().any(|it| {
                it.stalled
                    && it.other() == self.other()
                    && it.comm.id() == self.comm.id()
                    && !it.is_over()
            })
        })
    }

    fn other(&self) -> Option<usize> {
        match self.peer {
            Peer::To(rank) | Peer::From(rank) => Some(rank),
            _ => None,
        }
    }

    /// The memory of a message that is complete, if nobody else has it.
    pub fn into_bytes(mut self) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.data, Data::Nothing) {
            Data::Shared(bytes) if self.request.0.is_null() => Arc::into_inner(bytes),
            data => {
                self.data = data;
                None
            }
        }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if self.request.0.is_null() {
            return;
        }
        let it = Detached {
            request: std::mem::replace(&mut self.request, Handle(raw::null())),
            data: std::mem::replace(&mut self.data, Data::Nothing),
            comm: self.comm.clone(),
            ..*self
        };
        BYTES.fetch_add(it.bytes, Relaxed);
        with_list(|list| list.push(it));
    }
}

fn is_too_much() -> bool {
    BYTES.load(Relaxed) > BUDGET.load(Relaxed)
}

/// Sets [`BUDGET`], for tests.
pub(crate) fn set_budget(bytes: usize) {
    BUDGET.store(bytes, Relaxed);
}

/// When a receiver did not come the last time.
static LAST_STALL: Mutex<Option<Instant>> = Mutex::new(None);

/// Waits a moment for all of some messages. Returns whether they are complete.
pub(crate) fn finish_soon(messages: &mut [&mut Detached]) -> bool {
    let mut left: Vec<&mut Detached> = messages.iter_mut().map(|it| &mut **it).collect();
    left.retain_mut(|it| !it.is_over());
    if left.is_empty() {
        return true;
    }
    if is_too_much() {
        sweep(usize::MAX);
    }
    let mut patience = LONG_PATIENCE;
    let in_all = left.len();
    if !is_too_much() {
        let last = *LAST_STALL.lock().unwrap_or_else(PoisonError::into_inner);
        let stalled_just_now = last.is_some_and(|last| last.elapsed() < PATIENCE);
        patience = if stalled_just_now { SHORT_PATIENCE } else { PATIENCE };
        left.retain_mut(|it| {
            it.stalled = it.others_stall();
            !it.stalled
        });
    }
    let are_all_waited_for = left.len() == in_all;
    let start = Instant::now();
    let mut backoff = Backoff::new();
    while !left.is_empty() && start.elapsed() < patience && !record::has_verdict() {
        backoff.pause();
        left.retain_mut(|it| !it.is_over());
    }
    if left.is_empty() {
        return are_all_waited_for;
    }
    left.into_iter().for_each(|it| it.stalled = true);
    *LAST_STALL.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    false
}

/// What is in the list never runs code of the user's, so that it may be dropped under the lock.
fn with_list<R>(change: impl FnOnce(&mut Vec<Detached>) -> R) -> R {
    let mut list = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    let result = change(&mut list);
    COUNT.store(list.len(), Relaxed);
    result
}

/// Lets go of what is complete among the oldest. What is not goes behind the others, so that each has its turn.
fn sweep(most: usize) {
    if COUNT.load(Relaxed) == 0 {
        return;
    }
    with_list(|list| {
        let some = most.min(list.len());
        let mut index = 0;
        for _ in 0..some {
            if list[index].is_over() {
                BYTES.fetch_sub(list.swap_remove(index).bytes, Relaxed);
            } else {
                index += 1;
            }
        }
        list.rotate_left(index);
    });
}

/// How long the last messages may take once every rank has come to the end: their receivers have them.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// Waits until all of them are complete, where nothing else lets MPI make progress until the others have
/// received them. Called when all ranks have come to the end: says which nobody has received.
pub(crate) fn finish_all() -> Vec<String> {
    let (start, mut backoff) = (Instant::now(), Backoff::new());
    let describe = |it: &Detached| match it.peer {
        Peer::To(rank) if it.bytes > 0 => Some(format!(
            "{} bytes of {} to rank {rank} were never received [{}]",
            it.bytes, it.operation.name, it.location
        )),
        _ => None,
    };
    loop {
        sweep(usize::MAX);
        let sends = with_list(|list| list.iter().any(|it| matches!(it.peer, Peer::To(_))));
        if !sends || record::has_verdict() {
            return Vec::new();
        }
        if start.elapsed() > LAST_MESSAGES {
            return with_list(|list| list.iter().filter_map(describe).collect());
        }
        backoff.pause();
    }
}

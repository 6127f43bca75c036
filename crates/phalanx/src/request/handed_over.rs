//! Messages that are on their way although the operation that sent them is complete.
//!
//! A rank that has started a collective of objects and then sits in a blocking call of the library cannot
//! receive a message whose length it does not know yet. So nobody may wait for it: the operation of the
//! sender is complete when the sender has its own result, and what is still being sent is handed over to
//! this list, which owns the bytes until MPI has read them. No code of the user's runs under its lock.

use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::task::Handle;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::View;
use crate::raw::p2p::{self, Envelope, Mode};
use crate::raw::request as raw;
use crate::raw::wait::Backoff;
use crate::record::{Call, Identity, Operation, Peer};

/// A send in flight with the bytes that MPI reads. It owns its communicator's identity and not the
/// communicator: that may be freed meanwhile, which MPI puts off until the message is sent.
pub(crate) struct InFlight {
    request: Handle,
    _message: Arc<Vec<u8>>,
    comm: Arc<Identity>,
    operation: &'static Operation,
    to: usize,
    tag: i32,
    location: &'static Location<'static>,
}

impl InFlight {
    /// Starts to send bytes, which it keeps until MPI has read them.
    pub fn start(call: &Call<'_>, message: Arc<Vec<u8>>, to: usize, tag: i32) -> Result<Self> {
        let Some(comm) = call.comm.and_then(Identity::shared) else {
            return Err(Error::new(ErrorKind::State, call, "there is no communicator"));
        };
        let (operation, location) = (call.operation, call.location);
        let call = call.peer(Peer::To(to)).tag(Some(tag));
        let envelope = Envelope { rank: to as i32, tag };
        let mut request = Handle(raw::null());
        // SAFETY: the bytes are behind an `Arc` that is kept beside the request until it is complete: who
        // drops this before hands it over to the list below.
        unsafe {
            p2p::isend(&call, Mode::Standard, View::bytes(&message), envelope, &mut request.0)?;
        }
        Ok(InFlight { request, _message: message, comm, operation, to, tag, location })
    }

    /// Whether it is over. An error ends it, too, and is returned.
    pub fn is_over(&mut self) -> Result<bool> {
        let call = Call::on(self.operation, &self.comm, self.location);
        let call = call.peer(Peer::To(self.to)).tag(Some(self.tag));
        raw::test(&call, &mut self.request.0).map(|status| status.is_some())
    }

    /// The same where nobody is left to hear of an error of the operation.
    fn has_ended(&mut self) -> bool {
        self.is_over().unwrap_or_else(|error| !raw::was_refused(&error))
    }
}

static LIST: Mutex<Vec<InFlight>> = Mutex::new(Vec::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Takes over what is in flight.
pub(crate) fn hand_over(sends: impl IntoIterator<Item = InFlight>) {
    let mut list = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    list.extend(sends);
    COUNT.store(list.len(), Ordering::Relaxed);
}

/// Lets go of what is sent by now.
pub(super) fn sweep() {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return;
    }
    let mut list = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    list.retain_mut(|send| !send.has_ended());
    COUNT.store(list.len(), Ordering::Relaxed);
}

/// How long the last messages may take once every rank has come to the end: their receivers have them.
const LAST_MESSAGES: Duration = Duration::from_millis(200);

/// Says which messages nobody has received. Called when all ranks have come to the end.
pub(crate) fn undelivered() -> Vec<String> {
    let (start, mut backoff) = (Instant::now(), Backoff::new());
    sweep();
    while COUNT.load(Ordering::Relaxed) > 0 && start.elapsed() < LAST_MESSAGES {
        backoff.pause();
        sweep();
    }
    let list = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    let describe = |send: &InFlight| {
        let InFlight { operation, to, comm, location, .. } = send;
        format!(
            "the message of {} to rank {to} on `{}` was never received: did that rank drop its request, \
             or not make the call? [{location}]",
            operation.name,
            comm.name()
        )
    };
    list.iter().map(describe).collect()
}

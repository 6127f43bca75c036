//! What non-blocking collectives of objects are made of: messages straight to whoever needs them, on the
//! private communicator, so that they need not be in step with the collectives that the program starts
//! meanwhile.
//!
//! **Progress.** A rank that has started such an operation and then sits in a blocking call of the library
//! is needed by nobody: all it has to send is on its way when the start returns; nobody passes on what is
//! meant for somebody else; and nobody waits for a receiver (a long message to a rank that cannot post the
//! receive before it knows the length would wait for that rank's next poll). The operation of a sender is
//! complete when it has received what it needs itself; what is then still being sent is handed over to
//! `request/handed_over.rs`.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::raw::p2p::{self, Envelope};
use crate::raw::request as raw;
use crate::raw::{ViewMut, object, state};
use crate::record::{self, Call, Kind, Peer, What};
use crate::request::{Handle, InFlight, Progress, Task, hand_over};

/// Bytes that several sends may share.
pub(super) type SharedBytes = Arc<Vec<u8>>;

/// Messages that have come, with the rank that sent each.
pub(super) type Inbox = Vec<(usize, Vec<u8>)>;

/// A message that this rank needs.
struct Expected {
    source: usize,
    state: Arrival,
}

enum Arrival {
    /// With its place in the record.
    Unmatched(u16),
    Arriving {
        request: Handle,
        bytes: Vec<u8>,
    },
    Here(Vec<u8>),
}

impl Expected {
    /// Makes what progress is possible without waiting. The call names the source.
    fn advance(&mut self, call: &Call<'_>) -> Result<Progress> {
        if let Arrival::Unmatched(place) = self.state {
            let envelope = Envelope { rank: self.source as i32, tag: call.tag.unwrap_or(0) };
            record::mark(place);
            let Some(matched) = p2p::try_probe(call, envelope)? else {
                return Ok(Progress::Pending);
            };
            record::finish(place);
            // Where the receive cannot be started the message is lost, and nobody looks for another.
            self.state = Arrival::Here(Vec::new());
            let mut bytes = vec![0; matched.status.bytes(call)?];
            let mut request = Handle(raw::null());
            // SAFETY: the bytes are on the heap and stay there until the request is complete: a task
            // that is dropped before goes to the orphans, whole.
            unsafe { p2p::imrecv(call, matched, ViewMut::bytes(&mut bytes), &mut request.0)? };
            self.state = Arrival::Arriving { request, bytes };
        }
        if let Arrival::Arriving { request, bytes } = &mut self.state {
            if raw::test(call, &mut request.0)?.is_none() {
                return Ok(Progress::Pending);
            }
            self.state = Arrival::Here(std::mem::take(bytes));
        }
        Ok(Progress::Complete)
    }

    /// It comes no more.
    fn give_up(&mut self) {
        if let Arrival::Unmatched(place) = self.state {
            record::finish(place);
        }
        self.state = Arrival::Here(Vec::new());
    }

    fn into_message(self) -> (usize, Vec<u8>) {
        let bytes = if let Arrival::Here(bytes) = self.state { bytes } else { Vec::new() };
        (self.source, bytes)
    }
}

/// A set of messages in flight, and what is made of those that come.
pub(super) struct Flat<F> {
    tag: i32,
    sends: Vec<InFlight>,
    receives: Vec<Expected>,
    finish: Option<F>,
    /// The first error of a part. It is returned when no other part is in flight any more.
    failed: Option<Error>,
}

impl<F> Flat<F> {
    /// Starts to send one message to each of some ranks, and to expect one from each of others. The call is
    /// on the private communicator, and the caller holds the permit for it.
    pub fn start(
        call: &Call<'_>,
        tag: i32,
        outgoing: impl IntoIterator<Item = (usize, SharedBytes)>,
        sources: impl IntoIterator<Item = usize>,
        finish: F,
    ) -> Result<Self> {
        let permit = crate::raw::permit(call)?;
        let mut flat = Flat {
            tag,
            sends: Vec::new(),
            receives: Vec::new(),
            finish: Some(finish),
            failed: None,
        };
        for (to, message) in outgoing {
            // The others get theirs all the same.
            match InFlight::start(call, message, to, tag) {
                Ok(send) => flat.sends.push(send),
                Err(error) => {
                    flat.failed.get_or_insert(error);
                }
            }
        }
        if let Some(error) = flat.failed.take_if(|_| flat.sends.is_empty()) {
            return Err(error);
        }
        let expect = |source: usize| {
            let call = call.peer(Peer::From(source)).tag(Some(tag));
            let place = record::pend(permit.allowed(), &call, &What::of(Kind::Receive, 0, object));
            Expected { source, state: Arrival::Unmatched(place) }
        };
        flat.receives = sources.into_iter().map(expect).collect();
        Ok(flat)
    }

    /// Drops what is sent, and notes what failed.
    fn look_at_sends(&mut self) -> Result<()> {
        let mut refused = Ok(());
        let failed = &mut self.failed;
        self.sends.retain_mut(|send| match send.is_over() {
            Ok(over) => !over,
            Err(error) if raw::was_refused(&error) => {
                refused = Err(error);
                true
            }
            Err(error) => {
                failed.get_or_insert(error);
                false
            }
        });
        refused
    }
}

impl<F> Drop for Flat<F> {
    fn drop(&mut self) {
        self.receives.iter_mut().for_each(Expected::give_up);
        hand_over(self.sends.drain(..));
    }
}

impl<R, F> Task<R> for Flat<F>
where
    F: FnOnce(Inbox, &Call<'_>) -> Result<R> + Send,
{
    fn poll(&mut self, call: &Call<'_>) -> Result<Progress> {
        // Of several calls, none of which may be refused when another was not.
        let _permit = state::permit(call)?;
        self.look_at_sends()?;
        let mut pending = false;
        for expected in &mut self.receives {
            let call = call.peer(Peer::From(expected.source)).tag(Some(self.tag));
            match expected.advance(&call) {
                Ok(progress) => pending |= progress == Progress::Pending,
                Err(error) if raw::was_refused(&error) => return Err(error),
                Err(error) => {
                    expected.give_up();
                    self.failed.get_or_insert(error);
                }
            }
        }
        if pending {
            return Ok(Progress::Pending);
        }
        self.failed.take().map_or(Ok(Progress::Complete), Err)
    }

    fn take(&mut self, call: &Call<'_>) -> Result<R> {
        let messages = self.receives.drain(..).map(Expected::into_message).collect();
        match self.finish.take() {
            Some(finish) => finish(messages, call),
            None => Err(Error::new(ErrorKind::State, call, "the result was taken already")),
        }
    }
}

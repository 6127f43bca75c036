//! Messages to and from several ranks as one operation: what non-blocking collectives of objects are
//! made of. They run on the private communicator, so that they need not be in step with the collectives
//! that the program starts meanwhile.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::raw::View;
use crate::raw::p2p::{self, Envelope, Mode, RawStatus};
use crate::raw::request as raw;
use crate::record::{Call, Peer};
use crate::request::{Handle, Progress, Receiving, Task};

/// Bytes that several sends may share.
pub(super) type Message = Arc<Vec<u8>>;

/// Messages that have come, with the rank that sent each.
pub(super) type Inbox = Vec<(usize, Vec<u8>)>;

/// A receive whose result are the bytes as they came.
type ReceivingBytes = Receiving<u8, fn(Vec<u8>, RawStatus, &Call<'_>) -> Result<Vec<u8>>>;

struct Sending {
    request: Handle,
    /// Read by MPI until the request is complete.
    _message: Message,
}

struct Expecting {
    source: usize,
    receiving: ReceivingBytes,
    done: Option<Vec<u8>>,
}

impl Expecting {
    fn advance(&mut self, call: &Call<'_>) -> Result<Progress> {
        let progress = Task::<Vec<u8>>::poll(&mut self.receiving, call)?;
        if progress == Progress::Complete {
            self.done = Some(self.receiving.take(call)?);
        }
        Ok(progress)
    }
}

/// A set of messages in flight, and what is made of those that come.
pub(super) struct Exchange<F> {
    sends: Vec<Sending>,
    receives: Vec<Expecting>,
    finish: Option<F>,
    /// The first error of a part. It is told when no other part is in flight any more.
    failed: Option<Error>,
}

impl<F> Exchange<F> {
    /// Starts to send one message to each of some ranks, and to expect one from each of others. The
    /// call is on the private communicator.
    pub fn start(
        call: &Call<'_>,
        tag: i32,
        outgoing: impl IntoIterator<Item = (usize, Message)>,
        sources: impl IntoIterator<Item = usize>,
        finish: F,
    ) -> Result<Self> {
        let expect = |source| Expecting {
            source,
            receiving: Receiving::new(Envelope { rank: source as i32, tag }, |bytes, _, _| {
                Ok(bytes)
            }),
            done: None,
        };
        let receives = sources.into_iter().map(expect).collect();
        let mut exchange =
            Exchange { sends: Vec::new(), receives, finish: Some(finish), failed: None };
        for (to, message) in outgoing {
            if let Err(error) = exchange.send(call, tag, to, message) {
                if exchange.sends.is_empty() {
                    return Err(error);
                }
                exchange.failed = Some(error);
                exchange.receives.clear();
                break;
            }
        }
        Ok(exchange)
    }

    fn send(&mut self, call: &Call<'_>, tag: i32, to: usize, message: Message) -> Result<()> {
        let call = call.peer(Peer::To(to)).tag(Some(tag));
        let envelope = Envelope { rank: to as i32, tag };
        let mut request = Handle(raw::null());
        // SAFETY: the bytes are behind an `Arc` that is kept beside the request; a task which is
        // dropped before completion goes to the orphans, whole.
        unsafe {
            p2p::isend(&call, Mode::Standard, View::bytes(&message), envelope, &mut request.0)?;
        }
        self.sends.push(Sending { request, _message: message });
        Ok(())
    }
}

impl<R, F> Task<R> for Exchange<F>
where
    F: FnOnce(Inbox, &Call<'_>) -> Result<R> + Send,
{
    fn poll(&mut self, call: &Call<'_>) -> Result<Progress> {
        let mut pending = false;
        for send in &mut self.sends {
            match raw::test(call, &mut send.request.0) {
                Ok(status) => pending |= status.is_none(),
                Err(error) if raw::was_refused(&error) => return Err(error),
                Err(error) => {
                    self.failed.get_or_insert(error);
                }
            }
        }
        for expected in &mut self.receives {
            if expected.done.is_some() {
                continue;
            }
            let call = call.peer(Peer::From(expected.source));
            match expected.advance(&call) {
                Ok(progress) => pending |= progress == Progress::Pending,
                Err(error) if raw::was_refused(&error) => return Err(error),
                Err(error) => {
                    expected.done = Some(Vec::new());
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
        let messages = self
            .receives
            .drain(..)
            .map(|expected| (expected.source, expected.done.unwrap_or_default()))
            .collect();
        match self.finish.take() {
            Some(finish) => finish(messages, call),
            None => Err(Error::new(ErrorKind::State, call, "the result was taken already")),
        }
    }
}

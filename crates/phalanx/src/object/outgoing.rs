//! The message of an object on its way out: its first part, and what follows.

use std::sync::Arc;

use phalanx_codec::Codec;
use serde::Serialize;

use super::detached::Detached;
use super::wire::{self, FIRST};
use crate::comm::Comm;
use crate::error::Result;
use crate::raw::View;
use crate::raw::p2p::{self, Envelope, Mode, RawStatus};
use crate::raw::request::{self as raw, Live};
use crate::record::{Call, Identity, Peer};
use crate::request::{Handle, Progress, Request, Task, from_task};

/// The whole message of an object, which several sends may share.
#[derive(Clone, Default)]
pub(crate) struct Outgoing {
    message: Arc<Vec<u8>>,
    /// Of what follows the first part.
    tag: i32,
}

impl Outgoing {
    /// Cuts the message of a value that travels as a whole, without segments.
    pub fn new(comm: &Comm, mut message: Vec<u8>) -> Self {
        let mut tag = 0;
        if message.len() > FIRST {
            tag = comm.next_out_of_band_tag();
            wire::announce(&mut message, &[], tag);
        }
        Outgoing { message: Arc::new(message), tag }
    }

    /// Encodes a value as a whole, fields with `phalanx::plain` included.
    pub fn encode<C: Codec, T: Serialize + ?Sized>(
        comm: &Comm,
        call: &Call<'_>,
        value: &T,
    ) -> Result<Self> {
        Ok(Outgoing::new(comm, wire::to_bytes::<C, T>(call, value)?))
    }

    /// The part that is sent where the program sends the object.
    pub fn first(&self) -> &[u8] {
        &self.message[..self.message.len().min(FIRST)]
    }

    /// Starts to send what follows the first part, if anything does. The call is of the sender, on any
    /// communicator; `private` is where it goes.
    pub fn follow(
        &self,
        call: &Call<'_>,
        private: &Identity,
        to: Envelope,
    ) -> Result<Option<Detached>> {
        if self.message.len() <= FIRST || to.rank < 0 {
            return Ok(None);
        }
        let to = Envelope { rank: to.rank, tag: self.tag };
        let call = Call { comm: Some(private), ..*call };
        Detached::send(&call, self.message.clone(), FIRST, to).map(Some)
    }
}

/// A message in flight that the program waits for.
pub(super) struct Departing {
    first: Handle,
    /// Read by MPI until the first part has left.
    _message: Outgoing,
    rest: Option<Detached>,
    is_first_over: bool,
}

impl Departing {
    /// Starts to send.
    pub fn start(
        call: &Call<'_>,
        private: &Identity,
        mode: Mode,
        message: Outgoing,
        to: Envelope,
    ) -> Result<Self> {
        let mut first = Handle(raw::null());
        let view = View::bytes(message.first());
        // SAFETY: the bytes are behind an `Arc` that is kept beside the request; a task which is
        // dropped before completion goes to the orphans, whole.
        unsafe { p2p::isend(call, mode, view, to, &mut first.0)? };
        let mut it =
            Departing { first, _message: message.clone(), rest: None, is_first_over: false };
        match message.follow(call, private, to) {
            Ok(rest) => it.rest = rest,
            Err(error) => {
                // The first part is on its way: its bytes must stay.
                std::mem::forget(it);
                return Err(error);
            }
        }
        Ok(it)
    }

    /// Whether the first part has left; the rest goes on by itself.
    pub fn look(&mut self, call: &Call<'_>) -> Result<bool> {
        if !self.is_first_over {
            self.is_first_over = raw::test(call, &mut self.first.0)?.is_some();
        }
        Ok(self.is_first_over)
    }
}

impl Task<()> for Departing {
    fn poll(&mut self, call: &Call<'_>) -> Result<Progress> {
        Ok(if self.look(call)? { Progress::Complete } else { Progress::Pending })
    }

    fn block(&mut self, call: &Call<'_>) -> Result<()> {
        if !self.is_first_over {
            raw::wait(call, &mut self.first.0)?;
            self.is_first_over = true;
        }
        if let Some(rest) = &mut self.rest {
            rest.finish_soon();
        }
        Ok(())
    }

    fn handle(&mut self) -> Option<&mut Live> {
        (!self.is_first_over).then_some(&mut self.first.0)
    }

    fn completed(&mut self, _status: RawStatus) {
        self.first.0 = raw::null();
        self.is_first_over = true;
    }

    fn take(&mut self, _call: &Call<'_>) -> Result<()> {
        Ok(())
    }
}

/// Starts to send a message.
pub(crate) fn start_send(
    comm: &Comm,
    call: &Call<'_>,
    mode: Mode,
    message: Outgoing,
    to: Envelope,
) -> Result<Request<()>> {
    Ok(from_task(comm, call, Departing::start(call, comm.private(), mode, message, to)?))
}

impl Call<'_> {
    /// The same call on the private communicator of its own.
    pub(super) fn privately<'p>(&self, private: &'p Identity, peer: Peer, tag: i32) -> Call<'p> {
        let Call { operation, location, .. } = *self;
        Call::on(operation, private, location).peer(peer).tag(Some(tag))
    }
}

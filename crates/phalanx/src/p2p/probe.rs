//! Matched probes: look at a message before receiving it, with no other thread taking it away.

use std::panic::Location;

use super::recv::{Received, discard, status_of};
use crate::comm::{Comm, Source, Status};
use crate::datatype::{Element, PayloadMut};
use crate::error::Result;
use crate::raw::p2p::{self, Matched};
use crate::record::{Call, IPROBE, MRECV, PROBE, Peer};

/// A message that was probed and matched: nobody else receives it.
///
/// Receive it with [`recv`](Message::recv), [`recv_into`](Message::recv_into) or
/// [`recv_object`](Message::recv_object). Dropping it leaves the message in the MPI library for ever.
#[must_use = "a matched message must be received"]
pub struct Message {
    pub(crate) comm: Comm,
    pub(crate) matched: Matched,
}

/// # Looking at a message before it is received
impl Comm {
    /// Waits for a message and takes hold of it without receiving it.
    ///
    /// # Errors
    /// [`InvalidRank`](crate::ErrorKind::InvalidRank), [`InvalidTag`](crate::ErrorKind::InvalidTag).
    ///
    /// MPI: `MPI_Mprobe`, MPI-4.1 section 3.8.2.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let sending = world.isend(vec![1_u32, 2, 3], to(world.rank()).tag(9))?;
    /// let message = world.probe(any())?;
    /// assert_eq!((message.tag(), message.len::<u32>()?), (9, 3));
    /// let numbers: Vec<u32> = message.recv()?;
    /// # assert_eq!(numbers, [1, 2, 3]);
    /// sending.wait()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn probe(&self, from: impl Into<Source>) -> Result<Message> {
        let from = from.into();
        let call = self.call(&PROBE, Location::caller()).peer(from.peer()).tag(from.tag);
        let matched = p2p::probe(&call, from.envelope(&call)?)?;
        Ok(Message { comm: self.clone(), matched })
    }

    /// Takes hold of a message if one is there already.
    ///
    /// # Errors
    /// As [`probe`](Comm::probe).
    ///
    /// MPI: `MPI_Improbe`, MPI-4.1 section 3.8.2.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// assert!(world.try_probe(any())?.is_none());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn try_probe(&self, from: impl Into<Source>) -> Result<Option<Message>> {
        let from = from.into();
        let call = self.call(&IPROBE, Location::caller()).peer(from.peer()).tag(from.tag);
        let matched = p2p::try_probe(&call, from.envelope(&call)?)?;
        Ok(matched.map(|matched| Message { comm: self.clone(), matched }))
    }
}

impl Message {
    #[track_caller]
    pub(crate) fn call<'a>(comm: &'a Comm, matched: &Matched) -> Call<'a> {
        let source = usize::try_from(matched.status.source()).map_or(Peer::Null, Peer::From);
        comm.call(&MRECV, Location::caller()).peer(source).tag(Some(matched.status.tag()))
    }

    /// The rank that sent it; `None` for the null process.
    pub fn source(&self) -> Option<usize> {
        usize::try_from(self.matched.status.source()).ok()
    }

    /// Its tag.
    pub fn tag(&self) -> i32 {
        self.matched.status.tag()
    }

    /// Its length in elements of `T`.
    ///
    /// # Errors
    /// [`TypeMismatch`](crate::ErrorKind::TypeMismatch) if it is no whole number of them.
    #[track_caller]
    #[allow(clippy::len_without_is_empty, reason = "a length of what? `bytes() == 0` says it")]
    pub fn len<T: Element>(&self) -> Result<usize> {
        let call = Self::call(&self.comm, &self.matched);
        Ok(status_of::<T>(&call, &self.matched.status)?.len)
    }

    /// Its length in bytes.
    ///
    /// # Errors
    /// What the MPI library reports.
    #[track_caller]
    pub fn bytes(&self) -> Result<usize> {
        self.matched.status.bytes(&Self::call(&self.comm, &self.matched))
    }

    /// Receives it into a new value, as [`Comm::recv`] does.
    ///
    /// # Errors
    /// As [`Comm::recv`].
    ///
    /// MPI: `MPI_Mrecv`, MPI-4.1 section 3.8.3.
    #[track_caller]
    pub fn recv<R: Received>(self) -> Result<R> {
        let Message { comm, matched } = self;
        let call = Self::call(&comm, &matched);
        Ok(R::receive_matched(&call, matched)?.0)
    }

    /// [`recv`](Message::recv), with the source, tag and length of the message.
    ///
    /// # Errors
    /// As [`Comm::recv`].
    ///
    /// MPI: `MPI_Mrecv`, MPI-4.1 section 3.8.3.
    #[track_caller]
    pub fn recv_with_status<R: Received>(self) -> Result<(R, Status)> {
        let Message { comm, matched } = self;
        let call = Self::call(&comm, &matched);
        R::receive_matched(&call, matched)
    }

    /// Receives it into a buffer, as [`Comm::recv_into`] does.
    ///
    /// # Errors
    /// As [`Comm::recv_into`].
    ///
    /// MPI: `MPI_Mrecv`, MPI-4.1 section 3.8.3.
    #[track_caller]
    pub fn recv_into<P: PayloadMut + ?Sized>(self, buffer: &mut P) -> Result<Status> {
        let Message { comm, matched } = self;
        let call = Self::call(&comm, &matched);
        let view = match buffer.view_mut() {
            Ok(view) => view,
            Err(error) => {
                discard(&call, matched)?;
                return Err(error);
            }
        };
        let raw = p2p::mrecv(&call, matched, view)?;
        status_of::<P::Element>(&call, &raw)
    }
}

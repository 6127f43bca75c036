//! Blocking sends of elements.

use std::panic::Location;

use crate::comm::{Comm, Dest};
use crate::datatype::{Payload, sent};
use crate::error::Result;
use crate::raw::p2p::{self, Mode};
use crate::record::{BSEND, Operation, RSEND, SEND, SSEND};

/// # Sending elements
///
/// Point-to-point messages of numbers and other [elements](crate::Element): one MPI call, no copy.
impl Comm {
    /// Sends elements; returns when the buffer may be used again.
    ///
    /// Takes an element, a slice, an array, a `Vec` or a [`Strided`](crate::Strided) view: one MPI
    /// call, no copy. Whether it waits for the receiver is up to the MPI library: small messages are
    /// usually buffered, large ones wait. Two ranks that send to each other first and receive
    /// second may wait for each other for ever; [`sendrecv`](Comm::sendrecv) cannot.
    ///
    /// # Errors
    /// [`InvalidRank`](crate::ErrorKind::InvalidRank), [`InvalidTag`](crate::ErrorKind::InvalidTag),
    /// and what the MPI library reports.
    ///
    /// MPI: `MPI_Send`, MPI-4.1 section 3.2.1.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// if world.rank() == 0 && world.size() > 1 {
    ///     world.send(&[1.0, 2.0], 1)?;
    ///     world.send(&42_u8, to(1).tag(7))?;
    /// }
    /// if world.rank() == 1 {
    ///     let pair: Vec<f64> = world.recv(from(0).tag(0))?;
    ///     let answer: u8 = world.recv(from(0).tag(7))?;
    ///     assert_eq!((pair, answer), (vec![1.0, 2.0], 42));
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn send<P: Payload + ?Sized>(&self, data: &P, to: impl Into<Dest>) -> Result<()> {
        self.send_in(&SEND, Mode::Standard, data, to.into(), Location::caller())
    }

    /// Sends elements; returns when the receiver has begun to receive them.
    ///
    /// # Errors
    /// As [`send`](Comm::send).
    ///
    /// MPI: `MPI_Ssend`, MPI-4.1 section 3.4.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// match (world.rank(), world.size()) {
    ///     (_, 1) => {}
    ///     (0, _) => world.ssend(&[1, 2, 3], 1)?,
    ///     (1, _) => assert_eq!(world.recv::<Vec<i32>>(0)?, [1, 2, 3]),
    ///     _ => {}
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn ssend<P: Payload + ?Sized>(&self, data: &P, to: impl Into<Dest>) -> Result<()> {
        self.send_in(&SSEND, Mode::Synchronous, data, to.into(), Location::caller())
    }

    /// Copies elements into the attached buffer and returns at once.
    ///
    /// The buffer is given with [`attach_buffer`](crate::attach_buffer).
    ///
    /// # Errors
    /// As [`send`](Comm::send), and [`BufferFull`](crate::ErrorKind::BufferFull) if the message finds
    /// no room. Take that as the end of messages to this rank on this communicator: Open MPI 4.1
    /// delivers no later ones.
    ///
    /// MPI: `MPI_Bsend`, MPI-4.1 section 3.4.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// phalanx::attach_buffer(1 << 16)?;
    /// world.bsend(&[1, 2, 3], world.rank())?; // even to itself: nothing waits
    /// assert_eq!(world.recv::<Vec<i32>>(world.rank())?, [1, 2, 3]);
    /// phalanx::detach_buffer()
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn bsend<P: Payload + ?Sized>(&self, data: &P, to: impl Into<Dest>) -> Result<()> {
        self.send_in(&BSEND, Mode::Buffered, data, to.into(), Location::caller())
    }

    /// Sends elements to a receiver that is known to wait already, which saves a handshake.
    ///
    /// # Safety
    /// The matching receive has been posted. If it has not, the outcome is undefined (MPI-4.1, section
    /// 3.4): the message may be lost or arrive damaged.
    ///
    /// # Errors
    /// As [`send`](Comm::send).
    ///
    /// MPI: `MPI_Rsend`, MPI-4.1 section 3.4.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let posted = world.irecv_into(vec![0; 3], me)?;
    /// // SAFETY: the receive was posted on the line above.
    /// unsafe { world.rsend(&[1, 2, 3], me)? };
    /// assert_eq!(posted.wait()?.0, [1, 2, 3]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub unsafe fn rsend<P: Payload + ?Sized>(&self, data: &P, to: impl Into<Dest>) -> Result<()> {
        self.send_in(&RSEND, Mode::Ready, data, to.into(), Location::caller())
    }

    #[inline(always)]
    fn send_in<P: Payload + ?Sized>(
        &self,
        operation: &'static Operation,
        mode: Mode,
        data: &P,
        to: Dest,
        location: &'static Location<'static>,
    ) -> Result<()> {
        let call = self.call(operation, location).peer(to.peer()).tag(Some(to.tag));
        let view = sent(&call, data)?;
        p2p::send(&call, mode, view, to.envelope(&call)?)
    }
}

//! Sends and receives of elements that complete later.

use std::panic::Location;

use super::{Receiving, Request, start, start_steps};
use crate::comm::{Comm, Dest, Source, Status};
use crate::datatype::{Payload, PayloadMut};
use crate::error::Result;
use crate::p2p::{Received, status_of};
use crate::raw::p2p::{self, Mode, RawStatus};
use crate::raw::request::Live;
use crate::record::{Call, IRECV, IRECV_UNKNOWN, ISEND, ISSEND, Operation};

impl Comm {
    /// Starts to send a buffer, which the request owns until it is complete.
    ///
    /// # Errors
    /// [`InvalidRank`](crate::ErrorKind::InvalidRank), [`InvalidTag`](crate::ErrorKind::InvalidTag), and what the
    /// MPI library reports.
    ///
    /// MPI: `MPI_Isend`, MPI-4.1 section 3.7.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let sending = world.isend(vec![1, 2, 3], me)?;
    /// assert_eq!(world.recv::<Vec<i32>>(me)?, [1, 2, 3]);
    /// let buffer = sending.wait()?;
    /// # assert_eq!(buffer, [1, 2, 3]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn isend<P>(&self, data: P, to: impl Into<Dest>) -> Result<Request<P>>
    where
        P: Payload + Send + 'static,
    {
        self.isend_in(&ISEND, Mode::Standard, data, to.into(), Location::caller())
    }

    /// Starts to send a buffer; complete when the receiver has begun to receive it.
    ///
    /// # Errors
    /// As [`isend`](Comm::isend).
    ///
    /// MPI: `MPI_Issend`, MPI-4.1 section 3.7.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let mut sending = world.issend(5_u8, me)?;
    /// assert!(sending.test()?.is_none()); // nobody receives yet
    /// assert_eq!(world.recv::<u8>(me)?, 5);
    /// sending.wait()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn issend<P>(&self, data: P, to: impl Into<Dest>) -> Result<Request<P>>
    where
        P: Payload + Send + 'static,
    {
        self.isend_in(&ISSEND, Mode::Synchronous, data, to.into(), Location::caller())
    }

    fn isend_in<P>(
        &self,
        operation: &'static Operation,
        mode: Mode,
        data: P,
        to: Dest,
        location: &'static Location<'static>,
    ) -> Result<Request<P>>
    where
        P: Payload + Send + 'static,
    {
        let call = self.call(operation, location).peer(to.peer()).tag(Some(to.tag));
        let envelope = to.envelope(&call)?;
        let begin = |data: &mut P, request: &mut Live| {
            // SAFETY: the request owns the buffer and keeps it in place until it is complete.
            unsafe { p2p::isend(&call, mode, data.view()?, envelope, request) }
        };
        start(self, &call, data, begin, |data, _, _| Ok(data))
    }

    /// Starts to receive into a buffer, which the request owns until it is complete. The result is the
    /// buffer and what came; a shorter message leaves the rest of the buffer as it was.
    ///
    /// # Errors
    /// [`InvalidRank`](crate::ErrorKind::InvalidRank), [`InvalidTag`](crate::ErrorKind::InvalidTag). When it
    /// completes: [`Truncated`](crate::ErrorKind::Truncated), [`TypeMismatch`](crate::ErrorKind::TypeMismatch).
    ///
    /// MPI: `MPI_Irecv`, MPI-4.1 section 3.7.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let receiving = world.irecv_into(vec![0; 8], me)?;
    /// world.send(&[1, 2, 3], me)?;
    /// let (buffer, got) = receiving.wait()?;
    /// assert_eq!(buffer[..got.len], [1, 2, 3]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn irecv_into<P>(&self, buffer: P, from: impl Into<Source>) -> Result<Request<(P, Status)>>
    where
        P: PayloadMut + Send + 'static,
    {
        let from = from.into();
        let call = self.call(&IRECV, Location::caller()).peer(from.peer()).tag(from.tag);
        let envelope = from.envelope(&call)?;
        let begin = |buffer: &mut P, request: &mut Live| {
            // SAFETY: the request owns the buffer and keeps it in place until it is complete.
            unsafe { p2p::irecv(&call, buffer.view_mut()?, envelope, request) }
        };
        start(self, &call, buffer, begin, |buffer, raw, call| {
            let status = status_of::<P::Element>(call, &raw)?;
            Ok((buffer, status))
        })
    }

    /// Starts to receive a message of unknown length. The result is a new `Vec`, boxed slice or
    /// element, and what came.
    ///
    /// The message is matched when this rank next tests or waits for something, not before: a receive
    /// that is posted later may get an earlier message, and while this rank is inside a collective call
    /// a large message may have to wait. [`irecv_into`](Comm::irecv_into) matches at once and in order.
    ///
    /// # Errors
    /// [`InvalidRank`](crate::ErrorKind::InvalidRank), [`InvalidTag`](crate::ErrorKind::InvalidTag). When it
    /// completes: those of [`recv`](Comm::recv).
    ///
    /// MPI: `MPI_Improbe` and `MPI_Imrecv`, MPI-4.1 section 3.8.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let receiving = world.irecv::<Vec<f64>>(me)?;
    /// world.send(&[0.5; 4], me)?;
    /// let (numbers, got) = receiving.wait()?;
    /// assert_eq!((numbers.len(), got.len), (4, 4));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn irecv<R>(&self, from: impl Into<Source>) -> Result<Request<(R, Status)>>
    where
        R: Received + Send + 'static,
    {
        let from = from.into();
        let call = self.call(&IRECV_UNKNOWN, Location::caller()).peer(from.peer()).tag(from.tag);
        let envelope = from.envelope(&call)?;
        let finish = |elements: Vec<R::Element>, raw: RawStatus, call: &Call<'_>| {
            let status = status_of::<R::Element>(call, &raw)?;
            Ok((R::from_elements(call, elements)?, status))
        };
        start_steps(self, &call, Receiving::new(envelope, finish))
    }
}

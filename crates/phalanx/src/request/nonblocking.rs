//! Sends and receives of elements that complete later.

use std::panic::Location;

use super::{Request, start};
use crate::comm::{Comm, Dest, Source, Status};
use crate::datatype::{Element, Payload, PayloadMut, filled, sent, zeros};
use crate::error::Result;
use crate::p2p::{ReceivedAtMost, ReceivedWhole, status_of};
use crate::raw;
use crate::raw::p2p::{self, Mode};
use crate::raw::request::Live;
use crate::record::{Call, IRECV, IRECV_AT_MOST, ISEND, ISSEND, Operation};

/// # Non-blocking messages of elements
///
/// They return a [`Request`](crate::Request) that owns the buffer until it is complete.
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
            unsafe { p2p::isend(&call, mode, sent(&call, data)?, envelope, request) }
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
            unsafe { p2p::irecv(&call, filled(&call, buffer)?, envelope, request) }
        };
        start(self, &call, buffer, begin, |buffer, raw, call| {
            let status = status_of::<P::Element>(call, &raw)?;
            Ok((buffer, status))
        })
    }

    /// Starts to receive a value whose length its type says: one element or an array. The message must hold
    /// just that.
    ///
    /// Of a `Vec` or a boxed slice the length is not known, and MPI has no receive for that:
    /// [`irecv_at_most`](Comm::irecv_at_most) takes a bound, [`irecv_into`](Comm::irecv_into) a buffer. A
    /// message of any length is received with [`recv`](Comm::recv) when it is there, which
    /// [`try_probe`](Comm::try_probe) says.
    ///
    /// # Errors
    /// [`InvalidRank`](crate::ErrorKind::InvalidRank), [`InvalidTag`](crate::ErrorKind::InvalidTag). When it
    /// completes: those of [`recv`](Comm::recv).
    ///
    /// MPI: `MPI_Irecv`, MPI-4.1 section 3.7.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let receiving = world.irecv::<[f64; 4]>(me)?;
    /// world.send(&[0.5; 4], me)?;
    /// assert_eq!(receiving.wait()?, [0.5; 4]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn irecv<R>(&self, from: impl Into<Source>) -> Result<Request<R>>
    where
        R: ReceivedWhole + Send + 'static,
    {
        self.irecv_elements(
            &IRECV,
            R::LENGTH,
            from.into(),
            Location::caller(),
            |elements, _, call| R::from_elements(call, elements),
        )
    }

    /// [`irecv`](Comm::irecv), with the source, tag and length of the message.
    ///
    /// # Errors
    /// As [`irecv`](Comm::irecv).
    ///
    /// MPI: `MPI_Irecv`, MPI-4.1 section 3.7.2.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let receiving = world.irecv_with_status::<u8>(any())?;
    /// world.send(&7_u8, to(world.rank()).tag(3))?;
    /// let (seven, got) = receiving.wait()?;
    /// assert_eq!((seven, got.tag), (7, 3));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn irecv_with_status<R>(&self, from: impl Into<Source>) -> Result<Request<(R, Status)>>
    where
        R: ReceivedWhole + Send + 'static,
    {
        self.irecv_elements(
            &IRECV,
            R::LENGTH,
            from.into(),
            Location::caller(),
            |elements, status, call| Ok((R::from_elements(call, elements)?, status)),
        )
    }

    /// Starts to receive a message of at most `n` elements. The result is a new `Vec` or boxed slice, as long
    /// as the message.
    ///
    /// # Errors
    /// [`InvalidRank`](crate::ErrorKind::InvalidRank), [`InvalidTag`](crate::ErrorKind::InvalidTag). When it
    /// completes: [`Truncated`](crate::ErrorKind::Truncated) if the message has more elements,
    /// [`TypeMismatch`](crate::ErrorKind::TypeMismatch).
    ///
    /// # Panics
    /// If there is no memory for `n` elements.
    ///
    /// MPI: `MPI_Irecv`, MPI-4.1 section 3.7.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let receiving = world.irecv_at_most::<Vec<f64>>(100, me)?;
    /// world.send(&[0.5; 4], me)?;
    /// assert_eq!(receiving.wait()?, [0.5; 4]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn irecv_at_most<R>(&self, n: usize, from: impl Into<Source>) -> Result<Request<R>>
    where
        R: ReceivedAtMost + Send + 'static,
    {
        self.irecv_elements(
            &IRECV_AT_MOST,
            n,
            from.into(),
            Location::caller(),
            |elements, _, call| R::from_elements(call, elements),
        )
    }

    /// [`irecv_at_most`](Comm::irecv_at_most), with the source, tag and length of the message.
    ///
    /// # Errors
    /// As [`irecv_at_most`](Comm::irecv_at_most).
    ///
    /// # Panics
    /// If there is no memory for `n` elements.
    ///
    /// MPI: `MPI_Irecv`, MPI-4.1 section 3.7.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let receiving = world.irecv_at_most_with_status::<Box<[i32]>>(8, me)?;
    /// world.send(&[1, 2, 3], me)?;
    /// let (numbers, got) = receiving.wait()?;
    /// assert_eq!((numbers.len(), got.len, got.source), (3, 3, Some(me)));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn irecv_at_most_with_status<R>(
        &self,
        n: usize,
        from: impl Into<Source>,
    ) -> Result<Request<(R, Status)>>
    where
        R: ReceivedAtMost + Send + 'static,
    {
        self.irecv_elements(
            &IRECV_AT_MOST,
            n,
            from.into(),
            Location::caller(),
            |elements, status, call| Ok((R::from_elements(call, elements)?, status)),
        )
    }

    fn irecv_elements<T: Element, R: 'static>(
        &self,
        operation: &'static Operation,
        n: usize,
        from: Source,
        location: &'static Location<'static>,
        finish: impl FnOnce(Vec<T>, Status, &Call<'_>) -> Result<R> + Send + 'static,
    ) -> Result<Request<R>> {
        let call = self.call(operation, location).peer(from.peer()).tag(from.tag);
        let envelope = from.envelope(&call)?;
        // What is refused takes no memory for its message.
        let _permit = raw::permit(&call)?;
        let begin = |buffer: &mut Vec<T>, request: &mut Live| {
            // SAFETY: the request owns the buffer and keeps it in place until it is complete.
            unsafe { p2p::irecv(&call, filled(&call, buffer)?, envelope, request) }
        };
        start(self, &call, zeros::<T>(n), begin, |mut buffer, raw, call| {
            let status = status_of::<T>(call, &raw)?;
            buffer.truncate(status.len);
            finish(buffer, status, call)
        })
    }
}

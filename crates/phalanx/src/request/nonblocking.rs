//! Sends and receives of elements that complete later.

use std::panic::Location;

use super::task::{Handle, Progress, Task};
use super::{Request, start, start_steps};
use crate::comm::{Comm, Dest, Source, Status};
use crate::datatype::{Element, Payload, PayloadMut, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::p2p::{Received, discard, status_of};
use crate::raw::p2p::{self, Envelope, Matched, Mode, RawStatus};
use crate::raw::request::Live;
use crate::raw::{self};
use crate::record::{self, Call, IRECV, IRECV_UNKNOWN, ISEND, ISSEND, Kind, Operation, What};

impl Comm {
    /// Starts to send a buffer, which the request owns until it is complete.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank), [`InvalidTag`](ErrorKind::InvalidTag), and what the
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
    /// [`InvalidRank`](ErrorKind::InvalidRank), [`InvalidTag`](ErrorKind::InvalidTag). When it
    /// completes: [`Truncated`](ErrorKind::Truncated), [`TypeMismatch`](ErrorKind::TypeMismatch).
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
    /// The message is matched when the request is tested or waited for, not before: a receive that is
    /// posted later may get an earlier message. [`irecv_into`](Comm::irecv_into) matches in order.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank), [`InvalidTag`](ErrorKind::InvalidTag). When it
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

/// A message of unknown length, whose elements arrive in the background once it is matched.
pub(crate) struct Receiving<T, F> {
    envelope: Envelope,
    /// Where the record knows of it while no message is matched.
    place: Place,
    state: Arrival<T>,
    finish: F,
}

/// The place of a receive that MPI does not know yet.
#[derive(Default)]
struct Place(Option<u16>);

impl Place {
    fn note<T>(&mut self, call: &Call<'_>) {
        let what = What::of(Kind::Receive, 0, record::name_of::<T>);
        let place = *self.0.get_or_insert_with(|| record::pend(call, &what));
        record::mark(place);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            record::finish(place);
        }
    }
}

enum Arrival<T> {
    Unmatched,
    Arriving { request: Handle, elements: Vec<T>, status: RawStatus },
    Arrived { elements: Vec<T>, status: RawStatus },
    Taken,
}

impl<T: Element, F> Receiving<T, F> {
    pub fn new(envelope: Envelope, finish: F) -> Self {
        Receiving { envelope, place: Place::default(), state: Arrival::Unmatched, finish }
    }

    fn begin(&mut self, call: &Call<'_>, matched: Matched) -> Result<()> {
        let status = matched.status;
        let len = match status_of::<T>(call, &status) {
            Ok(status) => status.len,
            Err(error) => {
                discard(call, matched)?;
                return Err(error);
            }
        };
        let mut elements = zeros::<T>(len);
        let mut request = Handle(raw::request::null());
        let view = elements.view_mut()?;
        // SAFETY: the heap memory of the vector stays where it is until the request is complete: a
        // task that is dropped before goes to the orphans, whole.
        unsafe { p2p::imrecv(call, matched, view, &mut request.0)? };
        self.state = Arrival::Arriving { request, elements, status };
        Ok(())
    }
}

impl<T, R, F> Task<R> for Receiving<T, F>
where
    T: Element,
    F: Fn(Vec<T>, RawStatus, &Call<'_>) -> Result<R> + Send,
{
    fn poll(&mut self, call: &Call<'_>) -> Result<Progress> {
        if let Arrival::Unmatched = self.state {
            self.place.note::<T>(call);
            match p2p::try_probe(call, self.envelope)? {
                Some(matched) => {
                    self.place = Place::default();
                    self.begin(call, matched)?;
                }
                None => return Ok(Progress::Pending),
            }
        }
        if let Arrival::Arriving { request, elements, status } = &mut self.state {
            if raw::request::test(call, &mut request.0)?.is_none() {
                return Ok(Progress::Pending);
            }
            self.state = Arrival::Arrived { elements: std::mem::take(elements), status: *status };
        }
        Ok(Progress::Complete)
    }

    fn block(&mut self, call: &Call<'_>) -> Result<()> {
        if let Arrival::Unmatched = self.state {
            let matched = p2p::probe(call, self.envelope)?;
            self.place = Place::default();
            self.begin(call, matched)?;
        }
        if let Arrival::Arriving { request, .. } = &mut self.state {
            raw::request::wait(call, &mut request.0)?;
        }
        // A completed request is null, for which a test is true.
        self.poll(call).map(drop)
    }

    fn forget_unmatched(&mut self) -> bool {
        matches!(self.state, Arrival::Unmatched)
    }

    fn take(&mut self, call: &Call<'_>) -> Result<R> {
        match std::mem::replace(&mut self.state, Arrival::Taken) {
            Arrival::Arrived { elements, status } => (self.finish)(elements, status, call),
            _ => Err(Error::new(ErrorKind::State, call, "the message has not arrived")),
        }
    }
}

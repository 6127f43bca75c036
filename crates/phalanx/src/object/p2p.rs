//! Objects from one rank to another.

use std::cell::RefCell;
use std::panic::Location;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{Bincode, Codec};
use super::plain::{self, Route};
use super::wire::{self, Segments};
use crate::comm::{Comm, Dest, Source, Status};
use crate::error::{Error, ErrorKind, Result};
use crate::p2p::Message;
use crate::raw::p2p::{self, Envelope, Matched, Mode};
use crate::raw::request::Live;
use crate::raw::{View, ViewMut};
use crate::record::{Call, Operation, Peer, RECV_OBJECT, SEND_OBJECT, SSEND_OBJECT};
use crate::request::{Request, start};

/// A buffer that is used again for the next message of this thread, unless it has become this large.
const KEPT: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the thread's buffer, or a new one where it is in use: a user's serialisation may send too.
fn with_scratch<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = SCRATCH.take();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT {
        SCRATCH.replace(buffer);
    }
    result
}

impl Comm {
    /// Sends any serde value; returns when it may be changed again.
    ///
    /// Serialisation costs time and a copy, and a large value may wait for its receiver as
    /// [`send`](Comm::send) does. Numbers in bulk are faster typed, or as fields with
    /// [`phalanx::plain`](crate::plain).
    ///
    /// # Errors
    /// [`Encode`](ErrorKind::Encode) if serde or the codec refuses the value, and those of
    /// [`send`](Comm::send).
    ///
    /// MPI: `MPI_Send`, MPI-4.1 section 3.2.1.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// if world.rank() == 0 && world.size() > 1 {
    ///     world.send_object(&BTreeMap::from([("answer", 42)]), 1)?;
    /// }
    /// if world.rank() == 1 {
    ///     let map: BTreeMap<String, i32> = world.recv_object(0)?;
    ///     assert_eq!(map["answer"], 42);
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn send_object<T>(&self, value: &T, to: impl Into<Dest>) -> Result<()>
    where
        T: Serialize + ?Sized,
    {
        let location = Location::caller();
        self.send_object_in::<Bincode, T>(&SEND_OBJECT, Mode::Standard, value, to.into(), location)
    }

    /// [`send_object`](Comm::send_object) that returns when the receiver has begun to receive.
    ///
    /// # Errors
    /// As [`send_object`](Comm::send_object).
    ///
    /// MPI: `MPI_Ssend`, MPI-4.1 section 3.4.
    #[track_caller]
    pub fn ssend_object<T>(&self, value: &T, to: impl Into<Dest>) -> Result<()>
    where
        T: Serialize + ?Sized,
    {
        let (to, location) = (to.into(), Location::caller());
        self.send_object_in::<Bincode, T>(&SSEND_OBJECT, Mode::Synchronous, value, to, location)
    }

    /// [`send_object`](Comm::send_object) with another [`Codec`].
    ///
    /// # Errors
    /// As [`send_object`](Comm::send_object).
    #[track_caller]
    pub fn send_object_with<C, T>(&self, value: &T, to: impl Into<Dest>) -> Result<()>
    where
        C: Codec,
        T: Serialize + ?Sized,
    {
        let location = Location::caller();
        self.send_object_in::<C, T>(&SEND_OBJECT, Mode::Standard, value, to.into(), location)
    }

    #[inline]
    fn send_object_in<C: Codec, T: Serialize + ?Sized>(
        &self,
        operation: &'static Operation,
        mode: Mode,
        value: &T,
        to: Dest,
        location: &'static Location<'static>,
    ) -> Result<()> {
        let call = self.call(operation, location).peer(to.peer()).tag(Some(to.tag));
        let envelope = to.envelope(&call)?;
        with_scratch(|message| {
            let (encoded, count) =
                plain::counting(|| wire::encode::<C, T>(&call, value, &mut *message));
            encoded?;
            match to.rank {
                Some(rank) if count > 0 => {
                    let tag = self.next_out_of_band_tag();
                    wire::set_segments(message, Segments { count, tag });
                    p2p::send(&call, mode, View::bytes(message), envelope)?;
                    let route = Route { comm: self.clone(), operation, location, rank, tag };
                    plain::sending(&call, route, count, || {
                        let end = message.len();
                        C::encode(value, message)?;
                        let (first, second) = message.split_at(end);
                        let same = first[wire::HEADER..] == *second;
                        if same { Ok(()) } else { Err(plain::DIFFERENT.to_owned()) }
                    })
                }
                _ => p2p::send(&call, mode, View::bytes(message), envelope),
            }
        })
    }

    /// Receives a serde value.
    ///
    /// # Errors
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) if another type was sent, or no object at all;
    /// [`Decode`](ErrorKind::Decode) if the bytes are damaged; those of [`recv`](Comm::recv). The
    /// message is taken away in each case: the next one arrives.
    ///
    /// MPI: `MPI_Mprobe` and `MPI_Mrecv`, MPI-4.1 section 3.8.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let sending = world.isend_object("hello", me)?;
    /// let greeting: String = world.recv_object(me)?;
    /// assert_eq!(greeting, "hello");
    /// sending.wait()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn recv_object<T: DeserializeOwned>(&self, from: impl Into<Source>) -> Result<T> {
        Ok(self.recv_object_in::<Bincode, T>(from.into(), Location::caller())?.0)
    }

    /// [`recv_object`](Comm::recv_object), with the source, tag and length in bytes of the message.
    ///
    /// # Errors
    /// As [`recv_object`](Comm::recv_object).
    #[track_caller]
    pub fn recv_object_with_status<T: DeserializeOwned>(
        &self,
        from: impl Into<Source>,
    ) -> Result<(T, Status)> {
        self.recv_object_in::<Bincode, T>(from.into(), Location::caller())
    }

    /// [`recv_object`](Comm::recv_object) with another [`Codec`].
    ///
    /// # Errors
    /// As [`recv_object`](Comm::recv_object).
    #[track_caller]
    pub fn recv_object_with<C, T>(&self, from: impl Into<Source>) -> Result<T>
    where
        C: Codec,
        T: DeserializeOwned,
    {
        Ok(self.recv_object_in::<C, T>(from.into(), Location::caller())?.0)
    }

    #[inline]
    fn recv_object_in<C: Codec, T: DeserializeOwned>(
        &self,
        from: Source,
        location: &'static Location<'static>,
    ) -> Result<(T, Status)> {
        let call = self.call(&RECV_OBJECT, location).peer(from.peer()).tag(from.tag);
        let envelope = from.envelope(&call)?;
        let matched = p2p::probe(&call, envelope)?;
        receive_matched::<C, T>(self, &call, matched)
    }

    /// Sends a value to one rank and receives one from another, in an order that cannot deadlock.
    ///
    /// # Errors
    /// Those of [`send_object`](Comm::send_object) and [`recv_object`](Comm::recv_object).
    ///
    /// MPI: `MPI_Isend`, `MPI_Mprobe`, `MPI_Mrecv`, `MPI_Wait`.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let (rank, size) = (world.rank(), world.size());
    /// let name = format!("rank {rank}");
    /// let left: String = world.sendrecv_object(&name, (rank + 1) % size, (rank + size - 1) % size)?;
    /// assert_eq!(left, format!("rank {}", (rank + size - 1) % size));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn sendrecv_object<S, R>(
        &self,
        value: &S,
        to: impl Into<Dest>,
        from: impl Into<Source>,
    ) -> Result<R>
    where
        S: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let (from, location) = (from.into(), Location::caller());
        // Nothing must be on its way when the other half is refused.
        from.envelope(&self.call(&RECV_OBJECT, location).peer(from.peer()).tag(from.tag))?;
        let sending = self.start_send_object(value, to.into(), location)?;
        let received = self.recv_object_in::<Bincode, R>(from, location);
        sending.wait()?;
        Ok(received?.0)
    }

    pub(super) fn start_send_object<T: Serialize + ?Sized>(
        &self,
        value: &T,
        to: Dest,
        location: &'static Location<'static>,
    ) -> Result<Request<()>> {
        let operation = &crate::record::ISEND_OBJECT;
        let call = self.call(operation, location).peer(to.peer()).tag(Some(to.tag));
        let envelope = to.envelope(&call)?;
        let message = wire::to_bytes::<Bincode, T>(&call, value)?;
        start_bytes(self, &call, message, envelope)
    }
}

/// Starts to send bytes that the request owns.
pub(super) fn start_bytes(
    comm: &Comm,
    call: &Call<'_>,
    message: Vec<u8>,
    to: Envelope,
) -> Result<Request<()>> {
    let begin = |message: &mut Vec<u8>, request: &mut Live| {
        // SAFETY: the request owns the bytes and keeps them in place until it is complete.
        unsafe { p2p::isend(call, Mode::Standard, View::bytes(message), to, request) }
    };
    start(comm, call, message, begin, |_, _, _| Ok(()))
}

/// Receives a matched message and makes the value of it.
pub(crate) fn receive_matched<C: Codec, T: DeserializeOwned>(
    comm: &Comm,
    call: &Call<'_>,
    matched: Matched,
) -> Result<(T, Status)> {
    let raw = matched.status;
    let length = raw.bytes(call)?;
    let Ok(source) = usize::try_from(raw.source()) else {
        let detail = "the null process sends no objects";
        return Err(Error::new(ErrorKind::InvalidRank, call, detail));
    };
    let call = &call.peer(Peer::From(source)).tag(Some(raw.tag()));
    with_scratch(|message| {
        if length > KEPT {
            // Fresh pages of the system are zero already.
            *message = vec![0; length];
        } else {
            message.clear();
            message.resize(length, 0);
        }
        p2p::mrecv(call, matched, ViewMut::bytes(message))?;
        let value = open::<C, T>(comm, call, message, source)?;
        Ok((value, Status { source: Some(source), tag: raw.tag(), len: length }))
    })
}

/// Makes the value of a message that has arrived, and receives what comes beside it.
pub(super) fn open<C: Codec, T: DeserializeOwned>(
    comm: &Comm,
    call: &Call<'_>,
    message: &[u8],
    source: usize,
) -> Result<T> {
    let segments = wire::segments(message);
    if segments.count == 0 {
        return wire::decode::<C, T>(call, message);
    }
    let Segments { count, tag } = segments;
    if tag < 0 || tag > crate::comm::tag_upper_bound() {
        let detail = format!("the header announces segments with tag {tag}");
        return Err(Error::new(ErrorKind::Decode, call, detail));
    }
    let (operation, location) = (call.operation, call.location);
    let route = Route { comm: comm.clone(), operation, location, rank: source, tag };
    plain::receiving(route, count, || wire::decode::<C, T>(call, message))
}

impl Message {
    /// Receives it as a serde value, as [`Comm::recv_object`] does.
    ///
    /// # Errors
    /// As [`Comm::recv_object`].
    ///
    /// MPI: `MPI_Mrecv`, MPI-4.1 section 3.8.3.
    #[track_caller]
    pub fn recv_object<T: DeserializeOwned>(self) -> Result<T> {
        let Message { comm, matched } = self;
        let call = Self::call(&comm, &matched);
        Ok(receive_matched::<Bincode, T>(&comm, &call, matched)?.0)
    }
}

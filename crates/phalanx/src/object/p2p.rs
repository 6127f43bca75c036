//! Objects from one rank to another.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::Arc;

use phalanx_codec::{Bincode, Codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::detached::Detached;
use super::incoming::{Incoming, nobody};
use super::outgoing::{Outgoing, start_send};
use super::plain::{self, Route};
use super::wire::{self, FIRST, Segment};
use crate::comm::{Comm, Dest, Source, Status};
use crate::error::Result;
use crate::p2p::Message;
use crate::raw::mark::no_object;
use crate::raw::p2p::{self, Envelope, Matched, Mode, RawStatus};
use crate::raw::{View, ViewMut};
use crate::record::{Call, ISEND_OBJECT, Operation, Peer, RECV_OBJECT, SEND_OBJECT, SSEND_OBJECT};
use crate::request::Request;

/// A buffer that is used again for the next message of this thread, unless it has become this large.
const KEPT: usize = 1 << 20;

thread_local! {
    static SENT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static RECEIVED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the thread's buffer, or a new one where it is in use: a user's serialisation may send too.
fn with_scratch<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = SENT.try_with(RefCell::take).unwrap_or_default();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT {
        // At the end of a thread, in the destructor of another thread-local value, nothing is kept.
        let _ = SENT.try_with(|sent| sent.replace(buffer));
    }
    result
}

/// Lends the thread's buffer for the first part of a message.
#[inline]
fn with_room<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = RECEIVED.try_with(RefCell::take).unwrap_or_default();
    if buffer.len() < FIRST {
        buffer.resize(FIRST, 0);
    }
    let result = f(&mut buffer);
    let _ = RECEIVED.try_with(|received| received.replace(buffer));
    result
}

/// # Messages of objects
///
/// Any serde value: it is encoded into one message, whose type is checked by the receiver.
impl Comm {
    /// Sends any serde value; returns when it may be changed again.
    ///
    /// Serialisation costs time and a copy, and it may wait for its receiver as
    /// [`send`](Comm::send) does. Of a large value only the first 16 KiB do: the rest is sent from memory of
    /// this library's own and may still be on its way when this returns. Numbers in bulk are faster typed, or as fields with
    /// [`phalanx::plain`](crate::plain).
    ///
    /// # Errors
    /// [`Encode`](crate::ErrorKind::Encode) if serde or the codec refuses the value, and those of
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

    /// [`ssend_object`](Comm::ssend_object) with another [`Codec`].
    ///
    /// # Errors
    /// As [`send_object`](Comm::send_object).
    ///
    /// MPI: `MPI_Ssend`, MPI-4.1 section 3.4.
    #[track_caller]
    pub fn ssend_object_with<C, T>(&self, value: &T, to: impl Into<Dest>) -> Result<()>
    where
        C: Codec,
        T: Serialize + ?Sized,
    {
        let (to, location) = (to.into(), Location::caller());
        self.send_object_in::<C, T>(&SSEND_OBJECT, Mode::Synchronous, value, to, location)
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
            let (encoded, segments) =
                plain::counting(|| wire::encode::<C, T>(&call, value, &mut *message));
            encoded?;
            if message.len() <= FIRST && segments.is_empty() {
                return p2p::send(&call, mode, View::bytes(message), envelope);
            }
            let encode = |again: &mut Vec<u8>| C::encode(value, again);
            self.send_in_parts(&call, mode, message, segments, envelope, encode)
        })
    }

    /// Sends what does not fit into one message. Leaves a buffer in `message` that may be used again.
    #[inline(never)]
    fn send_in_parts(
        &self,
        call: &Call<'_>,
        mode: Mode,
        message: &mut Vec<u8>,
        segments: Vec<Segment>,
        to: Envelope,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
    ) -> Result<()> {
        let codec_bytes = wire::HEADER..message.len();
        let tag = self.next_out_of_band_tag();
        wire::announce(message, &segments, tag);
        let first = &message[..message.len().min(FIRST)];
        p2p::send(call, mode, View::bytes(first), to)?;
        let Ok(rank) = usize::try_from(to.rank) else { return Ok(()) };
        let beside = Envelope { rank: to.rank, tag };
        let private = call.privately(self.private(), Peer::To(rank), tag);
        let whole = Arc::new(std::mem::take(message));
        let mut rest = None;
        if whole.len() > FIRST {
            rest = Some(Detached::send(&private, whole.clone(), FIRST, beside)?);
        }
        let mut sent = Ok(());
        if !segments.is_empty() {
            let answer = wire::answer_to(beside);
            let mut clear = Detached::receive_nothing(&private.tag(Some(answer.tag)), answer)?;
            // This rank itself cannot come while it is here.
            let is_clear = rank != self.rank() && clear.finish_soon();
            let route = Route::new(call, self.private(), beside, is_clear, segments);
            sent = plain::sending(call, route, || {
                let mut again = Vec::with_capacity(codec_bytes.len());
                encode(&mut again)?;
                let same = whole[codec_bytes] == *again;
                if same { Ok(()) } else { Err(plain::DIFFERENT.to_owned()) }
            });
        }
        match rest {
            None => *message = Arc::into_inner(whole).unwrap_or_default(),
            Some(mut rest) => {
                drop(whole);
                if rest.finish_soon() {
                    *message = rest.into_bytes().unwrap_or_default();
                }
            }
        }
        sent
    }

    /// Receives a serde value.
    ///
    /// # Errors
    /// [`TypeMismatch`](crate::ErrorKind::TypeMismatch) if another type was sent, or no object at all;
    /// [`Decode`](crate::ErrorKind::Decode) if the bytes are damaged; those of [`recv`](Comm::recv). The
    /// message is taken away in each case: the next one arrives.
    ///
    /// MPI: `MPI_Recv`, MPI-4.1 section 3.2.4; what is longer than 16 KiB follows on a private
    /// communicator.
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
        match receive::<C, T>(self, &call, from.envelope(&call)?)? {
            Some(both) => Ok(both),
            None => Err(wire::no_object::<T>(&call, "of 0 bytes")),
        }
    }

    /// Sends a value to one rank and receives one from another, in an order that cannot deadlock.
    ///
    /// # Errors
    /// Those of [`send_object`](Comm::send_object) and [`recv_object`](Comm::recv_object).
    ///
    /// MPI: `MPI_Isend`, `MPI_Recv`, `MPI_Wait`.
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
        let location = Location::caller();
        self.sendrecv_object_in::<Bincode, S, R>(value, to.into(), from.into(), location)
    }

    /// [`sendrecv_object`](Comm::sendrecv_object) with another [`Codec`].
    ///
    /// # Errors
    /// As [`sendrecv_object`](Comm::sendrecv_object).
    ///
    /// MPI: as [`sendrecv_object`](Comm::sendrecv_object).
    #[track_caller]
    pub fn sendrecv_object_with<C, S, R>(
        &self,
        value: &S,
        to: impl Into<Dest>,
        from: impl Into<Source>,
    ) -> Result<R>
    where
        C: Codec,
        S: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let location = Location::caller();
        self.sendrecv_object_in::<C, S, R>(value, to.into(), from.into(), location)
    }

    fn sendrecv_object_in<C, S, R>(
        &self,
        value: &S,
        to: Dest,
        from: Source,
        location: &'static Location<'static>,
    ) -> Result<R>
    where
        C: Codec,
        S: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        // Nothing must be on its way when the other half is refused.
        from.envelope(&self.call(&RECV_OBJECT, location).peer(from.peer()).tag(from.tag))?;
        let sending =
            self.isend_object_in::<C, S>(&ISEND_OBJECT, Mode::Standard, value, to, location)?;
        let received = self.recv_object_in::<C, R>(from, location);
        sending.wait()?;
        Ok(received?.0)
    }

    pub(super) fn isend_object_in<C: Codec, T: Serialize + ?Sized>(
        &self,
        operation: &'static Operation,
        mode: Mode,
        value: &T,
        to: Dest,
        location: &'static Location<'static>,
    ) -> Result<Request<()>> {
        let call = self.call(operation, location).peer(to.peer()).tag(Some(to.tag));
        let envelope = to.envelope(&call)?;
        let message = Outgoing::encode::<C, T>(self, &call, value)?;
        start_send(self, &call, mode, message, envelope)
    }
}

/// Receives a value. An empty message is `None`: no object is empty.
#[inline]
pub(crate) fn receive<C: Codec, T: DeserializeOwned>(
    comm: &Comm,
    call: &Call<'_>,
    from: Envelope,
) -> Result<Option<(T, Status)>> {
    with_room(|room| {
        let mut raw = RawStatus::empty();
        p2p::recv(call, ViewMut::bytes(room), from, &mut raw).map_err(no_object)?;
        open_first::<C, T>(comm, call, room, raw)
    })
}

/// Makes the value of a message of which the first part is here.
#[inline]
fn open_first<C: Codec, T: DeserializeOwned>(
    comm: &Comm,
    call: &Call<'_>,
    room: &[u8],
    raw: RawStatus,
) -> Result<Option<(T, Status)>> {
    let length = raw.bytes(call)?;
    let Ok(source) = usize::try_from(raw.source()) else { return Err(nobody(call)) };
    let message = &room[..length.min(room.len())];
    if message.is_empty() {
        return Ok(None);
    }
    let call = &call.peer(Peer::From(source)).tag(Some(raw.tag()));
    let head = wire::head(message);
    if head.is_some_and(|head| head.segments > 0 || head.total > FIRST) {
        let mut incoming = Incoming::after(call, comm.private(), message, raw)?;
        incoming.block(call)?;
        return incoming.take(call)?.open::<C, T>(call);
    }
    let value = wire::decode_after::<C, T>(call, message, head)?;
    Ok(Some((value, Status { source: Some(source), tag: raw.tag(), len: length })))
}

/// Receives the first part of an object that was matched.
pub(crate) fn receive_first(comm: &Comm, call: &Call<'_>, matched: Matched) -> Result<Incoming> {
    let raw = matched.status;
    let length = raw.bytes(call)?;
    if length > FIRST {
        crate::p2p::discard(call, matched)?;
        return Err(wire::no_object_at_all(call, length));
    }
    with_room(|room| {
        p2p::mrecv(call, matched, ViewMut::bytes(room))?;
        Incoming::after(call, comm.private(), &room[..length], raw)
    })
}

/// Receives a matched message and makes the value of it.
fn receive_matched<C: Codec, T: DeserializeOwned>(
    comm: &Comm,
    call: &Call<'_>,
    matched: Matched,
) -> Result<(T, Status)> {
    let raw = matched.status;
    if raw.source() < 0 {
        return Err(nobody(call));
    }
    let length = raw.bytes(call)?;
    if length > FIRST {
        crate::p2p::discard(call, matched)?;
        return Err(wire::no_object::<T>(call, &format!("of {length} bytes")));
    }
    let opened = with_room(|room| {
        p2p::mrecv(call, matched, ViewMut::bytes(room))?;
        open_first::<C, T>(comm, call, room, raw)
    });
    opened?.ok_or_else(|| wire::no_object::<T>(call, "of 0 bytes"))
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

    /// [`recv_object`](Message::recv_object), with the source, tag and length in bytes of the message.
    ///
    /// # Errors
    /// As [`Comm::recv_object`].
    ///
    /// MPI: `MPI_Mrecv`, MPI-4.1 section 3.8.3.
    #[track_caller]
    pub fn recv_object_with_status<T: DeserializeOwned>(self) -> Result<(T, Status)> {
        let Message { comm, matched } = self;
        let call = Self::call(&comm, &matched);
        receive_matched::<Bincode, T>(&comm, &call, matched)
    }

    /// [`recv_object`](Message::recv_object) with another [`Codec`].
    ///
    /// # Errors
    /// As [`Comm::recv_object`].
    ///
    /// MPI: `MPI_Mrecv`, MPI-4.1 section 3.8.3.
    #[track_caller]
    pub fn recv_object_with<C: Codec, T: DeserializeOwned>(self) -> Result<T> {
        let Message { comm, matched } = self;
        let call = Self::call(&comm, &matched);
        Ok(receive_matched::<C, T>(&comm, &call, matched)?.0)
    }
}

//! Blocking receives of elements.

use std::mem::MaybeUninit;
use std::panic::Location;

use crate::comm::{Comm, Source, Status};
use crate::datatype::{Element, PayloadMut, SingleElement, elements_in, filled, is_all, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::ViewMut;
use crate::raw::datatype;
use crate::raw::mark::HEADER;
use crate::raw::p2p::{self, Matched, RawStatus};
use crate::record::{Call, RECV, RECV_INTO, name_of};

/// # Receiving elements
impl Comm {
    /// Receives elements into a new value: a `Vec` or boxed slice of the message's length, an
    /// array of just that length, or one element.
    ///
    /// Without a tag any tag matches: `recv(0)`; with one, only that: `recv(from(0).tag(7))`.
    /// [`any()`](crate::any) takes the next message of any rank;
    /// [`recv_with_status`](Comm::recv_with_status) then says whose it was.
    ///
    /// A message does not carry its type. In debug builds and in tests it is compared with that of the sender all
    /// the same, where both ranks are on one node and only one thread makes MPI calls: `i64` received as `f64` is
    /// an error that names both lines. `PHALANX_WATCH_TYPES=off` turns that off, `on` turns it on in a release
    /// build; strict mode (`PHALANX_WATCH=strict`) compares between nodes, and the types of collectives. In a
    /// release build elements of the same size are not told apart.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank), [`InvalidTag`](ErrorKind::InvalidTag),
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) if the message is no whole number of elements, or of another
    /// type where that is compared, or an object (elements are taken for one by chance once in 2⁹⁶ messages),
    /// [`Truncated`](ErrorKind::Truncated) and [`InvalidLength`](ErrorKind::InvalidLength) if one
    /// element was asked for and the message holds more or none.
    ///
    /// MPI: `MPI_Mprobe` and `MPI_Mrecv`, MPI-4.1 section 3.8.2; `MPI_Recv` for one element.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let next = (world.rank() + 1) % world.size();
    /// let previous = (world.rank() + world.size() - 1) % world.size();
    /// let sending = world.isend(vec![world.rank(); 3], next)?;
    /// let numbers: Vec<usize> = world.recv(previous)?;
    /// assert_eq!(numbers, [previous; 3]);
    /// sending.wait()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn recv<R: Received>(&self, from: impl Into<Source>) -> Result<R> {
        let from = from.into();
        let call = self.call(&RECV, Location::caller()).peer(from.peer()).tag(from.tag);
        Ok(R::receive(&call, from)?.0)
    }

    /// [`recv`](Comm::recv), with the source, tag and length of the message.
    ///
    /// # Errors
    /// As [`recv`](Comm::recv).
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let sending = world.isend(vec![1.5; 4], to(world.rank()).tag(3))?;
    /// let (data, got) = world.recv_with_status::<Vec<f64>>(any())?;
    /// assert_eq!((got.source, got.tag, got.len), (Some(world.rank()), 3, 4));
    /// # assert_eq!(data, [1.5; 4]);
    /// sending.wait()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn recv_with_status<R: Received>(&self, from: impl Into<Source>) -> Result<(R, Status)> {
        let from = from.into();
        let call = self.call(&RECV, Location::caller()).peer(from.peer()).tag(from.tag);
        R::receive(&call, from)
    }

    /// Receives elements into a buffer of the caller's. The message may be shorter: `len` says how
    /// many elements came; the rest of the buffer stays as it was.
    ///
    /// # Errors
    /// [`Truncated`](ErrorKind::Truncated) if the message is longer than the buffer (it is lost then,
    /// and the next one arrives), [`TypeMismatch`](ErrorKind::TypeMismatch) if it is no whole number
    /// of elements, [`InvalidRank`](ErrorKind::InvalidRank), [`InvalidTag`](ErrorKind::InvalidTag).
    ///
    /// MPI: `MPI_Recv`, MPI-4.1 section 3.2.4.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let sending = world.isend(vec![7_u8; 3], world.rank())?;
    /// let mut buffer = [0_u8; 16];
    /// let got = world.recv_into(&mut buffer, any())?;
    /// assert_eq!(&buffer[..got.len], [7, 7, 7]);
    /// sending.wait()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn recv_into<P: PayloadMut + ?Sized>(
        &self,
        buffer: &mut P,
        from: impl Into<Source>,
    ) -> Result<Status> {
        let from = from.into();
        let call = self.call(&RECV_INTO, Location::caller()).peer(from.peer()).tag(from.tag);
        let envelope = from.envelope(&call)?;
        let mut raw = RawStatus::empty();
        let view = filled(&call, buffer)?;
        p2p::recv(&call, view, envelope, &mut raw)?;
        status_of::<P::Element>(&call, &raw)
    }
}

/// What a message of `T` was. Any number of elements of no size is a message of no bytes, which counts as none
/// of them.
#[inline(always)]
pub(crate) fn status_of<T: Element>(call: &Call<'_>, raw: &RawStatus) -> Result<Status> {
    let bytes = raw.bytes(call)?;
    match elements_in::<T>(bytes) {
        Some(len) => Ok(Status { source: usize::try_from(raw.source()).ok(), tag: raw.tag(), len }),
        None => Err(wrong_size::<T>(&call.copy(), bytes)),
    }
}

#[cold]
fn wrong_size<T>(call: &Call<'_>, bytes: usize) -> Error {
    let (name, size) = (std::any::type_name::<T>(), size_of::<T>());
    let detail =
        format!("a message of {bytes} bytes is no whole number of `{name}` of {size} bytes each");
    Error::new(ErrorKind::TypeMismatch, call, detail)
}

/// What a typed receive may return: `Vec<T>`, `Box<[T]>`, `[T; N]`, or one `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be received typed",
    note = "`recv` returns `Vec<T>`, `Box<[T]>`, `[T; N]` or one `T`, where `T: Element`",
    note = "any serde value is received with `recv_object`",
    note = "if this is about `!` or `()`, nothing says what is received: `let x: Vec<f64> = comm.recv(0)?`"
)]
pub trait Received: Sized {
    /// What the message holds.
    type Element: Element;

    #[doc(hidden)]
    fn receive(call: &Call<'_>, from: Source) -> Result<(Self, Status)> {
        let envelope = from.envelope(call)?;
        let matched = p2p::probe(call, envelope)?;
        Self::receive_matched(call, matched)
    }

    #[doc(hidden)]
    fn receive_matched(call: &Call<'_>, matched: Matched) -> Result<(Self, Status)> {
        let (elements, status) = receive_elements::<Self::Element>(call, matched)?;
        Ok((Self::from_elements(call, elements)?, status))
    }

    #[doc(hidden)]
    fn from_elements(call: &Call<'_>, elements: Vec<Self::Element>) -> Result<Self>;
}

fn receive_elements<T: Element>(call: &Call<'_>, matched: Matched) -> Result<(Vec<T>, Status)> {
    let status = match status_of::<T>(call, &matched.status) {
        Ok(status) => status,
        Err(error) => {
            discard(call, matched)?;
            return Err(error);
        }
    };
    let mut elements: Vec<T> = Vec::with_capacity(status.len);
    let bytes = status.len * size_of::<T>();
    // SAFETY: the vector has room for `len` elements.
    let view = unsafe {
        let pointer = elements.as_mut_ptr().cast();
        ViewMut::new(pointer, bytes, datatype::uint8().0, 1, name_of::<T>)
    };
    p2p::mrecv(call, matched, view)?;
    // SAFETY: the receive has filled `len` elements: the probe said how long the message is.
    unsafe { elements.set_len(status.len) };
    Ok((elements, status))
}

impl<T: Element> Received for Vec<T> {
    type Element = T;

    fn from_elements(_call: &Call<'_>, elements: Vec<T>) -> Result<Self> {
        Ok(elements)
    }
}

impl<T: Element> Received for Box<[T]> {
    type Element = T;

    fn from_elements(_call: &Call<'_>, elements: Vec<T>) -> Result<Self> {
        Ok(elements.into_boxed_slice())
    }
}

impl<T: Element, const N: usize> Received for [T; N] {
    type Element = T;

    fn from_elements(call: &Call<'_>, elements: Vec<T>) -> Result<Self> {
        let came = elements.len();
        let elements = if is_all::<T>(N, came) && came != N { zeros(N) } else { elements };
        elements.try_into().map_err(|_| {
            let kind = if came > N { ErrorKind::Truncated } else { ErrorKind::InvalidLength };
            let detail = format!("{N} elements were asked for, the message holds {came}");
            Error::new(kind, call, detail)
        })
    }
}

impl<T: SingleElement> Received for T {
    type Element = T;

    #[inline]
    fn receive(call: &Call<'_>, from: Source) -> Result<(Self, Status)> {
        let envelope = from.envelope(call)?;
        let mut element = MaybeUninit::<T>::uninit();
        if size_of::<T>() >= HEADER {
            // The receive looks at its beginning, which a shorter message leaves as it is.
            element = MaybeUninit::zeroed();
        }
        // SAFETY: the element is writable.
        let view = unsafe {
            let pointer = element.as_mut_ptr().cast();
            ViewMut::new(pointer, size_of::<T>(), datatype::uint8().0, 1, name_of::<T>)
        };
        let mut raw = RawStatus::empty();
        p2p::recv(call, view, envelope, &mut raw)?;
        let status = status_of::<T>(call, &raw)?;
        if !is_all::<T>(1, status.len) {
            return Err(not_one(call, status.len));
        }
        // SAFETY: one whole element was received, or it has no bytes.
        Ok((unsafe { element.assume_init() }, status))
    }

    fn from_elements(call: &Call<'_>, elements: Vec<T>) -> Result<Self> {
        match elements[..] {
            [element] => Ok(element),
            [] if is_all::<T>(1, 0) => Ok(zeros(1)[0]),
            _ => Err(not_one(call, elements.len())),
        }
    }
}

/// What [`irecv`](Comm::irecv) may return: one element or an array, whose types say how long the message is.
#[diagnostic::on_unimplemented(
    message = "the type `{Self}` does not say how long the message is",
    note = "`irecv` returns one `T` or `[T; N]`, where `T: Element`",
    note = "for a `Vec<T>` or `Box<[T]>` say how long it may be: `irecv_at_most::<Vec<T>>(n, from)`, or give a \
            buffer: `irecv_into(buffer, from)`",
    note = "any serde value of any length is received with `irecv_object`"
)]
pub trait ReceivedWhole: Received {
    #[doc(hidden)]
    const LENGTH: usize;
}

impl<T: SingleElement> ReceivedWhole for T {
    const LENGTH: usize = 1;
}

impl<T: Element, const N: usize> ReceivedWhole for [T; N] {
    const LENGTH: usize = N;
}

/// What [`irecv_at_most`](Comm::irecv_at_most) may return: `Vec<T>` or `Box<[T]>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not received with a bound",
    note = "`irecv_at_most` returns `Vec<T>` or `Box<[T]>`, where `T: Element`",
    note = "one `T` or `[T; N]` is received with `irecv`, any serde value with `irecv_object`"
)]
pub trait ReceivedAtMost: Received {}

impl<T: Element> ReceivedAtMost for Vec<T> {}
impl<T: Element> ReceivedAtMost for Box<[T]> {}

#[cold]
fn not_one(call: &Call<'_>, len: usize) -> Error {
    let kind = if len == 0 { ErrorKind::InvalidLength } else { ErrorKind::Truncated };
    Error::new(kind, call, format!("one element was asked for, the message holds {len}"))
}

/// Takes a matched message away that nobody can use: a matched message must be received.
pub(crate) fn discard(call: &Call<'_>, matched: Matched) -> Result<()> {
    let mut bytes = vec![0_u8; matched.status.bytes(call)?];
    p2p::mrecv(call, matched, ViewMut::bytes(&mut bytes).of_anything()).map(drop)
}

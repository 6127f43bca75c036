//! `#[serde(with = "phalanx::plain")]`: vectors of elements inside a value, at the speed of memory.
//!
//! serde moves a `Vec<f64>` number by number. A field with this attribute moves as one block, and in
//! [`send_object`](crate::Comm::send_object) a large one (64 KiB or more) does not even pass through
//! the codec's buffer: it travels in a message of its own, straight from the sender's vector into the
//! receiver's.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Recording {
//!     title: String,
//!     #[serde(with = "phalanx::plain")]
//!     samples: Vec<f32>,
//! }
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let recording = Recording { title: "noise".into(), samples: vec![0.25; 1000] };
//! let all = world.allgather_object(&recording)?;
//! assert_eq!(all[0].samples.len(), 1000);
//! # Ok(())
//! # });
//! ```

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeTuple};
use serde::{Deserialize, Deserializer, Serializer};

use crate::comm::Comm;
use crate::datatype::{Element, view_of, view_of_mut, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::View;
use crate::raw::p2p::{self, Envelope, Mode};
use crate::record::{Call, Operation};

/// Smaller ones travel inside the message: one message is faster than two.
const OUT_OF_BAND: usize = 64 * 1024;

/// Where a block lies: in the bytes of the codec, or in a segment.
const INLINE: u8 = 0;

/// The place of a segment. A codec that leaves fields out or changes their order is found out by it:
/// segments come in the order in which they were sent.
fn beside(index: u32) -> u8 {
    (index % u32::from(u8::MAX)) as u8 + 1
}

/// Where the segments of the value go that this thread is encoding or decoding now.
enum Transport {
    /// The first pass of a send: notes that there are segments.
    Counting { count: u32 },
    /// The second pass: sends them, while they are borrowed.
    Sending { route: Route, done: u32, count: u32 },
    /// Receives them, in the order in which they were sent.
    Receiving { route: Route, done: u32, count: u32 },
}

/// Whom segments go to or come from, on the private communicator.
#[derive(Clone)]
pub(super) struct Route {
    pub comm: Comm,
    pub operation: &'static Operation,
    pub location: &'static std::panic::Location<'static>,
    pub rank: usize,
    pub tag: i32,
}

impl Route {
    fn call(&self) -> Call<'_> {
        self.comm.private_call(self.operation, self.location).tag(Some(self.tag))
    }

    fn envelope(&self) -> Envelope {
        Envelope { rank: self.rank as i32, tag: self.tag }
    }
}

thread_local! {
    static TRANSPORT: RefCell<Option<Transport>> = const { RefCell::new(None) };
    /// The error of MPI behind a serde error, which can only hold a text.
    static FAILED: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Puts back what was there, also when a serialisation of the user's panics.
struct Restore(Option<Transport>);

impl Drop for Restore {
    fn drop(&mut self) {
        TRANSPORT.with_borrow_mut(|transport| *transport = self.0.take());
    }
}

fn with_transport<R>(transport: Transport, f: impl FnOnce() -> R) -> (R, Option<Transport>) {
    let restore = Restore(TRANSPORT.replace(Some(transport)));
    FAILED.with_borrow_mut(|failed| *failed = None);
    let result = f();
    let transport = TRANSPORT.take();
    drop(restore);
    (result, transport)
}

/// What is wrong with a value whose second pass gives something else than the first.
pub(super) const DIFFERENT: &str = "the value was serialised differently the second time";

/// Encodes a value whose large segments stay out, and says how many there are.
pub(super) fn counting<R>(f: impl FnOnce() -> R) -> (R, u32) {
    match with_transport(Transport::Counting { count: 0 }, f) {
        (result, Some(Transport::Counting { count })) => (result, count),
        (result, _) => (result, 0),
    }
}

/// Encodes the value again, to send its segments while they are borrowed.
pub(super) fn sending(
    call: &Call<'_>,
    route: Route,
    count: u32,
    f: impl FnOnce() -> std::result::Result<(), String>,
) -> Result<()> {
    let transport = Transport::Sending { route: route.clone(), done: 0, count };
    let (result, transport) = with_transport(transport, f);
    take_failure()?;
    if let Some(Transport::Sending { done, .. }) = transport {
        // The header has announced them, so the receiver waits. No segment is empty: it will know.
        for _ in done..count {
            p2p::send(&route.call(), Mode::Standard, View::bytes(&[]), route.envelope())?;
        }
    }
    result.map_err(|text| Error::new(ErrorKind::Encode, call, text))
}

/// Decodes a value whose segments come beside it; takes all of them away, also when it fails.
pub(super) fn receiving<R>(route: Route, count: u32, f: impl FnOnce() -> Result<R>) -> Result<R> {
    let transport = Transport::Receiving { route: route.clone(), done: 0, count };
    let (result, transport) = with_transport(transport, f);
    let failed = take_failure();
    let left = match transport {
        Some(Transport::Receiving { done, .. }) => count - done,
        _ => 0,
    };
    let call = route.call();
    for _ in 0..left {
        let matched = p2p::probe(&call, route.envelope())?;
        crate::p2p::discard(&call, matched)?;
    }
    failed?;
    let value = result?;
    if left > 0 {
        let detail = format!("{left} segments of the message belong to no field");
        return Err(Error::new(ErrorKind::Decode, &call, detail));
    }
    Ok(value)
}

fn take_failure() -> Result<()> {
    FAILED.with_borrow_mut(Option::take).map_or(Ok(()), Err)
}

fn fail(error: Error) -> String {
    let text = error.to_string();
    FAILED.with_borrow_mut(|failed| *failed = Some(error));
    text
}

/// Serialises elements as one block. For `#[serde(with = "phalanx::plain")]`.
///
/// # Errors
/// Those of the serializer and of the send.
pub fn serialize<T: Element, S: Serializer>(
    elements: &[T],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let large = size_of_val(elements) >= OUT_OF_BAND;
    let place = if large { note_or_send(elements).map_err(S::Error::custom)? } else { INLINE };
    let inline = if place == INLINE { bytes_of(elements) } else { &[] };
    let mut tuple = serializer.serialize_tuple(3)?;
    tuple.serialize_element(&place)?;
    tuple.serialize_element(&(elements.len() as u64))?;
    tuple.serialize_element(&Block(inline))?;
    tuple.end()
}

/// The place of large elements. In the second pass they have been sent when it returns.
fn note_or_send<T: Element>(elements: &[T]) -> std::result::Result<u8, String> {
    let (index, route) = TRANSPORT.with_borrow_mut(|transport| match transport {
        Some(Transport::Counting { count }) => {
            *count += 1;
            Ok((Some(*count - 1), None))
        }
        Some(Transport::Sending { done, count, .. }) if done == count => Err(DIFFERENT),
        Some(Transport::Sending { route, done, .. }) => {
            *done += 1;
            Ok((Some(*done - 1), Some(route.clone())))
        }
        Some(Transport::Receiving { .. }) | None => Ok((None, None)),
    })?;
    if let Some(route) = route {
        let view = view_of(elements).map_err(fail)?;
        p2p::send(&route.call(), Mode::Standard, view, route.envelope()).map_err(fail)?;
    }
    Ok(index.map_or(INLINE, beside))
}

/// Deserialises what [`serialize`] made.
///
/// # Errors
/// Those of the deserializer and of the receive.
pub fn deserialize<'de, T, D>(deserializer: D) -> std::result::Result<Vec<T>, D::Error>
where
    T: Element,
    D: Deserializer<'de>,
{
    deserializer.deserialize_tuple(3, Elements(PhantomData))
}

struct Elements<T>(PhantomData<fn() -> T>);

impl<'de, T: Element> Visitor<'de> for Elements<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block of elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Vec<T>, A::Error> {
        let missing = || A::Error::custom("a part of the block is missing");
        let place: u8 = seq.next_element()?.ok_or_else(missing)?;
        let len: u64 = seq.next_element()?.ok_or_else(missing)?;
        let block: OwnedBlock<T> = seq.next_element()?.ok_or_else(missing)?;
        let elements = match place {
            INLINE => block.0,
            place => receive::<T>(place).map_err(A::Error::custom)?,
        };
        if elements.len() as u64 == len {
            Ok(elements)
        } else {
            let came = elements.len();
            Err(A::Error::custom(format!("{len} elements were announced, {came} came")))
        }
    }
}

fn receive<T: Element>(place: u8) -> std::result::Result<Vec<T>, String> {
    let route = TRANSPORT.with_borrow_mut(|transport| match transport {
        Some(Transport::Receiving { route, done, count }) if *done < *count => {
            if place != beside(*done) {
                return Err("the segments of the message are not in the order of its fields");
            }
            *done += 1;
            Ok(route.clone())
        }
        _ => Err("the message announces a segment that does not exist"),
    })?;
    let call = route.call();
    let matched = p2p::probe(&call, route.envelope()).map_err(fail)?;
    let status = match crate::p2p::status_of::<T>(&call, &matched.status) {
        Ok(status) => status,
        Err(error) => {
            crate::p2p::discard(&call, matched).map_err(fail)?;
            return Err(fail(error));
        }
    };
    let mut elements = zeros::<T>(status.len);
    let view = view_of_mut(&mut elements).map_err(fail)?;
    p2p::mrecv(&call, matched, view).map_err(fail)?;
    Ok(elements)
}

/// Bytes that serde moves as one.
struct Block<'a>(&'a [u8]);

impl serde::Serialize for Block<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Elements made of bytes that serde moves as one.
struct OwnedBlock<T>(Vec<T>);

impl<'de, T: Element> Deserialize<'de> for OwnedBlock<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_bytes(BlockVisitor(PhantomData))
    }
}

struct BlockVisitor<T>(PhantomData<fn() -> T>);

impl<'de, T: Element> Visitor<'de> for BlockVisitor<T> {
    type Value = OwnedBlock<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes of elements")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> std::result::Result<Self::Value, E> {
        let size = size_of::<T>();
        if size == 0 || !bytes.len().is_multiple_of(size) {
            let text = format!("{} bytes are no whole number of elements of {size}", bytes.len());
            return Err(E::custom(text));
        }
        let mut elements = zeros::<T>(bytes.len() / size);
        // SAFETY: the vector holds as many bytes; every bit pattern of an element is valid; the two
        // do not overlap.
        unsafe {
            let target = elements.as_mut_ptr().cast::<u8>();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        Ok(OwnedBlock(elements))
    }

    /// Codecs for people, such as JSON, know bytes as a list of numbers only.
    fn visit_seq<A: SeqAccess<'de>>(
        self,
        mut seq: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element::<u8>()? {
            bytes.push(byte);
        }
        self.visit_bytes(&bytes)
    }
}

fn bytes_of<T: Element>(elements: &[T]) -> &[u8] {
    // SAFETY: elements have no padding: all their bytes are initialised.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

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

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeTuple};
use serde::{Deserialize, Deserializer, Serializer};

use super::detached::Detached;
use super::incoming::ArrivedSegment;
use super::wire::Segment;
use crate::datatype::{Element, as_bytes, elements_in, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::View;
use crate::raw::p2p::{self, Envelope, Mode};
use crate::record::{Call, Identity, Operation, Peer};

/// Smaller ones travel inside the message: one message is faster than two.
const OUT_OF_BAND: usize = 64 * 1024;

/// Where a block lies: in the bytes of the codec, or in a segment.
const INLINE: u8 = 0;

/// The place of a segment. A codec that leaves fields out or changes their order is found out by it:
/// segments come in the order in which they were sent.
fn beside(index: usize) -> u8 {
    (index % usize::from(u8::MAX)) as u8 + 1
}

/// Where the segments of the value go that this thread is encoding or decoding now.
enum Transport {
    /// The first pass of a send: notes what segments there are.
    Counting(Vec<Segment>),
    /// The second pass: sends them, while they are borrowed.
    Sending(Route),
    /// Gives out those that have arrived, in the order in which they were sent.
    Receiving { segments: std::vec::IntoIter<ArrivedSegment>, done: usize },
}

/// Whom segments go to, on the private communicator.
#[derive(Clone)]
pub(super) struct Route {
    pub private: Arc<Identity>,
    pub operation: &'static Operation,
    pub location: &'static std::panic::Location<'static>,
    pub to: Envelope,
    /// Whether the receiver waits for them: they are sent from where they lie. Else they are copied, because
    /// the sender must not wait for it.
    pub is_clear: bool,
    pub announced: Rc<[Segment]>,
    done: Rc<Cell<usize>>,
}

impl Route {
    pub fn new(
        call: &Call<'_>,
        private: &Arc<Identity>,
        to: Envelope,
        is_clear: bool,
        announced: Vec<Segment>,
    ) -> Self {
        Route {
            private: private.clone(),
            operation: call.operation,
            location: call.location,
            to,
            is_clear,
            announced: announced.into(),
            done: Rc::default(),
        }
    }

    fn call(&self) -> Call<'_> {
        Call::on(self.operation, &self.private, self.location)
            .peer(Peer::To(self.to.rank as usize))
            .tag(Some(self.to.tag))
    }

    /// Sends the next segment. Nobody but the receiver can tell whether it takes it for the right elements.
    fn send<T: Element>(&self, elements: &[T]) -> std::result::Result<usize, String> {
        let done = self.done.get();
        if self.announced.get(done) != Some(&segment_of(elements)) {
            return Err(DIFFERENT.to_owned());
        }
        self.done.set(done + 1);
        let bytes = bytes_of(elements);
        let sent = if self.is_clear {
            p2p::send(&self.call(), Mode::Standard, View::bytes(bytes), self.to)
        } else {
            Detached::send(&self.call(), Arc::new(bytes.to_vec()), 0, self.to).map(drop)
        };
        sent.map_err(fail)?;
        Ok(done)
    }

    /// The receiver waits for all that was announced: those that do not come are empty.
    fn give_up(&self) -> Result<()> {
        for _ in self.done.get()..self.announced.len() {
            drop(Detached::send_nothing(&self.call(), self.to)?);
        }
        Ok(())
    }
}

fn segment_of<T: Element>(elements: &[T]) -> Segment {
    Segment { bytes: size_of_val(elements), alignment: align_of::<T>() }
}

thread_local! {
    // Not dropped at the end of a thread, when they are empty: destructors of other thread-local values may send
    // objects.
    static TRANSPORT: RefCell<ManuallyDrop<Option<Transport>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
    /// The error of MPI behind a serde error, which can only hold a text.
    static FAILED: RefCell<ManuallyDrop<Option<Error>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Puts back what was there, also when a serialisation of the user's panics.
struct Restore(Option<Transport>);

impl Drop for Restore {
    fn drop(&mut self) {
        TRANSPORT.with_borrow_mut(|transport| **transport = self.0.take());
    }
}

fn with_transport<R>(transport: Transport, f: impl FnOnce() -> R) -> (R, Option<Transport>) {
    let before = TRANSPORT.replace(ManuallyDrop::new(Some(transport)));
    let restore = Restore(ManuallyDrop::into_inner(before));
    FAILED.with_borrow_mut(|failed| **failed = None);
    let result = f();
    let transport = ManuallyDrop::into_inner(TRANSPORT.take());
    drop(restore);
    (result, transport)
}

/// What is wrong with a value whose second pass gives something else than the first.
pub(super) const DIFFERENT: &str = "the value was serialised differently the second time";

/// Encodes a value whose large segments stay out, and says which they are.
pub(super) fn counting<R>(f: impl FnOnce() -> R) -> (R, Vec<Segment>) {
    match with_transport(Transport::Counting(Vec::new()), f) {
        (result, Some(Transport::Counting(segments))) => (result, segments),
        (result, _) => (result, Vec::new()),
    }
}

/// Encodes the value again, to send its segments while they are borrowed. Whatever happens, the receiver gets as
/// many as were announced.
pub(super) fn sending(
    call: &Call<'_>,
    route: Route,
    f: impl FnOnce() -> std::result::Result<(), String>,
) -> Result<()> {
    let second = || with_transport(Transport::Sending(route.clone()), f);
    // What is borrowed by the closure is the user's value, whose serialisation may panic again.
    let outcome = catch_unwind(AssertUnwindSafe(second));
    let given_up = route.give_up();
    match outcome {
        Err(panic) => resume_unwind(panic),
        Ok((result, _)) => {
            take_failure()?;
            given_up?;
            result.map_err(|text| Error::new(ErrorKind::Encode, call, text))
        }
    }
}

/// Decodes a value whose segments came beside it.
pub(super) fn receiving<R>(
    segments: Vec<ArrivedSegment>,
    f: impl FnOnce() -> Result<R>,
) -> Result<R> {
    let transport = Transport::Receiving { segments: segments.into_iter(), done: 0 };
    let (result, transport) = with_transport(transport, f);
    let value = result?;
    match transport {
        Some(Transport::Receiving { segments, .. }) if segments.len() > 0 => {
            let left = segments.len();
            let location = std::panic::Location::caller();
            let call = Call::local(&crate::record::RECV_OBJECT, location);
            let detail = format!("{left} segments of the message belong to no field");
            Err(Error::new(ErrorKind::Decode, &call, detail))
        }
        _ => Ok(value),
    }
}

fn take_failure() -> Result<()> {
    FAILED.with_borrow_mut(|failed| failed.take()).map_or(Ok(()), Err)
}

fn fail(error: Error) -> String {
    let text = error.to_string();
    FAILED.with_borrow_mut(|failed| **failed = Some(error));
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
    let route = TRANSPORT.with_borrow_mut(|transport| match &mut **transport {
        Some(Transport::Counting(segments)) => {
            segments.push(segment_of(elements));
            Err(beside(segments.len() - 1))
        }
        Some(Transport::Sending(route)) => Ok(route.clone()),
        Some(Transport::Receiving { .. }) | None => Err(INLINE),
    });
    match route {
        Ok(route) => route.send(elements).map(beside),
        Err(place) => Ok(place),
    }
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
            // Elements of no size have no bytes: the number of them is all there is.
            INLINE if size_of::<T>() == 0 => zeros(usize::try_from(len).map_err(A::Error::custom)?),
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
    let segment = TRANSPORT.with_borrow_mut(|transport| {
        const NOT_THERE: &str = "the message announces a segment that does not exist";
        let Some(Transport::Receiving { segments, done }) = &mut **transport else {
            return Err(NOT_THERE);
        };
        if segments.len() > 0 && place != beside(*done) {
            return Err("the segments of the message are not in the order of its fields");
        }
        *done += 1;
        segments.next().ok_or(NOT_THERE)
    })?;
    let ArrivedSegment { memory, came } = segment;
    if came < memory.len() {
        return Err("its sender gave up while it sent the value: its own error says why".to_owned());
    }
    let size = size_of::<T>();
    if size == 0 || !came.is_multiple_of(size) {
        let name = std::any::type_name::<T>();
        return Err(format!(
            "a message of {came} bytes is no whole number of `{name}` of {size} bytes each"
        ));
    }
    // SAFETY: all of its bytes have been received.
    Ok(unsafe { memory.into_elements() })
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
        let Some(len) = elements_in::<T>(bytes.len()) else {
            let (bytes, size) = (bytes.len(), size_of::<T>());
            return Err(E::custom(format!(
                "{bytes} bytes are no whole number of elements of {size}"
            )));
        };
        let mut elements = zeros::<T>(len);
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
    as_bytes(elements)
}

//! Pipes: two ends, and what one end sends the other receives.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::channel::{Refusal, Refused};
use super::fifo::{Body, get_value, put_value};
use super::position::MAX_ITEMS;
use crate::arena::{Arena, Handle, Kind, Name, Object, Shared, fingerprint};
use crate::error::{Error, ErrorKind, PutError, Result};
use crate::ready::Ready;
use crate::sys::Deadline;

/// An answer is waited for so long without sleeping: two processes that talk to each other answer within it.
const PATIENCE: Duration = Duration::from_micros(50);

/// Lives as long as somebody has this end. When it goes, the channels of the pipe are closed.
#[repr(C, align(64))]
pub struct EndToken {
    /// The channels that this end uses: index and generation; an index is one more than it is, 0 is none.
    index: [AtomicU32; 2],
    generation: [AtomicU64; 2],
}

// SAFETY: it is `repr(C)`, of atomics.
unsafe impl Shared for EndToken {
    const KIND: Kind = Kind::PipeEnd;

    fn destroy(&self, arena: &Arena) {
        // What the other end sends first: when it sees that nothing comes any more, it can send nothing either.
        for (index, generation) in self.index.iter().zip(&self.generation).rev() {
            let Some(index) = index.load(Ordering::Relaxed).checked_sub(1) else { continue };
            let name = Name { index, generation: generation.load(Ordering::Relaxed) };
            let Ok(Some(place)) = arena.locate(name) else { continue };
            // SAFETY: the process whose last handle this was holds the channels still.
            if let Ok(body) = unsafe { arena.structure::<Body>(place) } {
                body.channel.close();
            }
        }
    }
}

/// One direction, as one end sees it.
#[derive(Clone, PartialEq)]
struct Line {
    // Dropped before the channel, which it closes.
    token: Object<EndToken>,
    channel: Object<Body>,
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Handle(self.token.clone()), Handle(self.channel.clone())).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (token, channel) = <(Handle<EndToken>, Handle<Body>)>::deserialize(deserializer)?;
        Ok(Line { token: token.0, channel: channel.0 })
    }
}

impl Line {
    fn send<T: Serialize + 'static>(
        &self,
        operation: &'static str,
        item: T,
    ) -> Result<(), PutError<T>> {
        let put = put_value(&self.channel.channel, operation, &item, Deadline::NEVER);
        put.map_err(|refused| PutError::new(self.fail(operation, refused), item))
    }

    fn recv<T: DeserializeOwned + 'static>(
        &self,
        operation: &'static str,
        deadline: Deadline,
    ) -> Result<Option<T>, Error> {
        match get_value(&self.channel.channel, operation, deadline) {
            Ok(item) => Ok(Some(item)),
            Err(Refused::Channel(Refusal::TimedOut)) => Ok(None),
            Err(refused) => Err(self.fail(operation, refused)),
        }
    }

    fn fail(&self, operation: &'static str, refused: Refused) -> Error {
        let error = match refused {
            Refused::Channel(_) => {
                Error::new(ErrorKind::Closed, operation, "the other end is gone")
            }
            Refused::System(error) => error,
        };
        error.of(format_args!("pipe {}", self.channel.number()))
    }

    fn is_ready(&self) -> bool {
        self.channel.channel.len() != 0 || self.channel.channel.is_closed()
    }
}

fn channel() -> Result<Object<Body>> {
    Object::create(fingerprint::<Handle<Body>>(), |_, body: &Body| body.init(MAX_ITEMS, PATIENCE))
}

fn token(channels: &[&Object<Body>]) -> Result<Object<EndToken>> {
    Object::create(fingerprint::<Handle<EndToken>>(), |_, body: &EndToken| {
        for place in 0..2 {
            let name = channels.get(place).map(|channel| channel.name());
            body.index[place].store(name.map_or(0, |name| name.index + 1), Ordering::Relaxed);
            body.generation[place].store(name.map_or(0, |name| name.generation), Ordering::Relaxed);
        }
        Ok(())
    })
}

/// A pipe between two ends: what one sends the other receives, in order, both ways.
///
/// Sending never waits, so that two ends which send first and receive then cannot block each other. When an end is
/// gone, because its last handle was dropped or its process died, the other receives what is there and then
/// [`Closed`](ErrorKind::Closed).
///
/// ```
/// use phalanx_process::{PipeEnd, Process, pipe};
///
/// fn double(end: PipeEnd<u64, u32>) {
///     while let Ok(x) = end.recv() {
///         end.send(u64::from(x) * 2).expect("the other end is there");
///     }
/// }
///
/// let (ours, theirs) = pipe::<u32, u64>()?;
/// let process = Process::spawn(double, theirs)?;
/// ours.send(21)?;
/// assert_eq!(ours.recv()?, 42);
/// drop(ours);
/// process.join()?;
/// # Ok::<(), phalanx_process::Error>(())
/// ```
///
/// # Errors
/// `System` when there is no memory.
#[track_caller]
pub fn pipe<A, B>() -> Result<(PipeEnd<A, B>, PipeEnd<B, A>)> {
    let location = Location::caller();
    let make = || {
        let (there, back) = (channel()?, channel()?);
        let end = |out: &Object<Body>, back: &Object<Body>| {
            let token = token(&[out, back])?;
            Ok::<_, Error>((
                Line { token: token.clone(), channel: out.clone() },
                Line { token, channel: back.clone() },
            ))
        };
        let (first, second) = (end(&there, &back)?, end(&back, &there)?);
        Ok((PipeEnd::new(first), PipeEnd::new(second)))
    };
    make().map_err(|error: Error| error.of("pipe").at(location))
}

/// A pipe in one direction.
///
/// ```
/// use phalanx_process::{Process, Sender, one_way};
///
/// let (sender, receiver) = one_way::<String>()?;
/// let process = Process::spawn(|to: Sender<String>| to.send("hello".to_owned()).expect("it is there"), sender)?;
/// assert_eq!(receiver.recv()?, "hello");
/// assert!(receiver.recv().unwrap_err().is_closed());
/// process.join()?;
/// # Ok::<(), phalanx_process::Error>(())
/// ```
///
/// # Errors
/// `System` when there is no memory.
#[track_caller]
pub fn one_way<T>() -> Result<(Sender<T>, Receiver<T>)> {
    let location = Location::caller();
    let make = || {
        let channel = channel()?;
        let line = || Ok::<_, Error>(Line { token: token(&[&channel])?, channel: channel.clone() });
        Ok((
            Sender { line: line()?, items: PhantomData },
            Receiver { line: line()?, items: PhantomData },
        ))
    };
    make().map_err(|error: Error| error.of("pipe").at(location))
}

/// An end of a [`pipe`](pipe()): it sends `S` and receives `R`. Clones are the same end.
pub struct PipeEnd<S, R> {
    out: Line,
    back: Line,
    items: PhantomData<fn(S) -> R>,
}

impl<S, R> PipeEnd<S, R> {
    fn new((out, back): (Line, Line)) -> Self {
        PipeEnd { out, back, items: PhantomData }
    }

    /// Whether there is something to receive, or the end of file; it waits so long for that.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        Ok(!crate::ready::wait_any(&[self], Some(timeout))?.is_empty())
    }
}

impl<S: Serialize + 'static, R> PipeEnd<S, R> {
    /// Sends an item. It does not wait.
    ///
    /// # Errors
    /// The item comes back, with `Closed` when the other end is gone, `Encode` when it cannot be encoded.
    #[track_caller]
    pub fn send(&self, item: S) -> Result<(), PutError<S>> {
        let location = Location::caller();
        self.out.send("send", item).map_err(|refused| refused.at(location))
    }
}

impl<S, R: DeserializeOwned + 'static> PipeEnd<S, R> {
    /// Receives an item, and waits for one.
    ///
    /// # Errors
    /// `Closed` when the other end is gone and everything was received; `Decode`.
    #[track_caller]
    pub fn recv(&self) -> Result<R> {
        receive(&self.back)
    }

    /// Receives an item if there is one now.
    ///
    /// # Errors
    /// As [`recv`](PipeEnd::recv).
    #[track_caller]
    pub fn try_recv(&self) -> Result<Option<R>> {
        let location = Location::caller();
        self.back
            .recv("try_recv", Deadline::after(Duration::ZERO))
            .map_err(|error| error.at(location))
    }

    /// Receives an item, and waits so long for one: `None` when the time is up.
    ///
    /// # Errors
    /// As [`recv`](PipeEnd::recv).
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<R>> {
        let location = Location::caller();
        self.back.recv("recv_timeout", Deadline::after(timeout)).map_err(|error| error.at(location))
    }
}

#[track_caller]
fn receive<T: DeserializeOwned + 'static>(line: &Line) -> Result<T> {
    let location = Location::caller();
    loop {
        // It waits for ever: there is an item or an error.
        if let Some(item) =
            line.recv("recv", Deadline::NEVER).map_err(|error| error.at(location))?
        {
            return Ok(item);
        }
    }
}

/// The end of a pipe [in one direction](one_way()) that sends.
pub struct Sender<T> {
    line: Line,
    items: PhantomData<fn(T)>,
}

/// The end of a pipe [in one direction](one_way()) that receives.
pub struct Receiver<T> {
    line: Line,
    items: PhantomData<fn() -> T>,
}

impl<T: Serialize + 'static> Sender<T> {
    /// Sends an item. It does not wait.
    ///
    /// # Errors
    /// As [`PipeEnd::send`].
    #[track_caller]
    pub fn send(&self, item: T) -> Result<(), PutError<T>> {
        let location = Location::caller();
        self.line.send("send", item).map_err(|refused| refused.at(location))
    }
}

impl<T> Receiver<T> {
    /// As [`PipeEnd::poll`].
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        Ok(!crate::ready::wait_any(&[self], Some(timeout))?.is_empty())
    }
}

impl<T: DeserializeOwned + 'static> Receiver<T> {
    /// Receives an item, and waits for one.
    ///
    /// # Errors
    /// As [`PipeEnd::recv`].
    #[track_caller]
    pub fn recv(&self) -> Result<T> {
        receive(&self.line)
    }

    /// Receives an item if there is one now.
    ///
    /// # Errors
    /// As [`PipeEnd::recv`].
    #[track_caller]
    pub fn try_recv(&self) -> Result<Option<T>> {
        let location = Location::caller();
        self.line
            .recv("try_recv", Deadline::after(Duration::ZERO))
            .map_err(|error| error.at(location))
    }

    /// Receives an item, and waits so long for one: `None` when the time is up.
    ///
    /// # Errors
    /// As [`PipeEnd::recv`].
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<T>> {
        let location = Location::caller();
        self.line.recv("recv_timeout", Deadline::after(timeout)).map_err(|error| error.at(location))
    }

    /// Items as they come, until the other end is gone.
    ///
    /// # Panics
    /// The iterator panics when an item cannot be decoded: use [`recv`](Receiver::recv) to handle that.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| match self.recv() {
            Ok(item) => Some(item),
            Err(error) if error.is_closed() => None,
            Err(error) => panic!("{error}"),
        })
    }
}

impl<S, R> Ready for PipeEnd<S, R> {
    fn is_ready(&self) -> bool {
        self.back.is_ready()
    }

    fn watch(&self, process: u32) {
        self.back.channel.channel.watch(process);
    }
}

impl<T> Ready for Receiver<T> {
    fn is_ready(&self) -> bool {
        self.line.is_ready()
    }

    fn watch(&self, process: u32) {
        self.line.channel.channel.watch(process);
    }
}

impl<S, R> Clone for PipeEnd<S, R> {
    fn clone(&self) -> Self {
        PipeEnd { out: self.out.clone(), back: self.back.clone(), items: PhantomData }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { line: self.line.clone(), items: PhantomData }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver { line: self.line.clone(), items: PhantomData }
    }
}

impl<S, R> Serialize for PipeEnd<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        (&self.out, &self.back).serialize(serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for PipeEnd<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer).map(PipeEnd::new)
    }
}

impl<T> Serialize for Sender<T> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.line.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Sender { line: Line::deserialize(deserializer)?, items: PhantomData })
    }
}

impl<T> Serialize for Receiver<T> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.line.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Receiver { line: Line::deserialize(deserializer)?, items: PhantomData })
    }
}

impl<S, R> fmt::Debug for PipeEnd<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipeEnd {}", self.back.channel.number())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender {}", self.line.channel.number())
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver {}", self.line.channel.number())
    }
}

//! The queue that people use.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::channel::{Channel, Record, Refusal, Refused};
use super::ordered::InOrder;
use super::position::MAX_ITEMS;
use crate::arena::{Arena, Kind, Object, Shared, Transit, existing, fingerprint};
use crate::codec;
use crate::error::{Error, ErrorKind, PutError, Result};
use crate::ready::Ready;
use crate::sys::{Deadline, futex};

/// Puts a value into a channel.
pub(super) fn put_value<T: Serialize + 'static>(
    channel: &Channel,
    operation: &'static str,
    value: &T,
    deadline: Deadline,
) -> Result<(), Refused> {
    with_buffer(|buffer| {
        codec::encode_once(operation, value, buffer, |bytes, names| {
            channel.put_with(existing(), bytes, names, deadline)
        })
    })
}

/// Gets a value from a channel.
pub(super) fn get_value<T: DeserializeOwned + 'static>(
    channel: &Channel,
    operation: &'static str,
    deadline: Deadline,
) -> Result<T, Refused> {
    with_buffer(|buffer| {
        let value = match channel.get(existing(), deadline, buffer)? {
            Record::Copied => codec::decode(operation, Transit::Once, buffer),
            Record::Block(block) => codec::decode(operation, Transit::Once, block.bytes()?),
        };
        Ok(value?)
    })
}

/// Buffers of a thread are used again, unless they have become this large.
const KEPT: usize = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs something with the buffer of this thread, or with a new one where it is in use: encoding runs code of the
/// user's.
pub(crate) fn with_buffer<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = BUFFER.take();
    buffer.clear();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT {
        BUFFER.replace(buffer);
    }
    result
}

#[repr(C, align(64))]
pub struct Body {
    pub(crate) channel: Channel,
    /// Items that were worked on, as [`Queue::task_done`] counts them.
    done: AtomicU64,
    /// Items that were put, counted when `join` looks.
    finished: AtomicU32,
}

// SAFETY: it is `repr(C)`, of atomics and mutexes, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::Queue;

    fn destroy(&self, _arena: &Arena) {
        // What cannot be mapped cannot be given back.
        drop(self.channel.destroy(existing()));
    }
}

/// A queue of values between processes, in the order in which they were put.
///
/// Any number of processes and threads put and get. A queue is a handle: clones, and what a child gets as an
/// argument, are the same queue. It lives for as long as somebody has a handle.
///
/// An item is in the queue when `put` returns, and stays there when the process that has put it ends. A process that
/// is killed at any moment leaves the queue working: no item is lost, doubled or damaged, but for the one that it
/// just got.
///
/// ```
/// use phalanx_process::{Process, Queue};
///
/// fn squares((numbers, results): (Queue<u64>, Queue<u64>)) {
///     for x in numbers.iter() {
///         results.put(x * x).expect("the queue is open");
///     }
/// }
///
/// let (numbers, results) = (Queue::new()?, Queue::new()?);
/// let worker = Process::spawn(squares, (numbers.clone(), results.clone()))?;
/// for x in 1..=3 {
///     numbers.put(x)?;
/// }
/// numbers.close();
/// worker.join()?;
/// assert_eq!(results.len(), 3);
/// assert_eq!(results.get()?, 1);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct Queue<T> {
    object: Object<Body>,
    items: PhantomData<fn(T) -> T>,
}

impl<T> Ready for Queue<T> {
    fn is_ready(&self) -> bool {
        !self.is_empty() || self.is_closed()
    }

    fn watch(&self, process: u32) {
        self.object.channel.watch(process);
    }
}

impl<T> Queue<T> {
    /// A queue without a limit.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new() -> Result<Self> {
        Self::with_limit(MAX_ITEMS)
    }

    /// A queue that holds so many items: `put` waits while it is full.
    ///
    /// # Errors
    /// `Argument` for a queue of no items, `System` when there is no memory.
    #[track_caller]
    pub fn bounded(items: usize) -> Result<Self> {
        if items == 0 {
            let error =
                Error::new(ErrorKind::Argument, "bounded", "a queue for 0 items takes none");
            return Err(error.of("queue").at(Location::caller()));
        }
        Self::with_limit((items as u64).min(MAX_ITEMS))
    }

    #[track_caller]
    fn with_limit(limit: u64) -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Self>(), |_, body: &Body| {
            body.init(limit, Duration::ZERO)
        });
        Ok(Queue {
            object: object.map_err(|error| error.of("queue").at(location))?,
            items: PhantomData,
        })
    }

    #[cfg(feature = "remote")]
    pub(crate) fn object(&self) -> &Object<Body> {
        &self.object
    }

    pub(crate) fn channel(&self) -> &Channel {
        &self.object.channel
    }

    /// Items that can be got: those that were put, without those that were got. It is exact, at some moment during
    /// the call.
    pub fn len(&self) -> usize {
        self.object.channel.len() as usize
    }

    /// Whether it holds no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a bounded queue is full.
    pub fn is_full(&self) -> bool {
        self.object.channel.len() >= self.object.channel.limit()
    }

    /// Items that a bounded queue can hold.
    pub fn capacity(&self) -> Option<usize> {
        let limit = self.object.channel.limit();
        (limit != MAX_ITEMS).then_some(limit as usize)
    }

    /// No item is taken any more. Those that are in the queue can be got; then `get` says [`Closed`] and iterators
    /// end. Everybody who waits is woken.
    ///
    /// [`Closed`]: ErrorKind::Closed
    pub fn close(&self) {
        self.object.channel.close();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.object.channel.is_closed()
    }

    #[track_caller]
    fn fail(&self, operation: &'static str, refused: Refused, timed_out: ErrorKind) -> Error {
        let error = match refused {
            Refused::Channel(Refusal::Closed) => Error::new(ErrorKind::Closed, operation, ""),
            Refused::Channel(Refusal::TimedOut) => {
                Error::new(timed_out, operation, format!("{} items are in it", self.len()))
            }
            Refused::System(error) => error,
        };
        error.of(format_args!("queue {}", self.object.number())).at(Location::caller())
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Queue<T> {
    /// Puts an item at the end, and waits for room in a bounded queue.
    ///
    /// # Errors
    /// The item comes back, with `Closed` when the queue was closed, `Encode` when the item cannot be encoded.
    #[track_caller]
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_until(item, "put", Deadline::NEVER, ErrorKind::TimedOut)
    }

    /// Puts an item if there is room now.
    ///
    /// # Errors
    /// As [`put`](Queue::put); `Full`.
    #[track_caller]
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_until(item, "try_put", Deadline::after(Duration::ZERO), ErrorKind::Full)
    }

    /// Puts an item, and waits so long for room.
    ///
    /// # Errors
    /// As [`put`](Queue::put); `TimedOut`.
    #[track_caller]
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_until(item, "put_timeout", Deadline::after(timeout), ErrorKind::TimedOut)
    }

    #[track_caller]
    fn put_until(
        &self,
        item: T,
        operation: &'static str,
        deadline: Deadline,
        timed_out: ErrorKind,
    ) -> Result<(), PutError<T>> {
        let put = put_value(&self.object.channel, operation, &item, deadline);
        // In a closure the caller would be this line.
        match put {
            Ok(()) => Ok(()),
            Err(refused) => Err(PutError::new(self.fail(operation, refused, timed_out), item)),
        }
    }

    /// Takes the first item, and waits for one.
    ///
    /// ```
    /// use phalanx_process::Queue;
    ///
    /// let queue = Queue::new()?;
    /// queue.put("only".to_owned())?;
    /// assert_eq!(queue.get()?, "only");
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Closed` when the queue was closed and is empty, `Decode` when the item cannot be decoded: it is gone then.
    #[track_caller]
    pub fn get(&self) -> Result<T> {
        match self.get_until("get", Deadline::NEVER) {
            Ok(item) => Ok(item),
            Err(refused) => Err(self.fail("get", refused, ErrorKind::TimedOut)),
        }
    }

    /// Takes the first item, if there is one now. `None` is never a mistake: the queue was empty at some moment
    /// during the call.
    ///
    /// # Errors
    /// As [`get`](Queue::get).
    #[track_caller]
    pub fn try_get(&self) -> Result<Option<T>> {
        self.get_optional("try_get", Deadline::after(Duration::ZERO))
    }

    /// Takes the first item, and waits so long for one: `None` when the time is up.
    ///
    /// # Errors
    /// As [`get`](Queue::get).
    #[track_caller]
    pub fn get_timeout(&self, timeout: Duration) -> Result<Option<T>> {
        self.get_optional("get_timeout", Deadline::after(timeout))
    }

    #[track_caller]
    fn get_optional(&self, operation: &'static str, deadline: Deadline) -> Result<Option<T>> {
        match self.get_until(operation, deadline) {
            Ok(item) => Ok(Some(item)),
            Err(Refused::Channel(Refusal::TimedOut)) => Ok(None),
            Err(refused) => Err(self.fail(operation, refused, ErrorKind::TimedOut)),
        }
    }

    fn get_until(&self, operation: &'static str, deadline: Deadline) -> Result<T, Refused> {
        get_value(&self.object.channel, operation, deadline)
    }

    /// Items as they come, until the queue is closed and empty. Several iterators share the items.
    ///
    /// # Panics
    /// The iterator panics when an item cannot be decoded, or memory cannot be had: use [`get`](Queue::get) to
    /// handle that.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }

    /// Says that an item that was got is worked on: [`join`](Queue::join) waits for that.
    ///
    /// # Errors
    /// `State` when it is called more often than items were put.
    #[track_caller]
    pub fn task_done(&self) -> Result<()> {
        let body = &*self.object;
        loop {
            let done = body.done.load(Ordering::Acquire);
            if body.unfinished(done) == 0 {
                let error = Error::new(
                    ErrorKind::State,
                    "task_done",
                    "it was called more often than items were put",
                );
                return Err(error
                    .of(format_args!("queue {}", self.object.number()))
                    .at(Location::caller()));
            }
            let next = (done + 1) & MAX_ITEMS;
            if body.done.compare_exchange(done, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                if body.unfinished(next) == 0 {
                    body.finished.fetch_add(1, Ordering::AcqRel);
                    futex::wake(&body.finished, u32::MAX);
                }
                return Ok(());
            }
        }
    }

    /// Items that were put, without those that [`task_done`](Queue::task_done) was called for.
    pub fn unfinished(&self) -> usize {
        self.object.unfinished(self.object.done.load(Ordering::Acquire)) as usize
    }

    /// Waits until every item that was put is worked on.
    ///
    /// ```
    /// use phalanx_process::{Process, Queue};
    ///
    /// let jobs: Queue<u32> = Queue::new()?;
    /// let worker = |jobs: Queue<u32>| {
    ///     for job in jobs.iter() {
    ///         assert!(job < 10);
    ///         jobs.task_done().expect("it was got");
    ///     }
    /// };
    /// let worker = Process::spawn(worker, jobs.clone())?;
    /// for job in 0..10 {
    ///     jobs.put(job)?;
    /// }
    /// jobs.join();
    /// assert_eq!(jobs.unfinished(), 0);
    /// jobs.close();
    /// worker.join()?;
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    pub fn join(&self) {
        self.join_until(Deadline::NEVER);
    }

    /// [`join`](Queue::join), for so long at most. Says whether all were worked on.
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.join_until(Deadline::after(timeout))
    }

    fn join_until(&self, deadline: Deadline) -> bool {
        loop {
            let finished = self.object.finished.load(Ordering::Acquire);
            if self.unfinished() == 0 {
                return true;
            }
            if deadline.has_passed() {
                return false;
            }
            futex::wait(&self.object.finished, finished, deadline.slice());
        }
    }
}

impl Body {
    /// Makes it an empty queue.
    pub fn init(&self, limit: u64, patience: Duration) -> Result<()> {
        self.done.store(0, Ordering::Relaxed);
        self.channel.init(existing(), limit, patience)
    }

    fn unfinished(&self, done: u64) -> u64 {
        self.channel.tail().items_before(done)
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Queue<(usize, T)> {
    /// The first `count` results, in the order of their indices 0, 1, 2, …, whatever the order in which they come.
    ///
    /// ```
    /// use phalanx_process::Queue;
    ///
    /// let results = Queue::new()?;
    /// for (index, name) in [(2, "c"), (0, "a"), (1, "b")] {
    ///     results.put((index, name.to_owned()))?;
    /// }
    /// let names: Vec<String> = results.in_order(3).collect::<Result<_, _>>()?;
    /// assert_eq!(names, ["a", "b", "c"]);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    pub fn in_order(&self, count: usize) -> InOrder<'_, T> {
        InOrder::new(self, count)
    }
}

/// The iterator of [`Queue::iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    queue: &'a Queue<T>,
}

impl<T: Serialize + DeserializeOwned + 'static> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self.queue.get() {
            Ok(item) => Some(item),
            Err(error) if error.is_closed() => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<'a, T: Serialize + DeserializeOwned + 'static> IntoIterator for &'a Queue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { object: self.object.clone(), items: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = if self.is_closed() { ", closed" } else { "" };
        write!(f, "Queue {} ({} items{closed})", self.object.number(), self.len())
    }
}

impl<T> PartialEq for Queue<T> {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize_as(serializer, fingerprint::<Self>())
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::deserialize_as(deserializer, fingerprint::<Self>())?;
        Ok(Queue { object, items: PhantomData })
    }
}

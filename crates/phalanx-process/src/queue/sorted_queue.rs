//! The queues with another order than first in, first out.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::channel::{Refusal, Refused};
use super::fifo::with_buffer;
use super::position::MAX_ITEMS;
use super::slots::Rule;
use super::sorted::Body;
use crate::arena::{Object, Transit, existing, fingerprint};
use crate::codec;
use crate::error::{Error, ErrorKind, PutError, Result};
use crate::sys::Deadline;

/// The order of a [`LifoQueue`]: the item that was put last comes first.
#[derive(Clone, Copy, Debug)]
pub enum Last {}

/// The order of a [`PriorityQueue`]: the item with the smallest number comes first.
#[derive(Clone, Copy, Debug)]
pub enum Smallest {}

/// An order of a [`SortedQueue`].
pub trait Order: sealed::Sealed {}

impl Order for Last {}
impl Order for Smallest {}

mod sealed {
    use super::{Last, Rule, Smallest};

    pub trait Sealed {
        const RULE: Rule;
        const NAME: &'static str;
    }

    impl Sealed for Last {
        const RULE: Rule = Rule::Last;
        const NAME: &'static str = "LIFO queue";
    }

    impl Sealed for Smallest {
        const RULE: Rule = Rule::Smallest;
        const NAME: &'static str = "priority queue";
    }
}

/// A queue from which the item that was put last is got first.
///
/// Everything else is as with [`Queue`](crate::Queue): the processes that may use it, what a limit and `close` do,
/// and that a process that is killed at any moment leaves the queue working.
///
/// ```
/// use phalanx_process::{LifoQueue, Process};
///
/// let plates = LifoQueue::new()?;
/// for plate in 1..=3 {
///     plates.put(plate)?;
/// }
/// let upper = |plates: LifoQueue<i32>| plates.get().expect("three are there");
/// assert_eq!(Process::spawn(upper, plates.clone())?.join()?, 3);
/// assert_eq!(plates.get()?, 2);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub type LifoQueue<T> = SortedQueue<T, Last>;

/// A queue from which the item with the smallest number is got first; among equal numbers, first come, first served.
///
/// Everything else is as with [`Queue`](crate::Queue): the processes that may use it, what a limit and `close` do,
/// and that a process that is killed at any moment leaves the queue working.
///
/// ```
/// use phalanx_process::{PriorityQueue, Process};
///
/// let jobs = PriorityQueue::new()?;
/// jobs.put(5, "sweep".to_owned())?;
/// jobs.put(-1, "put out the fire".to_owned())?;
/// jobs.put(5, "water the flowers".to_owned())?;
/// let first = |jobs: PriorityQueue<String>| jobs.get().expect("three are there");
/// assert_eq!(Process::spawn(first, jobs.clone())?.join()?, "put out the fire");
/// assert_eq!(jobs.get()?, "sweep");
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub type PriorityQueue<T> = SortedQueue<T, Smallest>;

/// A queue with an order of its own: [`LifoQueue`] or [`PriorityQueue`].
pub struct SortedQueue<T, O> {
    object: Object<Body>,
    items: PhantomData<fn(T, O) -> T>,
}

impl<T, O: Order> SortedQueue<T, O> {
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
            return Err(error.of(O::NAME).at(Location::caller()));
        }
        Self::with_limit((items as u64).min(MAX_ITEMS))
    }

    #[track_caller]
    fn with_limit(limit: u64) -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Self>(), |_, body: &Body| {
            body.init(existing(), O::RULE, limit)
        });
        let object = object.map_err(|error| error.of(O::NAME).at(location))?;
        Ok(SortedQueue { object, items: PhantomData })
    }

    /// Items that can be got: exact, at some moment during the call.
    pub fn len(&self) -> usize {
        self.object.len() as usize
    }

    /// Whether it holds no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a bounded queue is full.
    pub fn is_full(&self) -> bool {
        self.object.len() >= self.object.limit()
    }

    /// Items that a bounded queue can hold.
    pub fn capacity(&self) -> Option<usize> {
        let limit = self.object.limit();
        (limit != MAX_ITEMS).then_some(limit as usize)
    }

    /// No item is taken any more. Those that are in the queue can be got; then `get` says `Closed` and iterators end.
    /// Everybody who waits is woken.
    pub fn close(&self) {
        self.object.close();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.object.is_closed()
    }

    /// Says that an item that was got is worked on: [`join`](SortedQueue::join) waits for that.
    ///
    /// # Errors
    /// `State` when it is called more often than items were put.
    #[track_caller]
    pub fn task_done(&self) -> Result<()> {
        if self.object.task_done() {
            return Ok(());
        }
        let detail = "it was called more often than items were put";
        Err(self.locate(Error::new(ErrorKind::State, "task_done", detail)))
    }

    /// Items that were put, without those that [`task_done`](SortedQueue::task_done) was called for.
    pub fn unfinished(&self) -> usize {
        self.object.unfinished() as usize
    }

    /// Waits until every item that was put is worked on.
    pub fn join(&self) {
        self.object.join(Deadline::NEVER);
    }

    /// [`join`](SortedQueue::join), for so long at most. Says whether all were worked on.
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.object.join(Deadline::after(timeout))
    }

    #[track_caller]
    fn locate(&self, error: Error) -> Error {
        error.of(format_args!("{} {}", O::NAME, self.object.number())).at(Location::caller())
    }

    #[track_caller]
    fn fail(&self, operation: &'static str, refused: Refused, timed_out: ErrorKind) -> Error {
        self.locate(match refused {
            Refused::Channel(Refusal::Closed) => Error::new(ErrorKind::Closed, operation, ""),
            Refused::Channel(Refusal::TimedOut) => {
                Error::new(timed_out, operation, format!("{} items are in it", self.len()))
            }
            Refused::System(error) => error,
        })
    }
}

impl<T: Serialize + DeserializeOwned + 'static> SortedQueue<T, Last> {
    /// Puts an item on top, and waits for room in a bounded queue.
    ///
    /// # Errors
    /// The item comes back, with `Closed` when the queue was closed, `Encode` when the item cannot be encoded.
    #[track_caller]
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_until(0, item, "put", Deadline::NEVER, ErrorKind::TimedOut)
    }

    /// Puts an item on top if there is room now.
    ///
    /// # Errors
    /// As `put`; `Full`.
    #[track_caller]
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_until(0, item, "try_put", Deadline::after(Duration::ZERO), ErrorKind::Full)
    }

    /// Puts an item on top, and waits so long for room.
    ///
    /// # Errors
    /// As `put`; `TimedOut`.
    #[track_caller]
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_until(0, item, "put_timeout", Deadline::after(timeout), ErrorKind::TimedOut)
    }
}

impl<T: Serialize + DeserializeOwned + 'static> SortedQueue<T, Smallest> {
    /// Puts an item with a priority, of which the smallest comes first, and waits for room in a bounded queue.
    ///
    /// # Errors
    /// The item comes back, with `Closed` when the queue was closed, `Encode` when the item cannot be encoded.
    #[track_caller]
    pub fn put(&self, priority: i64, item: T) -> Result<(), PutError<T>> {
        self.put_until(priority, item, "put", Deadline::NEVER, ErrorKind::TimedOut)
    }

    /// Puts an item with a priority if there is room now.
    ///
    /// # Errors
    /// As `put`; `Full`.
    #[track_caller]
    pub fn try_put(&self, priority: i64, item: T) -> Result<(), PutError<T>> {
        let now = Deadline::after(Duration::ZERO);
        self.put_until(priority, item, "try_put", now, ErrorKind::Full)
    }

    /// Puts an item with a priority, and waits so long for room.
    ///
    /// # Errors
    /// As `put`; `TimedOut`.
    #[track_caller]
    pub fn put_timeout(
        &self,
        priority: i64,
        item: T,
        timeout: Duration,
    ) -> Result<(), PutError<T>> {
        let deadline = Deadline::after(timeout);
        self.put_until(priority, item, "put_timeout", deadline, ErrorKind::TimedOut)
    }
}

impl<T: Serialize + DeserializeOwned + 'static, O: Order> SortedQueue<T, O> {
    #[track_caller]
    fn put_until(
        &self,
        priority: i64,
        item: T,
        operation: &'static str,
        deadline: Deadline,
        timed_out: ErrorKind,
    ) -> Result<(), PutError<T>> {
        let put = with_buffer(|buffer| {
            codec::encode_once(operation, &item, buffer, |bytes, _names| {
                self.object.put(existing(), priority, bytes, deadline)
            })
        });
        put.map_err(|refused| PutError::new(self.fail(operation, refused, timed_out), item))
    }

    /// Takes the first item in the order of the queue, and waits for one.
    ///
    /// # Errors
    /// `Closed` when the queue was closed and is empty, `Decode` when the item cannot be decoded: it is gone then.
    #[track_caller]
    pub fn get(&self) -> Result<T> {
        self.get_until("get", Deadline::NEVER)
            .map_err(|refused| self.fail("get", refused, ErrorKind::TimedOut))
    }

    /// Takes the first item, if there is one now. `None` is never a mistake: the queue was empty at some moment
    /// during the call.
    ///
    /// # Errors
    /// As [`get`](SortedQueue::get).
    #[track_caller]
    pub fn try_get(&self) -> Result<Option<T>> {
        self.get_optional("try_get", Deadline::after(Duration::ZERO))
    }

    /// Takes the first item, and waits so long for one: `None` when the time is up.
    ///
    /// # Errors
    /// As [`get`](SortedQueue::get).
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
        let record = self.object.get(existing(), deadline)?;
        Ok(codec::decode(operation, Transit::Once, record.bytes()?)?)
    }

    /// Items as they come, until the queue is closed and empty. Several iterators share the items.
    ///
    /// # Panics
    /// The iterator panics when an item cannot be decoded, or memory cannot be had: use [`get`](SortedQueue::get) to
    /// handle that.
    pub fn iter(&self) -> SortedIter<'_, T, O> {
        SortedIter { queue: self }
    }
}

/// The iterator of [`SortedQueue::iter`].
pub struct SortedIter<'a, T, O> {
    queue: &'a SortedQueue<T, O>,
}

impl<T: Serialize + DeserializeOwned + 'static, O: Order> Iterator for SortedIter<'_, T, O> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self.queue.get() {
            Ok(item) => Some(item),
            Err(error) if error.is_closed() => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<T, O: Order> fmt::Debug for SortedIter<'_, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SortedIter").field("queue", self.queue).finish()
    }
}

impl<'a, T: Serialize + DeserializeOwned + 'static, O: Order> IntoIterator
    for &'a SortedQueue<T, O>
{
    type Item = T;
    type IntoIter = SortedIter<'a, T, O>;

    fn into_iter(self) -> SortedIter<'a, T, O> {
        self.iter()
    }
}

impl<T, O> Clone for SortedQueue<T, O> {
    fn clone(&self) -> Self {
        SortedQueue { object: self.object.clone(), items: PhantomData }
    }
}

impl<T, O: Order> fmt::Debug for SortedQueue<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = if self.is_closed() { ", closed" } else { "" };
        write!(f, "{} {} ({} items{closed})", O::NAME, self.object.number(), self.len())
    }
}

impl<T, O> PartialEq for SortedQueue<T, O> {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl<T, O> Serialize for SortedQueue<T, O> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize_as(serializer, fingerprint::<Self>())
    }
}

impl<'de, T, O> Deserialize<'de> for SortedQueue<T, O> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::deserialize_as(deserializer, fingerprint::<Self>())?;
        Ok(SortedQueue { object, items: PhantomData })
    }
}

//! The list that processes share.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::list::{Body, List};
use super::pieces;
use crate::arena::{Object, Transit, existing, fingerprint};
use crate::codec;
use crate::error::{Error, ErrorKind, Result};
use crate::queue::with_buffer;

/// A list that processes share, as Python's `Manager().list()`: in shared memory, without a server.
///
/// It is a handle: clones, and what a child gets as an argument, are the same list. It lives for as long as somebody
/// has a handle. The items are values of any serde type; a handle to another shared object is one, too, so that lists
/// and maps may be nested.
///
/// Every operation is one atomic step. A process that is killed at any moment leaves the list as it was before the
/// operation, or after it, and never locked: there is nothing to recover. [`get`](ManagedVec::get) gives a copy; to
/// change an item there is [`update`](ManagedVec::update).
///
/// Objects whose handles were ever in the list live until the tree of processes ends.
///
/// ```
/// use phalanx_process::{ManagedVec, Process};
///
/// let list = ManagedVec::from_items([1, 2, 3])?;
/// let work = |list: ManagedVec<i32>| {
///     list.push(4).expect("there is memory");
///     list.update(0, |x| *x += 10).expect("it is there");
/// };
/// Process::spawn(work, list.clone())?.join()?;
/// assert_eq!(list.to_vec()?, [11, 2, 3, 4]);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct ManagedVec<T> {
    object: Object<Body>,
    items: PhantomData<fn(T) -> T>,
}

fn no_item(operation: &'static str, index: usize, length: usize) -> Error {
    let detail = format!("there is no item {index}: the list has {length}");
    Error::new(ErrorKind::Argument, operation, detail)
}

impl<T> ManagedVec<T> {
    /// An empty list.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new() -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Self>(), |_, body: &Body| body.init(existing()))
            .map_err(|error| error.of("list").at(location))?;
        Ok(ManagedVec { object, items: PhantomData })
    }

    #[cfg(feature = "remote")]
    pub(super) fn object(&self) -> &Object<Body> {
        &self.object
    }

    /// The number of items at some moment during the call, which does not wait for updates.
    pub fn len(&self) -> usize {
        self.object.len()
    }

    /// Whether it has no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs an operation, and says in its error where and on what it was.
    #[track_caller]
    fn run<R>(&self, operation: impl FnOnce() -> Result<R>) -> Result<R> {
        let location = Location::caller();
        operation()
            .map_err(|error| error.of(format_args!("list {}", self.object.number())).at(location))
    }

    /// Runs an operation under the lock.
    #[track_caller]
    fn locked<R>(
        &self,
        operation: &'static str,
        f: impl FnOnce(&List<'_>) -> Result<R>,
    ) -> Result<R> {
        self.run(|| f(&self.object.lock(operation)?))
    }

    /// Removes all items.
    ///
    /// # Errors
    /// `Deadlock` from within an update of the same list.
    #[track_caller]
    pub fn clear(&self) -> Result<()> {
        self.locked("clear", |list| list.clear())
    }

    /// Lets two items change places.
    ///
    /// # Errors
    /// `Argument` when one of them is not there, `Deadlock` from within an update of the same list.
    #[track_caller]
    pub fn swap(&self, a: usize, b: usize) -> Result<()> {
        self.locked("swap", |list| {
            let length = list.len()?;
            if a.max(b) >= length {
                return Err(no_item("swap", a.max(b), length));
            }
            list.swap(a, b)
        })
    }
}

impl<T: Serialize + DeserializeOwned + 'static> ManagedVec<T> {
    /// A list of these items.
    ///
    /// # Errors
    /// `Encode` when an item cannot be encoded, `System` when there is no memory.
    #[track_caller]
    pub fn from_items(items: impl IntoIterator<Item = T>) -> Result<Self> {
        let list = Self::new()?;
        list.extend(items)?;
        Ok(list)
    }

    /// Appends an item.
    ///
    /// # Errors
    /// `Encode` when the item cannot be encoded, `System` when there is no memory, `Deadlock` from within an update of
    /// the same list.
    #[track_caller]
    pub fn push(&self, item: T) -> Result<()> {
        self.run(|| {
            with_buffer(|buffer| {
                codec::encode("push", Transit::Often, &item, buffer)?;
                self.object.lock("push")?.append(std::iter::once(&buffer[..]))
            })
        })
    }

    /// Appends items, all in one step.
    ///
    /// ```
    /// use phalanx_process::ManagedVec;
    ///
    /// let list = ManagedVec::new()?;
    /// list.extend(["a".to_owned(), "b".to_owned()])?;
    /// assert_eq!(list.len(), 2);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`push`](ManagedVec::push).
    #[track_caller]
    pub fn extend(&self, items: impl IntoIterator<Item = T>) -> Result<()> {
        self.run(|| {
            let (bytes, ends) = encode_all::<T>("extend", items)?;
            self.object.lock("extend")?.append(pieces(&bytes, &ends))
        })
    }

    /// Takes the last item.
    ///
    /// # Errors
    /// `Decode` when it cannot be decoded: it is gone then; `Deadlock` from within an update of the same list.
    #[track_caller]
    pub fn pop(&self) -> Result<Option<T>> {
        self.run(|| {
            let packed = self.object.lock("pop")?.pop()?;
            packed.map(|packed| codec::decode("pop", Transit::Often, packed.bytes()?)).transpose()
        })
    }

    /// A copy of an item, if it is there.
    ///
    /// # Errors
    /// `Decode` when it cannot be decoded, `Deadlock` from within an update of the same list.
    #[track_caller]
    pub fn get(&self, index: usize) -> Result<Option<T>> {
        self.run(|| {
            with_buffer(|buffer| {
                if !self.object.lock("get")?.copy(index, buffer)? {
                    return Ok(None);
                }
                codec::decode("get", Transit::Often, buffer).map(Some)
            })
        })
    }

    /// Replaces an item.
    ///
    /// # Errors
    /// `Argument` when it is not there; as [`push`](ManagedVec::push).
    #[track_caller]
    pub fn set(&self, index: usize, item: T) -> Result<()> {
        self.run(|| {
            with_buffer(|buffer| {
                codec::encode("set", Transit::Often, &item, buffer)?;
                let list = self.object.lock("set")?;
                let length = list.len()?;
                if index >= length {
                    return Err(no_item("set", index, length));
                }
                list.set(index, buffer)
            })
        })
    }

    /// Puts an item before another one, or at the end. It copies the list, but not its items.
    ///
    /// # Errors
    /// `Argument` beyond the end; as [`push`](ManagedVec::push).
    #[track_caller]
    pub fn insert(&self, index: usize, item: T) -> Result<()> {
        self.run(|| {
            with_buffer(|buffer| {
                codec::encode("insert", Transit::Often, &item, buffer)?;
                let list = self.object.lock("insert")?;
                let length = list.len()?;
                if index > length {
                    return Err(no_item("insert", index, length));
                }
                list.insert(index, buffer)
            })
        })
    }

    /// Takes an item out. Unless it is the last, this copies the list, but not its items.
    ///
    /// # Errors
    /// `Argument` when it is not there; as [`pop`](ManagedVec::pop).
    #[track_caller]
    pub fn remove(&self, index: usize) -> Result<T> {
        self.run(|| {
            let list = self.object.lock("remove")?;
            let length = list.len()?;
            if index >= length {
                return Err(no_item("remove", index, length));
            }
            let packed = list.remove(index)?;
            drop(list);
            codec::decode("remove", Transit::Often, packed.bytes()?)
        })
    }

    /// Copies of all items, as they are at one moment.
    ///
    /// # Errors
    /// As [`get`](ManagedVec::get).
    #[track_caller]
    pub fn to_vec(&self) -> Result<Vec<T>> {
        self.run(|| {
            with_buffer(|buffer| {
                let ends = self.object.lock("to_vec")?.copy_all(buffer)?;
                decode_all("to_vec", buffer, &ends)
            })
        })
    }

    /// Iterates over copies of the items as they are now.
    ///
    /// # Errors
    /// As [`get`](ManagedVec::get).
    #[track_caller]
    pub fn iter(&self) -> Result<std::vec::IntoIter<T>> {
        Ok(self.to_vec()?.into_iter())
    }

    /// Changes an item in one atomic step, and gives what the function returns: other processes wait until it
    /// is done. Where the function panics, or its process dies, the item stays as it was.
    ///
    /// The function may use other shared objects, but not the same list; and processes that update two lists, one
    /// within the other, must do so in the same order.
    ///
    /// ```
    /// use phalanx_process::{ManagedVec, Process};
    ///
    /// let counts = ManagedVec::from_items([0_u64, 0])?;
    /// let work = |counts: ManagedVec<u64>| {
    ///     for _ in 0..100 {
    ///         counts.update(1, |count| *count += 1).expect("it is there");
    ///     }
    /// };
    /// let processes = [Process::spawn(work, counts.clone())?, Process::spawn(work, counts.clone())?];
    /// for process in processes {
    ///     process.join()?;
    /// }
    /// assert_eq!(counts.get(1)?, Some(200));
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Argument` when it is not there, `Decode` and `Encode` when it cannot be decoded or encoded, `System` when there
    /// is no memory, `Deadlock` from within an update of the same list. It stays as it was then.
    #[track_caller]
    pub fn update<R>(&self, index: usize, f: impl FnOnce(&mut T) -> R) -> Result<R> {
        self.run(|| {
            with_buffer(|buffer| {
                let list = self.object.lock("update")?;
                if !list.copy(index, buffer)? {
                    return Err(no_item("update", index, list.len()?));
                }
                let mut item = codec::decode("update", Transit::Often, buffer)?;
                let result = f(&mut item);
                buffer.clear();
                codec::encode("update", Transit::Often, &item, buffer)?;
                list.set(index, buffer)?;
                drop(list);
                Ok(result)
            })
        })
    }

    /// Changes the whole list in one atomic step: sorts it, filters it, or whatever a [`Vec`] can do. It decodes and
    /// encodes all items.
    ///
    /// ```
    /// use phalanx_process::ManagedVec;
    ///
    /// let list = ManagedVec::from_items([3, 1, 2])?;
    /// list.update_all(|items| items.sort())?;
    /// assert_eq!(list.to_vec()?, [1, 2, 3]);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`update`](ManagedVec::update).
    #[track_caller]
    pub fn update_all<R>(&self, f: impl FnOnce(&mut Vec<T>) -> R) -> Result<R> {
        self.run(|| {
            let list = self.object.lock("update_all")?;
            let mut bytes = Vec::new();
            let ends = list.copy_all(&mut bytes)?;
            let mut items = decode_all("update_all", &bytes, &ends)?;
            let result = f(&mut items);
            let (bytes, ends) = encode_all::<T>("update_all", &items)?;
            list.set_all(pieces(&bytes, &ends))?;
            drop(list);
            Ok(result)
        })
    }
}

fn encode_all<T: Serialize + 'static>(
    operation: &'static str,
    items: impl IntoIterator<Item = impl Borrow<T>>,
) -> Result<(Vec<u8>, Vec<usize>)> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for item in items {
        codec::encode(operation, Transit::Often, item.borrow(), &mut bytes)?;
        ends.push(bytes.len());
    }
    Ok((bytes, ends))
}

fn decode_all<T: DeserializeOwned + 'static>(
    operation: &'static str,
    bytes: &[u8],
    ends: &[usize],
) -> Result<Vec<T>> {
    pieces(bytes, ends).map(|piece| codec::decode(operation, Transit::Often, piece)).collect()
}

impl<T> Clone for ManagedVec<T> {
    fn clone(&self) -> Self {
        ManagedVec { object: self.object.clone(), items: PhantomData }
    }
}

impl<T> fmt::Debug for ManagedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManagedVec {} ({} items)", self.object.number(), self.len())
    }
}

/// Handles are equal when they are handles to the same list.
impl<T> PartialEq for ManagedVec<T> {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl<T> Serialize for ManagedVec<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize_as(serializer, fingerprint::<Self>())
    }
}

impl<'de, T> Deserialize<'de> for ManagedVec<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::deserialize_as(deserializer, fingerprint::<Self>())?;
        Ok(ManagedVec { object, items: PhantomData })
    }
}

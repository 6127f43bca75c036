//! The map that processes share.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::pieces;
use super::table::{Body, Found, Table, hash};
use crate::arena::{Object, Transit, existing, fingerprint};
use crate::codec;
use crate::error::Result;
use crate::queue::with_buffer;

/// A map that processes share, as Python's `Manager().dict()`: in shared memory, without a server.
///
/// It is a handle: clones, and what a child gets as an argument, are the same map. It lives for as long as somebody
/// has a handle. Keys and values are of any serde type; handles to other shared objects are values, too, so that lists
/// and maps may be nested. Keys are the same when their encodings are, and come in no particular order.
///
/// Every operation is one atomic step. A process that is killed at any moment leaves the map as it was before the
/// operation, or after it, and never locked: there is nothing to recover. [`get`](ManagedMap::get) gives a copy; to
/// change a value there is [`update`](ManagedMap::update).
///
/// Objects whose handles were ever in the map live until the tree of processes ends.
///
/// ```
/// use phalanx_process::{ManagedMap, ManagedVec, Process};
///
/// let pages: ManagedMap<String, ManagedVec<u32>> = ManagedMap::new()?;
/// pages.insert("map".to_owned(), ManagedVec::new()?)?;
/// let work = |pages: ManagedMap<String, ManagedVec<u32>>| {
///     let list = pages.get("map").expect("it can be read").expect("it is there");
///     list.push(17).expect("there is memory");
/// };
/// Process::spawn(work, pages.clone())?.join()?;
/// assert_eq!(pages.get("map")?.expect("it is there").to_vec()?, [17]);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct ManagedMap<K, V> {
    object: Object<Body>,
    entries: PhantomData<fn() -> (K, V)>,
}

impl<K, V> ManagedMap<K, V> {
    /// An empty map.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new() -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Self>(), |_, body: &Body| body.init(existing()))
            .map_err(|error| error.of("map").at(location))?;
        Ok(ManagedMap { object, entries: PhantomData })
    }

    /// The number of entries at some moment during the call, which does not wait for updates.
    pub fn len(&self) -> usize {
        self.object.len()
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all entries.
    ///
    /// # Errors
    /// `System` when there is no memory, `Deadlock` from within an update of the same map.
    #[track_caller]
    pub fn clear(&self) -> Result<()> {
        self.run(|| self.object.lock("clear")?.clear())
    }

    #[cfg(feature = "remote")]
    pub(super) fn object(&self) -> &Object<Body> {
        &self.object
    }

    pub(super) fn number(&self) -> u32 {
        self.object.number()
    }

    /// Runs an operation, and says in its error where and on what it was.
    #[track_caller]
    fn run<R>(&self, operation: impl FnOnce() -> Result<R>) -> Result<R> {
        let location = Location::caller();
        operation()
            .map_err(|error| error.of(format_args!("map {}", self.object.number())).at(location))
    }

    /// Runs an operation with the table locked, and the buffer, at whose beginning the key is.
    fn with_key<Q: Serialize + ?Sized, R>(
        &self,
        operation: &'static str,
        key: &Q,
        f: impl FnOnce(Table<'_>, &mut Vec<u8>) -> Result<R>,
    ) -> Result<R> {
        with_buffer(|buffer| {
            codec::encode_to_look_up(operation, key, buffer)?;
            f(self.object.lock(operation)?, buffer)
        })
    }
}

impl<K, V> ManagedMap<K, V>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned + 'static,
{
    /// Inserts a value, and gives the one that the key had before.
    ///
    /// # Errors
    /// `Encode` when key or value cannot be encoded; `Decode` when the former value cannot be decoded: it is replaced
    /// then; `System` when there is no memory; `Deadlock` from within an update of the same map.
    #[track_caller]
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>> {
        self.run(|| {
            with_buffer(|buffer| {
                codec::encode_key("insert", &key, buffer)?;
                let end = buffer.len();
                codec::encode("insert", Transit::Often, &value, buffer)?;
                let (key, value) = buffer.split_at(end);
                let hash = hash(key);
                let table = self.object.lock("insert")?;
                let Found::Entry(entry) = table.find(hash, key)? else {
                    return table.insert(hash, key, value).map(|()| None);
                };
                let old = table.replace(entry, value)?;
                drop(table);
                codec::decode("insert", Transit::Often, old.bytes()?).map(Some)
            })
        })
    }

    /// A copy of a value, if the key is there.
    ///
    /// # Errors
    /// `Encode` when the key cannot be encoded, `Decode` when the value cannot be decoded, `Deadlock` from within an
    /// update of the same map.
    #[track_caller]
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.run(|| {
            self.with_key("get", key, |table, buffer| {
                let Some(entry) = table.entry(hash(buffer), buffer)? else { return Ok(None) };
                buffer.clear();
                table.copy(entry, buffer)?;
                drop(table);
                codec::decode("get", Transit::Often, buffer).map(Some)
            })
        })
    }

    /// Removes a key, and gives its value.
    ///
    /// # Errors
    /// As [`get`](ManagedMap::get); a value that cannot be decoded is gone then.
    #[track_caller]
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.run(|| {
            self.with_key("remove", key, |table, buffer| {
                let Some(entry) = table.entry(hash(buffer), buffer)? else { return Ok(None) };
                let old = table.remove(entry);
                drop(table);
                codec::decode("remove", Transit::Often, old.bytes()?).map(Some)
            })
        })
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// `Encode` when the key cannot be encoded, `Deadlock` from within an update of the same map.
    #[track_caller]
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.run(|| {
            self.with_key("contains_key", key, |table, buffer| {
                Ok(table.entry(hash(buffer), buffer)?.is_some())
            })
        })
    }

    /// Changes the value of a key in one atomic step, and gives what the function returns; `None` when the key is not
    /// there. Other processes wait until it is done. Where the function panics, or its process dies, the value stays
    /// as it was.
    ///
    /// The function may use other shared objects, but not the same map; and processes that update two maps, one
    /// within the other, must do so in the same order.
    ///
    /// ```
    /// use phalanx_process::ManagedMap;
    ///
    /// let ages = ManagedMap::new()?;
    /// ages.insert("Ada".to_owned(), 36)?;
    /// assert_eq!(ages.update("Ada", |age| { *age += 1; *age })?, Some(37));
    /// assert_eq!(ages.update("Bob", |age| *age += 1)?, None);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Encode` and `Decode` when key or value cannot be encoded or decoded, `System` when there is no memory,
    /// `Deadlock` from within an update of the same map. The value stays as it was then.
    #[track_caller]
    pub fn update<Q, R>(&self, key: &Q, f: impl FnOnce(&mut V) -> R) -> Result<Option<R>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.run(|| {
            self.with_key("update", key, |table, buffer| {
                let Some(entry) = table.entry(hash(buffer), buffer)? else { return Ok(None) };
                buffer.clear();
                table.copy(entry, buffer)?;
                let mut value = codec::decode("update", Transit::Often, buffer)?;
                let result = f(&mut value);
                buffer.clear();
                codec::encode("update", Transit::Often, &value, buffer)?;
                let old = table.replace(entry, buffer)?;
                drop((old, table));
                Ok(Some(result))
            })
        })
    }

    /// As [`update`](ManagedMap::update); a key that is not there gets a value first, in the same step.
    ///
    /// ```
    /// use phalanx_process::ManagedMap;
    ///
    /// let words: ManagedMap<String, u64> = ManagedMap::new()?;
    /// for word in "to be or not to be".split(' ') {
    ///     words.update_or(word, 0, |count| *count += 1)?;
    /// }
    /// assert_eq!(words.get("be")?, Some(2));
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`update`](ManagedMap::update).
    #[track_caller]
    pub fn update_or<Q, R>(&self, key: &Q, default: V, f: impl FnOnce(&mut V) -> R) -> Result<R>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.run(|| {
            self.with_key("update_or", key, |table, buffer| {
                let (hash, end) = (hash(buffer), buffer.len());
                let entry = table.entry(hash, buffer)?;
                let mut value = match entry {
                    Some(entry) => {
                        table.copy(entry, buffer)?;
                        codec::decode("update_or", Transit::Often, &buffer[end..])?
                    }
                    None => default,
                };
                let result = f(&mut value);
                buffer.truncate(end);
                if entry.is_none() {
                    // Now the key is sent, and not only looked up.
                    buffer.clear();
                    codec::encode_key("update_or", key, buffer)?;
                }
                codec::encode("update_or", Transit::Often, &value, buffer)?;
                let (key, new) = buffer.split_at(end);
                match entry {
                    Some(entry) => drop(table.replace(entry, new)?),
                    None => table.insert(hash, key, new)?,
                }
                drop(table);
                Ok(result)
            })
        })
    }

    /// Copies of all keys and values, as they are at one moment.
    ///
    /// # Errors
    /// As [`get`](ManagedMap::get).
    #[track_caller]
    pub fn to_vec(&self) -> Result<Vec<(K, V)>> {
        self.snapshot("to_vec", |key, value| {
            let key = codec::decode_key("to_vec", key)?;
            Ok((key, codec::decode("to_vec", Transit::Often, value)?))
        })
    }

    /// Iterates over copies of the keys and values as they are now.
    ///
    /// # Errors
    /// As [`get`](ManagedMap::get).
    #[track_caller]
    pub fn iter(&self) -> Result<std::vec::IntoIter<(K, V)>> {
        Ok(self.to_vec()?.into_iter())
    }

    /// Copies of all keys.
    ///
    /// # Errors
    /// As [`get`](ManagedMap::get).
    #[track_caller]
    pub fn keys(&self) -> Result<Vec<K>> {
        self.snapshot("keys", |key, _| codec::decode_key("keys", key))
    }

    /// Copies of all values.
    ///
    /// # Errors
    /// As [`get`](ManagedMap::get).
    #[track_caller]
    pub fn values(&self) -> Result<Vec<V>> {
        self.snapshot("values", |_, value| codec::decode("values", Transit::Often, value))
    }

    #[track_caller]
    fn snapshot<R>(
        &self,
        operation: &'static str,
        decode: impl Fn(&[u8], &[u8]) -> Result<R>,
    ) -> Result<Vec<R>> {
        self.run(|| {
            with_buffer(|buffer| {
                let ends = self.object.lock(operation)?.copy_all(buffer)?;
                let mut pieces = pieces(buffer, &ends);
                std::iter::from_fn(|| Some((pieces.next()?, pieces.next()?)))
                    .map(|(key, value)| decode(key, value))
                    .collect()
            })
        })
    }
}

impl<K, V> Clone for ManagedMap<K, V> {
    fn clone(&self) -> Self {
        ManagedMap { object: self.object.clone(), entries: PhantomData }
    }
}

impl<K, V> fmt::Debug for ManagedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManagedMap {} ({} entries)", self.object.number(), self.len())
    }
}

/// Handles are equal when they are handles to the same map.
impl<K, V> PartialEq for ManagedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl<K, V> Serialize for ManagedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize_as(serializer, fingerprint::<Self>())
    }
}

impl<'de, K, V> Deserialize<'de> for ManagedMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::deserialize_as(deserializer, fingerprint::<Self>())?;
        Ok(ManagedMap { object, entries: PhantomData })
    }
}

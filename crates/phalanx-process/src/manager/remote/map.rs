//! A map of a server's.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{Call, Client, Named, optional, strings, update};
use super::request::{Operation, Request};
use crate::codec;
use crate::error::Result;
use crate::manager::ManagedMap;

/// A [`ManagedMap`] on another machine. See the [module](super) for an example.
///
/// Every method gives `Closed` when the connection breaks, `TimedOut` when no answer comes, and `Encode` or `Decode`
/// when a key or value cannot be encoded or decoded: handles to shared objects cannot be sent to other machines.
pub struct RemoteMap<K, V> {
    named: Named,
    entries: PhantomData<fn() -> (K, V)>,
}

impl<K, V> RemoteMap<K, V>
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    #[track_caller]
    pub(super) fn open(client: Client, name: &str) -> Result<Self> {
        Self::open_as::<ManagedMap<K, V>>(client, name, "map")
    }

    #[track_caller]
    pub(super) fn open_as<T>(client: Client, name: &str, what: &'static str) -> Result<Self> {
        Ok(RemoteMap { named: Named::open::<T>(client, name, what)?, entries: PhantomData })
    }

    pub(super) fn named(&self) -> &Named {
        &self.named
    }

    #[track_caller]
    fn with_key<Q: Serialize + ?Sized>(
        &self,
        operation: &'static str,
        call: Call,
        key: &Q,
        request: Request<'_>,
    ) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.named.run(|| codec::encode_key_abroad(operation, key, &mut bytes))?;
        self.named.call(operation, call, &Request { key: &bytes, ..request })
    }

    /// A copy of a value, if the key is there.
    ///
    /// # Errors
    /// See [`RemoteMap`].
    #[track_caller]
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let request = self.named.request(Operation::Get);
        let answer = self.with_key("get", Call::Reads, key, request)?;
        self.named.run(|| optional("get", &answer, |value| codec::decode_abroad("get", value)))
    }

    /// Inserts a value, and gives the one that the key had before.
    ///
    /// # Errors
    /// See [`RemoteMap`].
    #[track_caller]
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>> {
        let mut bytes = Vec::new();
        self.named.run(|| codec::encode_abroad("insert", &value, &mut bytes))?;
        let request = Request { value: &bytes, ..self.named.request(Operation::Set) };
        let answer = self.with_key("insert", Call::Changes, &key, request)?;
        self.named.run(|| optional("insert", &answer, |old| codec::decode_abroad("insert", old)))
    }

    /// Removes a key, and gives its value. When the answer is lost, the value is gone.
    ///
    /// # Errors
    /// See [`RemoteMap`].
    #[track_caller]
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let request = self.named.request(Operation::Remove);
        let answer = self.with_key("remove", Call::Changes, key, request)?;
        self.named.run(|| optional("remove", &answer, |old| codec::decode_abroad("remove", old)))
    }

    /// Changes the value of a key in one atomic step, and gives what the function returns; `None` when the key is not
    /// there.
    ///
    /// The function gets a copy. When somebody else has changed the value before the new one has arrived, it runs
    /// again with that.
    ///
    /// # Errors
    /// See [`RemoteMap`].
    #[track_caller]
    pub fn update<Q, R>(&self, key: &Q, mut f: impl FnMut(&mut V) -> R) -> Result<Option<R>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.try_update(key, |value| Ok(f(value)))
    }

    #[track_caller]
    pub(super) fn try_update<Q, R>(
        &self,
        key: &Q,
        f: impl FnMut(&mut V) -> Result<R>,
    ) -> Result<Option<R>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let request = self.named.request(Operation::Get);
        let answer = self.with_key("update", Call::Reads, key, request)?;
        self.named.run(|| {
            let old = optional("update", &answer, |value| Ok(value.to_vec()))?;
            let Some(old) = old else { return Ok(None) };
            update(old, f, |hash, value| {
                let request = Request { hash, value, ..self.named.request(Operation::Swap) };
                self.with_key("update", Call::Changes, key, request)
            })
        })
    }

    /// The number of entries.
    ///
    /// # Errors
    /// See [`RemoteMap`].
    #[track_caller]
    pub fn len(&self) -> Result<usize> {
        self.named.len()
    }

    /// Whether it has no entry.
    ///
    /// # Errors
    /// See [`RemoteMap`].
    #[track_caller]
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Copies of all keys.
    ///
    /// # Errors
    /// See [`RemoteMap`].
    #[track_caller]
    pub fn keys(&self) -> Result<Vec<K>> {
        let request = self.named.request(Operation::Keys);
        let answer = self.named.call("keys", Call::Reads, &request)?;
        self.named.run(|| {
            let keys = strings("keys", &answer)?.into_iter();
            keys.map(|key| codec::decode_key_abroad("keys", key)).collect()
        })
    }

    /// Copies of all keys and values, as they are at one moment.
    ///
    /// # Errors
    /// See [`RemoteMap`].
    #[track_caller]
    pub fn to_vec(&self) -> Result<Vec<(K, V)>> {
        let request = self.named.request(Operation::All);
        let answer = self.named.call("to_vec", Call::Reads, &request)?;
        self.named.run(|| {
            let pieces = strings("to_vec", &answer)?;
            let entries = pieces.chunks_exact(2).map(|entry| {
                let key = codec::decode_key_abroad("to_vec", entry[0])?;
                Ok((key, codec::decode_abroad("to_vec", entry[1])?))
            });
            entries.collect()
        })
    }

    /// Removes all entries.
    ///
    /// # Errors
    /// See [`RemoteMap`].
    #[track_caller]
    pub fn clear(&self) -> Result<()> {
        let request = self.named.request(Operation::Clear);
        self.named.call("clear", Call::Changes, &request).map(drop)
    }
}

impl<K, V> Clone for RemoteMap<K, V> {
    fn clone(&self) -> Self {
        RemoteMap { named: self.named.clone(), entries: PhantomData }
    }
}

impl<K, V> fmt::Debug for RemoteMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteMap: {}", self.named)
    }
}

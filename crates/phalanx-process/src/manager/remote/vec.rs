//! A list of a server's.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{Call, Client, Named, optional, strings, update};
use super::request::{Operation, Request};
use crate::codec;
use crate::error::Result;
use crate::manager::ManagedVec;

/// A [`ManagedVec`] on another machine.
///
/// Every method gives `Closed` when the connection breaks, `TimedOut` when no answer comes, and `Encode` or `Decode`
/// when an item cannot be encoded or decoded: handles to shared objects cannot be sent to other machines.
///
/// ```
/// use phalanx_process::ManagedVec;
/// use phalanx_process::remote::{Client, Key, Server};
///
/// let list = ManagedVec::from_items([1, 2])?;
/// let server = Server::bind("127.0.0.1:0", Key::from_passphrase("of the documentation"))?;
/// server.serve_vec("list", &list)?;
///
/// let client = Client::connect(server.local_addr(), Key::from_passphrase("of the documentation"))?;
/// let remote = client.vec::<i32>("list")?;
/// remote.push(3)?;
/// remote.update(0, |x| *x += 10)?;
/// assert_eq!(list.to_vec()?, [11, 2, 3]);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct RemoteVec<T> {
    named: Named,
    items: PhantomData<fn(T) -> T>,
}

impl<T: Serialize + DeserializeOwned + 'static> RemoteVec<T> {
    #[track_caller]
    pub(super) fn open(client: Client, name: &str) -> Result<Self> {
        Ok(RemoteVec {
            named: Named::open::<ManagedVec<T>>(client, name, "list")?,
            items: PhantomData,
        })
    }

    fn at(&self, operation: Operation, index: usize) -> Request<'_> {
        Request { number: index as u64, ..self.named.request(operation) }
    }

    /// A copy of an item, if it is there.
    ///
    /// # Errors
    /// See [`RemoteVec`].
    #[track_caller]
    pub fn get(&self, index: usize) -> Result<Option<T>> {
        let answer = self.named.call("get", Call::Reads, &self.at(Operation::Get, index))?;
        self.named.run(|| optional("get", &answer, |item| codec::decode_abroad("get", item)))
    }

    /// Replaces an item.
    ///
    /// # Errors
    /// `Argument` when it is not there; see [`RemoteVec`].
    #[track_caller]
    pub fn set(&self, index: usize, item: T) -> Result<()> {
        let mut value = Vec::new();
        self.named.run(|| codec::encode_abroad("set", &item, &mut value))?;
        let request = Request { value: &value, ..self.at(Operation::Set, index) };
        self.named.call("set", Call::Changes, &request).map(drop)
    }

    /// Appends an item.
    ///
    /// # Errors
    /// See [`RemoteVec`].
    #[track_caller]
    pub fn push(&self, item: T) -> Result<()> {
        let mut value = Vec::new();
        self.named.run(|| codec::encode_abroad("push", &item, &mut value))?;
        let request = Request { value: &value, ..self.named.request(Operation::Push) };
        self.named.call("push", Call::Changes, &request).map(drop)
    }

    /// Takes the last item. When the answer is lost, the item is appended again.
    ///
    /// # Errors
    /// See [`RemoteVec`].
    #[track_caller]
    pub fn pop(&self) -> Result<Option<T>> {
        let request = self.named.request(Operation::Take);
        let answer = self.named.call("pop", Call::Changes, &request)?;
        self.named.run(|| optional("pop", &answer, |item| codec::decode_abroad("pop", item)))
    }

    /// Changes an item in one atomic step, as [`RemoteMap::update`](super::RemoteMap::update).
    ///
    /// # Errors
    /// See [`RemoteVec`]. `None` when the item is not there; `Argument` when it went away in the meantime.
    #[track_caller]
    pub fn update<R>(&self, index: usize, mut f: impl FnMut(&mut T) -> R) -> Result<Option<R>> {
        let answer = self.named.call("update", Call::Reads, &self.at(Operation::Get, index))?;
        self.named.run(|| {
            let old = optional("update", &answer, |item| Ok(item.to_vec()))?;
            let Some(old) = old else { return Ok(None) };
            update(
                old,
                |item| Ok(f(item)),
                |hash, value| {
                    let request = Request { hash, value, ..self.at(Operation::Swap, index) };
                    self.named.call("update", Call::Changes, &request)
                },
            )
        })
    }

    /// The number of items.
    ///
    /// # Errors
    /// See [`RemoteVec`].
    #[track_caller]
    pub fn len(&self) -> Result<usize> {
        self.named.len()
    }

    /// Whether it has no item.
    ///
    /// # Errors
    /// See [`RemoteVec`].
    #[track_caller]
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Copies of all items, as they are at one moment.
    ///
    /// # Errors
    /// See [`RemoteVec`].
    #[track_caller]
    pub fn to_vec(&self) -> Result<Vec<T>> {
        let request = self.named.request(Operation::All);
        let answer = self.named.call("to_vec", Call::Reads, &request)?;
        self.named.run(|| {
            let items = strings("to_vec", &answer)?.into_iter();
            items.map(|item| codec::decode_abroad("to_vec", item)).collect()
        })
    }

    /// Removes all items.
    ///
    /// # Errors
    /// See [`RemoteVec`].
    #[track_caller]
    pub fn clear(&self) -> Result<()> {
        let request = self.named.request(Operation::Clear);
        self.named.call("clear", Call::Changes, &request).map(drop)
    }
}

impl<T> Clone for RemoteVec<T> {
    fn clone(&self) -> Self {
        RemoteVec { named: self.named.clone(), items: PhantomData }
    }
}

impl<T> fmt::Debug for RemoteVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteVec: {}", self.named)
    }
}

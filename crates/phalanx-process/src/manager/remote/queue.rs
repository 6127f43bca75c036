//! A queue of a server's.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{Call, Client, Named, optional};
use super::request::{FOR_EVER, Operation, Request};
use crate::codec;
use crate::error::{Error, ErrorKind, Result};
use crate::queue::Queue;

/// A [`Queue`] on another machine.
///
/// An item that was got and did not arrive goes back into the queue, at its end; see the [module](super). Every method
/// gives `Closed` when the connection breaks or the queue was closed, `TimedOut` when the server does not answer, and
/// `Encode` or `Decode` when an item cannot be encoded or decoded: handles to shared objects cannot be sent to other
/// machines. A method that waits notices within about ten seconds that the server is gone.
///
/// ```
/// use phalanx_process::Queue;
/// use phalanx_process::remote::{Client, Key, Server};
///
/// let jobs: Queue<String> = Queue::new()?;
/// let key = Key::random()?;
/// let server = Server::bind("127.0.0.1:0", key.clone())?;
/// server.serve_queue("jobs", &jobs)?;
///
/// let remote = Client::connect(server.local_addr(), key)?.queue::<String>("jobs")?;
/// jobs.put("first".to_owned())?;
/// assert_eq!(remote.get()?, "first");
/// assert_eq!(remote.try_get()?, None);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct RemoteQueue<T> {
    named: Named,
    items: PhantomData<fn(T) -> T>,
}

fn milliseconds(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(FOR_EVER)
}

impl<T: Serialize + DeserializeOwned + 'static> RemoteQueue<T> {
    #[track_caller]
    pub(super) fn open(client: Client, name: &str) -> Result<Self> {
        Ok(RemoteQueue {
            named: Named::open::<Queue<T>>(client, name, "queue")?,
            items: PhantomData,
        })
    }

    /// Puts an item at the end, and waits for room in a bounded queue.
    ///
    /// # Errors
    /// See [`RemoteQueue`].
    #[track_caller]
    pub fn put(&self, item: T) -> Result<()> {
        let mut value = Vec::new();
        self.named.run(|| codec::encode_abroad("put", &item, &mut value))?;
        let request = self.named.request(Operation::Push);
        let request = Request { value: &value, number: FOR_EVER, ..request };
        self.named.call("put", Call::Waits, &request).map(drop)
    }

    /// Takes the first item, and waits for one.
    ///
    /// # Errors
    /// See [`RemoteQueue`].
    #[track_caller]
    pub fn get(&self) -> Result<T> {
        let item = self.take("get", FOR_EVER)?;
        let none = || Error::new(ErrorKind::Decode, "get", "the answer is none");
        self.named.run(|| item.ok_or_else(none))
    }

    /// Takes the first item, if there is one now.
    ///
    /// # Errors
    /// See [`RemoteQueue`].
    #[track_caller]
    pub fn try_get(&self) -> Result<Option<T>> {
        self.take("try_get", 0)
    }

    /// Takes the first item, and waits so long for one: `None` when the time is up.
    ///
    /// # Errors
    /// See [`RemoteQueue`].
    #[track_caller]
    pub fn get_timeout(&self, timeout: Duration) -> Result<Option<T>> {
        self.take("get_timeout", milliseconds(timeout))
    }

    #[track_caller]
    fn take(&self, operation: &'static str, number: u64) -> Result<Option<T>> {
        let request = Request { number, ..self.named.request(Operation::Take) };
        let answer = self.named.call(operation, Call::Waits, &request)?;
        self.named
            .run(|| optional(operation, &answer, |item| codec::decode_abroad(operation, item)))
    }

    /// The number of items.
    ///
    /// # Errors
    /// See [`RemoteQueue`].
    #[track_caller]
    pub fn len(&self) -> Result<usize> {
        self.named.len()
    }

    /// Whether it holds no item.
    ///
    /// # Errors
    /// See [`RemoteQueue`].
    #[track_caller]
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Closes the queue, for everybody: no item is taken any more. Those that are in it can be got.
    ///
    /// # Errors
    /// See [`RemoteQueue`].
    #[track_caller]
    pub fn close(&self) -> Result<()> {
        // To close it twice is to close it once.
        self.named.call("close", Call::Reads, &self.named.request(Operation::Close)).map(drop)
    }
}

impl<T> Clone for RemoteQueue<T> {
    fn clone(&self) -> Self {
        RemoteQueue { named: self.named.clone(), items: PhantomData }
    }
}

impl<T> fmt::Debug for RemoteQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteQueue: {}", self.named)
    }
}

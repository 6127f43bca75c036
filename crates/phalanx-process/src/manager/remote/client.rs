//! The side that uses objects.

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frames::{Broken, Connection, SILENCE};
use super::key::Key;
use super::request::{DONE, FAILED, Operation, Request, WAITING, read_error};
use super::{Options, RemoteMap, RemoteNamespace, RemoteQueue, RemoteVec};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::Deadline;

/// Connections that are kept for the next calls.
const KEPT: usize = 16;

/// Uses the objects of a [`Server`](super::Server), from any machine.
///
/// It may be cloned and used by several threads: each call has a connection of its own. See the [module](super) for
/// an example.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    addresses: Vec<SocketAddr>,
    key: Key,
    options: Options,
    idle: Mutex<Vec<Connection>>,
}

/// How a call may be tried, and how long it takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// It changes nothing: it is tried again when the connection breaks.
    Reads,
    Changes,
    /// It changes something, and lasts until something happens.
    Waits,
}

impl Client {
    /// Connects to a server, with the default [`Options`].
    ///
    /// # Errors
    /// `Refused` when the server has another key, `Closed` when no server is there, `TimedOut`.
    #[track_caller]
    pub fn connect(address: impl ToSocketAddrs, key: Key) -> Result<Client> {
        Client::connect_with(address, key, Options::default())
    }

    /// [`connect`](Client::connect) with other limits.
    ///
    /// # Errors
    /// As [`connect`](Client::connect).
    #[track_caller]
    pub fn connect_with(address: impl ToSocketAddrs, key: Key, options: Options) -> Result<Client> {
        let location = Location::caller();
        let addresses = address.to_socket_addrs().map_err(|error| {
            Error::new(ErrorKind::Argument, "connect", error.to_string()).of("client").at(location)
        })?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let client =
            Client { shared: Arc::new(Shared { addresses, key, options, idle: Mutex::default() }) };
        let connected = client.shared.open("connect");
        let connection = connected.map_err(|error| error.of(&client).at(location))?;
        client.shared.keep(connection);
        Ok(client)
    }

    /// A map of the server's.
    ///
    /// # Errors
    /// `Argument` when it has none of this name, `Refused` when that is of another type; as
    /// [`connect`](Client::connect).
    #[track_caller]
    pub fn map<K, V>(&self, name: &str) -> Result<RemoteMap<K, V>>
    where
        K: Serialize + DeserializeOwned + 'static,
        V: Serialize + DeserializeOwned + 'static,
    {
        RemoteMap::open(self.clone(), name)
    }

    /// A list of the server's.
    ///
    /// # Errors
    /// As [`map`](Client::map).
    #[track_caller]
    pub fn vec<T: Serialize + DeserializeOwned + 'static>(
        &self,
        name: &str,
    ) -> Result<RemoteVec<T>> {
        RemoteVec::open(self.clone(), name)
    }

    /// A queue of the server's.
    ///
    /// # Errors
    /// As [`map`](Client::map).
    #[track_caller]
    pub fn queue<T: Serialize + DeserializeOwned + 'static>(
        &self,
        name: &str,
    ) -> Result<RemoteQueue<T>> {
        RemoteQueue::open(self.clone(), name)
    }

    /// A namespace of the server's.
    ///
    /// # Errors
    /// As [`map`](Client::map).
    #[track_caller]
    pub fn namespace(&self, name: &str) -> Result<RemoteNamespace> {
        RemoteNamespace::open(self.clone(), name)
    }

    /// Asks, and gives the answer without its first byte.
    pub(super) fn call(
        &self,
        operation: &'static str,
        call: Call,
        request: &Request<'_>,
    ) -> Result<Vec<u8>> {
        let Shared { options, .. } = &*self.shared;
        let mut message = Vec::new();
        request.encode(&mut message);
        if message.len() > options.max_message {
            let (length, most) = (message.len(), options.max_message);
            let detail = format!("the request has {length} bytes, and {most} are allowed");
            return Err(Error::new(ErrorKind::Argument, operation, detail));
        }
        let mut again = call == Call::Reads;
        loop {
            let mut connection = self.shared.connection(operation)?;
            let answer = match ask(&mut connection, &message, call, options) {
                Ok(answer) => answer,
                Err(Broken::Ended(_)) if again => {
                    again = false;
                    continue;
                }
                Err(broken) => {
                    let mut error = why(operation, broken);
                    if call != Call::Reads && error.kind() == ErrorKind::Closed {
                        let detail = format!("{}; it may have been done", error.detail());
                        error = Error::new(ErrorKind::Closed, operation, detail);
                    }
                    return Err(error);
                }
            };
            let wrong = || Error::new(ErrorKind::Decode, operation, "the answer is none");
            let (&first, rest) = answer.split_first().ok_or_else(wrong)?;
            if first == FAILED {
                self.shared.keep(connection);
                return Err(read_error(operation, rest));
            }
            if first != DONE {
                return Err(wrong());
            }
            if request.operation == Operation::Take && rest.first() == Some(&super::serve::IS) {
                let mut taken = Vec::new();
                Request::new(Operation::Taken, 0, "").encode(&mut taken);
                let confirmed = connection.send(&taken, Deadline::after(options.reply));
                // It goes back, and this process must not have it as well.
                confirmed.map_err(|broken| why(operation, broken))?;
                // The confirmation has an answer to the next request only.
            }
            self.shared.keep(connection);
            let mut answer = answer;
            answer.remove(0);
            return Ok(answer);
        }
    }
}

fn ask(
    connection: &mut Connection,
    message: &[u8],
    call: Call,
    options: &Options,
) -> Result<Vec<u8>, Broken> {
    connection.send(message, Deadline::after(options.reply))?;
    let patience = if call == Call::Waits { SILENCE } else { options.reply };
    loop {
        let answer = connection.receive(Some(patience), &|| true)?;
        if answer.first() != Some(&WAITING) {
            return Ok(answer);
        }
    }
}

fn why(operation: &'static str, broken: Broken) -> Error {
    match broken {
        Broken::Ended(detail) => Error::new(ErrorKind::Closed, operation, detail),
        Broken::TimedOut => {
            Error::new(ErrorKind::TimedOut, operation, "the server does not answer")
        }
        Broken::Refused(detail) => {
            Error::new(ErrorKind::Refused, operation, format!("the server: {detail}"))
        }
    }
}

impl Shared {
    /// A connection that is not in use, or a new one.
    fn connection(&self, operation: &'static str) -> Result<Connection> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(connection) if connection.has_ended() => {}
                Some(connection) => return Ok(connection),
                None => return self.open(operation),
            }
        }
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(connection);
        }
    }

    fn open(&self, operation: &'static str) -> Result<Connection> {
        let Options { connect, max_message, .. } = self.options;
        let deadline = Deadline::after(connect);
        let mut failed = Error::new(ErrorKind::Argument, operation, "the address is none");
        for address in &self.addresses {
            let left = deadline.left().unwrap_or(connect).max(Duration::from_millis(1));
            let connected = TcpStream::connect_timeout(address, left).map_err(|error| {
                if error.kind() == std::io::ErrorKind::TimedOut {
                    Broken::TimedOut
                } else {
                    Broken::Ended(error.to_string())
                }
            });
            let opened = connected.and_then(|stream| {
                let go_on = || true;
                let mut connection =
                    Connection::new(stream, &self.key, true, max_message, deadline, &go_on)?;
                let mut hello = Vec::new();
                Request::new(Operation::Hello, 0, "").encode(&mut hello);
                connection.send(&hello, deadline)?;
                connection.receive(Some(connect), &go_on)?;
                Ok(connection)
            });
            match opened {
                Ok(connection) => return Ok(connection),
                Err(broken) => failed = why(operation, broken),
            }
        }
        Err(failed)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shared.addresses.first() {
            Some(address) => write!(f, "server {address}"),
            None => f.write_str("server"),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client of {self}")
    }
}

/// An object of a server's, by its name.
#[derive(Clone)]
pub struct Named {
    client: Client,
    name: String,
    fingerprint: u64,
    what: &'static str,
}

impl Named {
    #[track_caller]
    pub fn open<T>(client: Client, name: &str, what: &'static str) -> Result<Named> {
        let fingerprint = crate::arena::fingerprint::<T>();
        let named = Named { client, name: name.to_owned(), fingerprint, what };
        named.call("open", Call::Reads, &named.request(Operation::Open)).map_err(|error| {
            if !error.is_refused() {
                return error;
            }
            let detail = format!("{}, not a `{}`", error.detail(), std::any::type_name::<T>());
            let location = error.location();
            let error = Error::new(ErrorKind::Refused, "open", detail).of(&named);
            match location {
                Some(location) => error.at(location),
                None => error,
            }
        })?;
        Ok(named)
    }

    pub fn request(&self, operation: Operation) -> Request<'_> {
        Request::new(operation, self.fingerprint, &self.name)
    }

    #[track_caller]
    pub fn call(
        &self,
        operation: &'static str,
        call: Call,
        request: &Request<'_>,
    ) -> Result<Vec<u8>> {
        let location = Location::caller();
        self.client.call(operation, call, request).map_err(|error| error.of(self).at(location))
    }

    /// Runs something, and says in its error where and on what it was.
    #[track_caller]
    pub fn run<R>(&self, operation: impl FnOnce() -> Result<R>) -> Result<R> {
        let location = Location::caller();
        operation().map_err(|error| error.of(self).at(location))
    }

    #[track_caller]
    pub fn len(&self) -> Result<usize> {
        let answer = self.call("len", Call::Reads, &self.request(Operation::Len))?;
        self.run(|| match super::request::Reader(&answer).number() {
            Some(length) => Ok(length as usize),
            None => Err(Error::new(ErrorKind::Decode, "len", "the answer is none")),
        })
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` of {}", self.what, self.name, self.client)
    }
}

/// What an answer says: a value, or that there is none.
pub fn optional<T>(
    operation: &'static str,
    answer: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T>,
) -> Result<Option<T>> {
    match answer.split_first() {
        Some((&super::serve::IS, value)) => decode(value).map(Some),
        Some((&super::serve::IS_NOT, [])) => Ok(None),
        _ => Err(Error::new(ErrorKind::Decode, operation, "the answer is none")),
    }
}

/// The byte strings of an answer.
pub fn strings<'a>(operation: &'static str, answer: &'a [u8]) -> Result<Vec<&'a [u8]>> {
    let mut reader = super::request::Reader(answer);
    let mut strings = Vec::new();
    while !reader.0.is_empty() {
        strings.push(
            reader
                .bytes()
                .ok_or_else(|| Error::new(ErrorKind::Decode, operation, "the answer is cut off"))?,
        );
    }
    Ok(strings)
}

/// Sends what a function makes of a value, until no other has changed it in the meantime. `swap` is given the hash of
/// the old value, and the new one.
pub fn update<T: Serialize + DeserializeOwned + 'static, R>(
    mut old: Vec<u8>,
    mut f: impl FnMut(&mut T) -> Result<R>,
    swap: impl Fn(&[u8], &[u8]) -> Result<Vec<u8>>,
) -> Result<Option<R>> {
    loop {
        let mut value: T = crate::codec::decode_abroad("update", &old)?;
        let result = f(&mut value)?;
        let mut new = Vec::new();
        crate::codec::encode_abroad("update", &value, &mut new)?;
        let mut answer = swap(blake3::hash(&old).as_bytes(), &new)?;
        match answer.first() {
            Some(&super::serve::IS) => return Ok(Some(result)),
            Some(&super::serve::IS_NOT) => return Ok(None),
            Some(&super::serve::CHANGED) => {
                answer.remove(0);
                old = answer;
            }
            _ => return Err(Error::new(ErrorKind::Decode, "update", "the answer is none")),
        }
    }
}

//! The side that has the objects.

use std::any::type_name;
use std::collections::HashMap;
use std::fmt;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Options;
use super::frames::{Broken, Connection};
use super::key::Key;
use super::request::{DONE, Operation, Request, WAITING, write_error};
use super::serve::{Any, Failure, Returned, Served};
use crate::arena::fingerprint;
use crate::error::{Error, ErrorKind, Result};
use crate::manager::{ManagedMap, ManagedVec, Namespace};
use crate::queue::Queue;
use crate::sys::Deadline;

/// How often a client that waits hears that the server is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// Gives processes on other machines access to objects of this one, as Python's `BaseManager(address, authkey)`.
///
/// It has a thread for each client, and ends when it is dropped; the objects stay. See the [module](super) for an
/// example, and for what happens when something breaks.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    key: Key,
    options: Options,
    objects: Mutex<HashMap<String, Arc<Served>>>,
    connections: Mutex<HashMap<u64, TcpStream>>,
    stopped: AtomicBool,
    refused: AtomicU64,
    last_refusal: Mutex<Option<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Begins to listen, with the default [`Options`]. Port 0 is any free one: see [`local_addr`](Server::local_addr).
    ///
    /// # Errors
    /// `System` when the address cannot be had.
    #[track_caller]
    pub fn bind(address: impl ToSocketAddrs, key: Key) -> Result<Server> {
        Server::bind_with(address, key, Options::default())
    }

    /// [`bind`](Server::bind) with other limits.
    ///
    /// # Errors
    /// As [`bind`](Server::bind).
    #[track_caller]
    pub fn bind_with(address: impl ToSocketAddrs, key: Key, options: Options) -> Result<Server> {
        let location = Location::caller();
        let system = |error: std::io::Error| {
            Error::new(ErrorKind::System, "bind", error.to_string()).of("server").at(location)
        };
        let listener = TcpListener::bind(address).map_err(system)?;
        listener.set_nonblocking(true).map_err(system)?;
        let address = listener.local_addr().map_err(system)?;
        let shared = Arc::new(Shared {
            key,
            options,
            objects: Mutex::default(),
            connections: Mutex::default(),
            stopped: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            last_refusal: Mutex::default(),
        });
        let for_thread = shared.clone();
        let accepting = thread::Builder::new()
            .name("remote-accept".into())
            .spawn(move || for_thread.accept(&listener))
            .map_err(system)?;
        Ok(Server { shared, address, accepting: Some(accepting) })
    }

    /// The address at which it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Clients that were refused so far: for their key, or for what they sent.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Which client was refused last, and why.
    pub fn last_refusal(&self) -> Option<String> {
        locked(&self.shared.last_refusal).clone()
    }

    /// Gives access to a map. Clients find it by the name.
    ///
    /// # Errors
    /// `State` when the name is taken.
    #[track_caller]
    pub fn serve_map<K: 'static, V: 'static>(
        &self,
        name: &str,
        map: &ManagedMap<K, V>,
    ) -> Result<()> {
        self.serve::<ManagedMap<K, V>>(name, Any::Map(map.object().clone()))
    }

    /// Gives access to a list.
    ///
    /// # Errors
    /// `State` when the name is taken.
    #[track_caller]
    pub fn serve_vec<T: 'static>(&self, name: &str, list: &ManagedVec<T>) -> Result<()> {
        self.serve::<ManagedVec<T>>(name, Any::List(list.object().clone()))
    }

    /// Gives access to a queue.
    ///
    /// # Errors
    /// `State` when the name is taken.
    #[track_caller]
    pub fn serve_queue<T: 'static>(&self, name: &str, queue: &Queue<T>) -> Result<()> {
        self.serve::<Queue<T>>(name, Any::Queue(queue.object().clone(), Returned::default()))
    }

    /// Gives access to a namespace.
    ///
    /// # Errors
    /// `State` when the name is taken.
    #[track_caller]
    pub fn serve_namespace(&self, name: &str, namespace: &Namespace) -> Result<()> {
        self.serve::<Namespace>(name, Any::Map(namespace.values().object().clone()))
    }

    #[track_caller]
    fn serve<T: 'static>(&self, name: &str, object: Any) -> Result<()> {
        let mut objects = locked(&self.shared.objects);
        if objects.contains_key(name) {
            let detail = format!("the name `{name}` is taken");
            return Err(Error::new(ErrorKind::State, "serve", detail)
                .of(format_args!("server {}", self.address))
                .at(Location::caller()));
        }
        let served =
            Served { object, fingerprint: fingerprint::<T>(), type_name: type_name::<T>() };
        objects.insert(name.to_owned(), Arc::new(served));
        Ok(())
    }

    /// Ends all connections, and listens no more.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        if let Some(accepting) = self.accepting.take() {
            // It does not panic; and if it did, it has ended.
            drop(accepting.join());
        }
        for stream in locked(&self.shared.connections).values() {
            let _ended_already = stream.shutdown(Shutdown::Both);
        }
        // A thread may be waiting for a lock that somebody holds for long.
        let patience = Instant::now() + Duration::from_secs(2);
        while !locked(&self.shared.connections).is_empty() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server {}", self.address)
    }
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let mut number = 0;
        while !self.is_stopped() {
            let _interrupted = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&PAUSE));
            let (stream, address) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) => {
                    if error.kind() != std::io::ErrorKind::WouldBlock {
                        // Too many descriptors, for example: others may end.
                        thread::sleep(Duration::from_millis(20));
                    }
                    continue;
                }
            };
            let Ok(other) = stream.try_clone() else { continue };
            {
                let mut connections = locked(&self.connections);
                if connections.len() >= self.options.max_connections {
                    drop(connections);
                    self.refuse(address, "there are too many connections");
                    continue;
                }
                number += 1;
                connections.insert(number, other);
            }
            let shared = self.clone();
            let serve = move || {
                let serve = AssertUnwindSafe(|| shared.talk(stream, address));
                if catch_unwind(serve).is_err() {
                    shared.refuse(address, "a panic, which is a mistake of this library");
                }
                locked(&shared.connections).remove(&number);
            };
            if thread::Builder::new().name("remote-serve".into()).spawn(serve).is_err() {
                locked(&self.connections).remove(&number);
            }
        }
    }

    fn refuse(&self, address: SocketAddr, why: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        *locked(&self.last_refusal) = Some(format!("{address}: {why}"));
    }

    fn talk(&self, stream: TcpStream, address: SocketAddr) {
        if let Err(Broken::Refused(why)) = self.serve(stream) {
            self.refuse(address, why);
        }
    }

    fn serve(&self, stream: TcpStream) -> Result<(), Broken> {
        let go_on = || !self.is_stopped();
        stream.set_nonblocking(false)?;
        let Options { connect, reply, max_message, .. } = self.options;
        let deadline = Deadline::after(connect);
        let mut connection =
            Connection::new(stream, &self.key, false, max_message, deadline, &go_on)?;
        let mut patience = Some(connect);
        let mut answer = Vec::new();
        loop {
            let message = connection.receive(patience, &go_on)?;
            // From now on the client may be silent for as long as it wants.
            patience = None;
            let Some(request) = Request::decode(&message) else {
                return Err(Broken::Refused("a request that is none"));
            };
            answer.clear();
            answer.push(DONE);
            let found = std::str::from_utf8(request.name)
                .ok()
                .and_then(|name| locked(&self.objects).get(name).cloned());
            let performed = match &found {
                _ if matches!(request.operation, Operation::Hello | Operation::Taken) => Ok(false),
                None => Err(Failure::Error(Error::new(
                    ErrorKind::Argument,
                    "serve",
                    "the server has no object of this name",
                ))),
                Some(served) => {
                    let mut heard = Instant::now();
                    served.perform(&request, &mut answer, &mut || {
                        if heard.elapsed() >= SIGN_OF_LIFE {
                            heard = Instant::now();
                            if connection.send(&[WAITING], Deadline::after(reply)).is_err() {
                                return false;
                            }
                        }
                        go_on() && !connection.has_ended()
                    })
                }
            };
            let mut confirm = match performed {
                Ok(confirm) => confirm,
                Err(Failure::Gone) => return Ok(()),
                Err(Failure::Error(error)) => {
                    write_error(error.kind(), error.detail(), &mut answer);
                    false
                }
            };
            let back = |served: &Option<Arc<Served>>, answer: &mut Vec<u8>| {
                if let Some(served) = served {
                    // Without memory nothing can be done for it.
                    drop(served.put_back(answer.split_off(2)));
                }
            };
            if answer.len() > max_message {
                let detail =
                    format!("the answer has {} bytes, and {max_message} are allowed", answer.len());
                if std::mem::take(&mut confirm) {
                    back(&found, &mut answer);
                }
                write_error(ErrorKind::Argument, &detail, &mut answer);
            }
            let sent = connection.send(&answer, Deadline::after(reply));
            if confirm {
                let taken = sent.and_then(|()| connection.receive(Some(reply), &go_on));
                let has_it = taken.as_ref().is_ok_and(|message| {
                    Request::decode(message)
                        .is_some_and(|request| request.operation == Operation::Taken)
                });
                if !has_it {
                    back(&found, &mut answer);
                    return taken.map(drop);
                }
            } else {
                sent?;
            }
        }
    }
}

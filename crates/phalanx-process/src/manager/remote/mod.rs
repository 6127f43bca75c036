//! Maps, lists, namespaces and queues for processes on other machines, over TCP.
//!
//! A [`Server`] gives others access to objects of its process; a [`Client`] anywhere uses them. Both know a [`Key`]:
//! who has another one is refused, and nobody else can read or change what is sent (Noise, `NNpsk0`).
//!
//! ```
//! use phalanx_process::ManagedMap;
//! use phalanx_process::remote::{Client, Key, Server};
//!
//! let key = Key::random()?;
//! let ages: ManagedMap<String, u32> = ManagedMap::new()?;
//! let server = Server::bind("127.0.0.1:0", key.clone())?;
//! server.serve_map("ages", &ages)?;
//!
//! let client = Client::connect(server.local_addr(), key)?;
//! let remote = client.map::<String, u32>("ages")?;
//! remote.insert("Ada".to_owned(), 36)?;
//! remote.update("Ada", |age| *age += 1)?;
//! assert_eq!(ages.get("Ada")?, Some(37));
//! # Ok::<(), phalanx_process::Error>(())
//! ```
//!
//! # When something breaks
//! - A client that dies in the middle of a call leaves the object as it was before the call, or after it.
//! - A client whose server is gone gives [`Closed`](crate::ErrorKind::Closed). The next call connects again. Calls
//!   that only read are tried twice by themselves.
//! - A call that changes something and gives `Closed` may have been carried out: only its answer is missing.
//! - An item of a queue that was not confirmed by the client that got it goes back into the queue, at its end. When
//!   the connection breaks just after the client has confirmed it, it is there twice. It is lost only when the
//!   server's process is killed between the two.
//!
//! # Keys
//! The bytes of a random key are the best. Who records a connection can try passphrases: use a long one.
//!
//! | module | what it does |
//! |---|---|
//! | `key` | [`Key`] |
//! | `frames` | messages in encrypted frames |
//! | `request` | what a client asks for, as bytes |
//! | `server`, `serve` | [`Server`]: connections, and what is done for them |
//! | `client` | [`Client`]: connections, and what is asked |
//! | `map`, `vec`, `queue`, `namespace` | the objects as a client sees them |

mod client;
mod frames;
mod key;
mod map;
mod namespace;
mod queue;
mod request;
mod serve;
mod server;
mod vec;

pub use client::Client;
pub use key::Key;
pub use map::RemoteMap;
pub use namespace::RemoteNamespace;
pub use queue::RemoteQueue;
pub use server::Server;
pub use vec::RemoteVec;

use std::time::Duration;

/// Limits of a [`Server`] or [`Client`].
///
/// ```
/// use phalanx_process::remote::Options;
/// use std::time::Duration;
///
/// let options = Options { reply: Duration::from_secs(5), ..Options::default() };
/// assert_eq!(options.max_message, 64 << 20);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// How long to wait for a connection, and for the other side to prove its key: 30 s.
    pub connect: Duration,
    /// How long to wait for an answer: 30 s. Calls that wait for something to happen are told apart: for them the
    /// other side says every few seconds that it is still there.
    pub reply: Duration,
    /// The longest message that is taken, in bytes: 64 MiB.
    pub max_message: usize,
    /// Connections that a server has at the same time: 1024.
    pub max_connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            connect: Duration::from_secs(30),
            reply: Duration::from_secs(30),
            max_message: 64 << 20,
            max_connections: 1024,
        }
    }
}

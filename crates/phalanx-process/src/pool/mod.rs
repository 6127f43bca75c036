//! Pools: workers that run functions on many items.
//!
//! | module | what it does |
//! |---|---|
//! | `builder` | settings, start |
//! | `front` | [`Pool`]: map, submit, close |
//! | `iterators` | results as they come, in order or not, with a bounded look-ahead |
//! | `task` | [`Task`]: the result of one call |
//! | `dispatch` | who works on what; what is to be done when a worker dies |
//! | `transport`, `children` | how batches come to workers and results back |
//! | `job` | the results of one call of the user's |
//! | `batch` | the bytes that go to workers |
//! | `results` | the bytes that come back |
//! | `lease` | what each worker has taken, in shared memory |
//! | `worker` | the loop of a worker |
//!
//! Workers take batches of items from one queue, so that nobody waits while there is work. A worker notes which batch
//! it takes before the batch leaves the queue, and stores each result in shared memory before it goes on to the next
//! item. So when a worker dies it is known which item it died of: that item is repeated or fails, the results of the
//! items before it are used, and those after it go to others.

mod batch;
mod builder;
mod children;
mod dispatch;
mod front;
mod iterators;
mod job;
mod lease;
mod results;
mod task;
mod transport;
mod worker;

#[cfg(feature = "mpi")]
pub(crate) use batch::{Callee, number as batch_number};
pub use builder::PoolBuilder;
#[cfg(feature = "mpi")]
pub(crate) use dispatch::{Core, Settings};
pub use front::Pool;
pub use iterators::{Imap, ImapUnordered};
pub(crate) use lease::Leases;
#[cfg(feature = "mpi")]
pub(crate) use results::{About, HEAD, Head};
pub use task::Task;
#[cfg(feature = "mpi")]
pub(crate) use transport::{SharedValue, Transport};
#[cfg(feature = "mpi")]
pub(crate) use worker::{Runner, Sink, nanoseconds_since};

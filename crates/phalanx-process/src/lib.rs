//! Processes, queues, pools, locks and shared values: what Python's `multiprocessing` gives, in Rust.
//!
//! ```
//! use phalanx_process::{Pool, Process, Queue};
//!
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! fn main() -> phalanx_process::Result<()> {
//!     assert_eq!(Process::spawn(square, 5)?.join()?, 25);
//!
//!     let queue = Queue::new()?;
//!     let child = Process::spawn(|queue: Queue<String>| queue.put("hello".into()).unwrap(), queue.clone())?;
//!     assert_eq!(queue.get()?, "hello");
//!     child.join()?;
//!
//!     assert_eq!(Pool::new(4)?.map(square, 1..=4)?, [1, 4, 9, 16]);
//!     Ok(())
//! }
//! ```
//!
//! - **Processes**: [`Process`], [`Builder`], [`Worker`], [`current`], [`parent`], [`active_children`].
//! - **Values on their way**: [`Queue`], [`LifoQueue`], [`PriorityQueue`], [`pipe()`], [`one_way`], [`wait_any`].
//! - **Many items**: [`Pool`].
//! - **Shared state**: [`Shared`], [`SharedAtomic`], [`SharedArray`], [`ManagedVec`], [`ManagedMap`], [`Namespace`].
//! - **Taking turns**: [`Lock`], [`RLock`], [`RwLock`], [`FairLock`], [`lock_all`], [`Semaphore`], [`Condition`],
//!   [`Event`], [`Barrier`], [`Timer`].
//!
//! A child is this program again: it runs its function before `main`. Everything that processes share lies in memory
//! without a name, in which every change is completed by one store: a process that is killed at any moment loses nothing
//! of the others' and blocks nobody. Handles travel as arguments, in results, and through queues, pipes and pools.

#[cfg(not(target_os = "linux"))]
compile_error!("phalanx-process needs Linux: futexes, robust mutexes and process descriptors");

#[macro_use]
mod crash;

mod arena;
mod codec;
mod error;
mod manager;
mod objects;
mod packed;
mod pool;
mod process;
mod queue;
#[cfg(feature = "mpi")]
mod ranks;
mod ready;
mod sync;
mod sys;
mod value;
mod words;

pub use bytemuck;

#[cfg(feature = "remote")]
pub use manager::remote;

pub use error::{Error, ErrorKind, Panic, PutError, Result};
pub use manager::{ManagedMap, ManagedVec, Namespace};
pub use pool::{Imap, ImapUnordered, Pool, PoolBuilder, Task};
pub use process::{
    Builder, Current, ExitCode, Process, Supervised, Worker, active_children, current, init, parent,
};
pub use queue::{
    InOrder, Iter, Last, LifoQueue, Order, PipeEnd, PriorityQueue, Queue, Receiver, Sender,
    Smallest, SortedIter, SortedQueue, one_way, pipe,
};
pub use ready::{Ready, wait_any};
pub use sync::{
    Barrier, BarrierPass, Condition, Event, FairGuard, FairLock, Lock, LockGuard, Permit, RLock,
    RLockGuard, ReadGuard, RwLock, Semaphore, Timer, WriteGuard, lock_all,
};
pub use value::{
    ArrayGuard, AtomicInteger, AtomicValue, Shared, SharedArray, SharedAtomic, SharedGuard,
};

/// Objects of this tree of processes that live, for tests: what nobody has any more must go.
#[doc(hidden)]
pub fn living_objects() -> Result<usize> {
    Ok(arena::arena()?.objects())
}

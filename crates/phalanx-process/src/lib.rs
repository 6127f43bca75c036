//! Processes, queues, pools, locks and shared values: what Python's `multiprocessing` gives, in Rust.
//!
//! ```
//! use phalanx_process::Process;
//!
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! assert_eq!(Process::spawn(square, 5)?.join()?, 25);
//! # Ok::<(), phalanx_process::Error>(())
//! ```

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

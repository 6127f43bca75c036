//! Locks and what else processes agree with: none of them waits for a process that is dead.
//!
//! | module | what it does |
//! |---|---|
//! | `party` | names of processes and threads, and whether a process is gone |
//! | `core` | a lock that knows its holder, and is poisoned when that one dies |
//! | `line` | threads that wait in the order in which they came |
//! | `watch` | who waits for whom: circles are reported |
//! | `lock`, `rlock`, `rwlock`, `fair`, `lock_all` | locks |
//! | `semaphore`, `condition`, `event`, `barrier`, `timer` | the rest |

mod barrier;
mod condition;
pub(crate) mod core;
mod event;
mod fair;
mod handle;
mod line;
mod lock;
mod lock_all;
pub(crate) mod party;
mod rlock;
mod rwlock;
mod semaphore;
mod timer;
pub(crate) mod watch;

pub(crate) use handle::handle;

pub(crate) mod bodies {
    pub use super::barrier::Body as Barrier;
    pub use super::condition::Body as Condition;
    pub use super::event::Body as Event;
    pub use super::fair::Body as FairLock;
    pub use super::lock::Body as Lock;
    pub use super::rlock::Body as RLock;
    pub use super::rwlock::Body as RwLock;
    pub use super::semaphore::Body as Semaphore;
}

pub use barrier::{Barrier, BarrierPass};
pub use condition::Condition;
pub use event::Event;
pub use fair::{FairGuard, FairLock};
pub use lock::{Lock, LockGuard};
pub use lock_all::lock_all;
pub use rlock::{RLock, RLockGuard};
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
pub use semaphore::{Permit, Semaphore};
pub use timer::Timer;

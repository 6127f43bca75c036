//! Values and arrays that processes share, with a lock and without.
//!
//! | module | what it does |
//! |---|---|
//! | `shared` | [`Shared`]: a value with its lock |
//! | `atomic` | [`SharedAtomic`]: an integer without a lock |
//! | `array` | [`SharedArray`]: many values, and ranges of them that are held at the same time |
//! | `block` | the memory of values |

mod array;
mod atomic;
mod block;
mod shared;

pub(crate) mod bodies {
    pub use super::array::Body as Array;
    pub use super::atomic::Body as Atomic;
    pub use super::shared::Body as Value;
}

pub use array::{ArrayGuard, SharedArray};
pub use atomic::{AtomicInteger, AtomicValue, SharedAtomic};
pub use shared::{Shared, SharedGuard};

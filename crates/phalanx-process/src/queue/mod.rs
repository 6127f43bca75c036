//! Queues and pipes: values on their way between processes.
//!
//! | module | what it does |
//! |---|---|
//! | `channel` | the lines of records in shared memory: put, get, and who sleeps |
//! | `position` | counters that change with one store |
//! | `chunk` | the memory of the records |
//! | `fifo` | [`Queue`] |
//! | `pipe` | two channels with two ends, and the end of file |
//! | `slots` | records in another order: a table of slots |
//! | `sorted` | waiting for items and for room there |
//! | `sorted_queue` | [`LifoQueue`], [`PriorityQueue`] |
//! | `ordered` | results in the order of their indices |

mod channel;
mod chunk;
mod fifo;
mod ordered;
mod pipe;
mod position;
mod slots;
mod sorted;
mod sorted_queue;

pub(crate) use channel::{Record, Refusal, Refused};
pub(crate) use fifo::{Body, with_buffer};
pub use fifo::{Iter, Queue};
pub use ordered::InOrder;
pub(crate) use pipe::EndToken;
pub use pipe::{PipeEnd, Receiver, Sender, one_way, pipe};
pub(crate) use sorted::Body as SortedBody;
pub use sorted_queue::{Last, LifoQueue, Order, PriorityQueue, Smallest, SortedIter, SortedQueue};

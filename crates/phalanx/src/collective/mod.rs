//! Collective operations on elements. One file a family; each has the blocking and the non-blocking
//! forms side by side.
//!
//! Every rank of the communicator calls the same operations in the same order. Where a form infers
//! counts it tells them in a small collective first; the `_into` forms make one MPI call and check
//! lengths before it.

mod allgather;
mod alltoall;
mod alltoallw;
mod barrier;
mod bcast;
mod gather;
mod layout;
mod per_rank;
mod reduce;
mod reduce_scatter;
mod scan;
mod scatter;
mod shares;

pub(crate) use layout::{misfit, total};
pub(crate) use shares::{Aside, Shares};

pub use alltoallw::{AnyPayload, AnyPayloadMut};
pub use per_rank::{Blocks, PerRank};

/// What a root tells the others instead of a length when it cannot go on.
pub(crate) const NO_LENGTH: u64 = u64::MAX;

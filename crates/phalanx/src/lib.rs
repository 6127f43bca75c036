//! MPI for people who think in `Vec`, `Result` and `serde`.
//!
//! ```
//! use phalanx::prelude::*;
//! # use std::process::ExitCode;
//! # fn main() -> ExitCode {
//! phalanx::run(|world| -> phalanx::Result<()> {
//!     let mine = (world.rank() + 1) as f64;
//!     let total = world.allreduce(&mine, Sum)?;
//!     println!("rank {} of {}: {total}", world.rank(), world.size());
//!     Ok(())
//! })
//! # }
//! ```

#![deny(missing_docs)]

mod board;
pub mod checkpoint;
mod collective;
mod comm;
mod datatype;
mod error;
mod exchange;
mod host;
mod object;
mod op;
mod p2p;
pub mod prelude;
mod raw;
mod record;
mod request;
pub mod signal;
pub mod testing;
mod topology;
mod watch;
mod world;

pub use collective::{AnyPayload, AnyPayloadMut, Blocks, PerRank};
pub use phalanx_macros::{Element, main, test};

pub use comm::{Comm, Comparison, Dest, Group, Source, Status, any, from, tag_upper_bound, to};
pub use datatype::{
    Buffer, BufferMut, Datatype, Element, Payload, PayloadMut, SingleElement, Strided, StridedMut,
    derive,
};
pub use error::{Error, ErrorKind, Result};
pub use exchange::{Corners, Exchange, Halo, HaloExchange, Interior};
pub use object::{Bincode, Codec, plain};
pub use op::{
    BitAnd, BitOr, BitXor, Custom, Integer, Locatable, Located, LogicalAnd, LogicalOr, LogicalXor,
    Max, MaxLoc, Min, MinLoc, Number, Product, Reduction, Sum, op,
};
pub use p2p::{Message, Received, attach_buffer, bsend_overhead, detach_buffer};
pub use request::{Pending, Request, RequestSet, Scope, block_on};
pub use topology::{Cart, Graph, Neighbor, Neighborhood, PerNeighbor, dims_create};
pub use world::{
    Outcome, Session, Threading, init, library_version, mpi_version, processor_name, run, run_with,
    self_, threading, world, wtime,
};

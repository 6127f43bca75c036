//! Message passing between processes (MPI) for people who think in `Vec`, `Result` and `serde`.
//!
//! ```
//! use phalanx::prelude::*;
//!
//! #[phalanx::main]
//! fn main(world: Comm) -> phalanx::Result<()> {
//!     let total = world.allreduce(&(world.rank() + 1), Sum)?;
//!     println!("rank {} of {}: {total}", world.rank(), world.size());
//!     Ok(())
//! }
//! ```
//!
//! The same program runs in several processes, the *ranks*. They share no memory: they send messages to
//! each other, and call *collective* operations together. `cargo phalanx run -n 4` or `mpirun -n 4` starts
//! it; each rank gets a [`Comm`], the communicator of all ranks.
//!
//! The examples below run on any number of ranks.
//!
//! # Contents
//! - [Messages](#messages), [objects](#objects), [non-blocking messages](#non-blocking-messages)
//! - [Collective operations](#collective-operations) and [reductions](#reductions)
//! - [Exchanges that cannot deadlock](#exchanges-that-cannot-deadlock)
//! - [Communicators](#communicators), [grids and ghost cells](#grids-and-ghost-cells)
//! - [Dividing work](#dividing-work)
//! - [Elements: what can be sent without serialisation](#elements)
//! - [Errors, panics and deadlocks](#errors-panics-and-deadlocks)
//! - [Tests on several ranks](#tests-on-several-ranks)
//! - [Checkpoints and signals](#checkpoints-and-signals)
//! - [Threads](#threads), [speed](#speed), [Cargo features](#cargo-features)
//!
//! # Messages
//!
//! [`Comm::send`] takes a number, an array, a slice, a `Vec`: MPI reads it directly from memory.
//! [`Comm::recv`] returns what the type says, of any length. Addresses are ranks, with a tag if you like:
//! [`to(1).tag(7)`](to), [`from(0)`](from), [`any()`](any).
//!
//! ```
//! use phalanx::prelude::*;
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! if world.size() > 1 {
//!     match world.rank() {
//!         0 => world.send(&[1.0, 2.0, 3.0], 1)?,
//!         1 => {
//!             let numbers: Vec<f64> = world.recv(0)?;
//!             assert_eq!(numbers, [1.0, 2.0, 3.0]);
//!         }
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # });
//! ```
//!
//! [`Comm::recv_into`] receives into memory that is there already, [`Comm::recv_with_status`] says who sent
//! the message, [`Comm::probe`] looks at it first, [`Strided`] sends a column of a matrix.
//!
//! # Objects
//!
//! Any value that serde can serialise: [`Comm::send_object`], [`Comm::recv_object`], and the collectives
//! whose names end in `_object`. The name says that it costs a serialisation; the receiver checks the type.
//!
//! ```
//! use std::collections::BTreeMap;
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let mine = BTreeMap::from([(format!("rank {}", world.rank()), world.rank())]);
//! if let Some(all) = world.gather_object(&mine, 0)? {
//!     assert_eq!(all.len(), world.size());
//! }
//! # Ok(())
//! # });
//! ```
//!
//! Large vectors inside an object are sent without a copy with `#[serde(with = "phalanx::plain")]`: see
//! [`plain`].
//!
//! # Non-blocking messages
//!
//! [`Comm::isend`] and [`Comm::irecv_into`] return a [`Request`] at once. It owns the buffer until it is
//! complete, so that nothing can be read too early or freed too soon. A request is a future, too; a
//! [`RequestSet`] completes many, and [`Comm::scope`] borrows buffers instead of owning them.
//!
//! ```
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let (rank, size) = (world.rank(), world.size());
//! let receiving = world.irecv_into(vec![0; 3], (rank + size - 1) % size)?;
//! let sending = world.isend(vec![rank; 3], (rank + 1) % size)?;
//! // … work that does not need the message …
//! let (numbers, status) = receiving.wait()?;
//! assert_eq!(Some(numbers[0]), status.source);
//! sending.wait()?;
//! # Ok(())
//! # });
//! ```
//!
//! # Collective operations
//!
//! All ranks call them, in the same order. Names are MPI's: [`bcast`](Comm::bcast),
//! [`gather`](Comm::gather), [`scatter`](Comm::scatter), [`allgather`](Comm::allgather),
//! [`alltoall`](Comm::alltoall), [`barrier`](Comm::barrier). The forms with a `v` take a different number of
//! elements on each rank, and find out the counts themselves; what comes is a [`PerRank`]. Results that
//! only the root gets are an `Option`.
//!
//! ```
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let mine = vec![world.rank() as u8; world.rank()];
//! let all = world.allgatherv(&mine)?;
//! assert_eq!(all.ranks(), world.size());
//! assert_eq!(all[world.rank()], mine);
//! # Ok(())
//! # });
//! ```
//!
//! # Reductions
//!
//! [`reduce`](Comm::reduce), [`allreduce`](Comm::allreduce), [`scan`](Comm::scan),
//! [`reduce_scatter`](Comm::reduce_scatter) combine elements of all ranks, with [`Sum`], [`Product`],
//! [`Min`], [`Max`], [`MinLoc`], [`MaxLoc`], operations on bits, or a closure in [`op()`](op()).
//!
//! ```
//! use phalanx::prelude::*;
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let largest = world.allreduce(&[world.rank(), 7], Max)?;
//! assert_eq!(largest, [world.size() - 1, 7]);
//! let longest = op(|a: [u32; 2], b: [u32; 2]| if b[0] > a[0] { b } else { a });
//! world.allreduce(&[[1_u32, 2]], longest)?;
//! # Ok(())
//! # });
//! ```
//!
//! # Exchanges that cannot deadlock
//!
//! Two ranks that both send first and receive second may wait for each other for ever. These cannot:
//! [`shift`](Comm::shift) around the ring of ranks, [`swap`](Comm::swap) with one rank,
//! [`sendrecv`](Comm::sendrecv), [`exchange`](Comm::exchange) of any mix of messages,
//! [`pairwise`](Comm::pairwise), and [`sparse_exchange`](Comm::sparse_exchange), whose receivers do not know
//! who sends.
//!
//! ```
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let left = world.shift(&world.rank(), 1)?;
//! assert_eq!(left, (world.rank() + world.size() - 1) % world.size());
//! # Ok(())
//! # });
//! ```
//!
//! # Communicators
//!
//! [`split`](Comm::split) makes one communicator for each colour, [`split_by_node`](Comm::split_by_node) one
//! for each node; [`dup`](Comm::dup) keeps the messages of a library apart from those of its caller.
//! [`free`](Comm::free) gives one back. [`Group`]s are sets of ranks.
//!
//! # Grids and ghost cells
//!
//! [`Comm::cart`] arranges the ranks in a grid ([`Cart`]), [`Comm::graph`] in any graph ([`Graph`]): both are
//! communicators whose ranks have neighbours, with collectives among them ([`Neighborhood`]). [`Cart::halo`]
//! exchanges the ghost cells around a block, [`Halo::exchange_while`] while the interior is computed.
//!
//! ```
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let grid = world.cart(&[0, 0], &[true, true])?.expect("every rank fits");
//! let parts = grid.distribution(&[40, 30])?;
//! let halo = grid.halo::<f64>(parts.block_shape(), &[1, 1])?;
//! let mut cells = vec![1.0; halo.len()];
//! halo.exchange(&mut cells)?;
//! # drop((halo, parts));
//! grid.free()
//! # });
//! ```
//!
//! # Dividing work
//!
//! [`Comm::block_range`] and [`Comm::cyclic_items`] say which items a rank has, [`Cart::distribution`] which
//! block of an array, and scatters and gathers it: see [`distribution`]. With the feature `rand`, the module
//! `random` has random numbers that are the same on any number of ranks.
//!
//! ```
//! use phalanx::prelude::*;
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let mine: f64 = world.block_range(1_000).map(|n| 1.0 / (1.0 + n as f64)).sum();
//! let harmonic = world.allreduce(&mine, Sum)?;
//! assert!((harmonic - 7.485).abs() < 0.001);
//! # Ok(())
//! # });
//! ```
//!
//! # Elements
//!
//! What operations without `_object` take: numbers, arrays of them, and structs with
//! [`#[derive(Element)]`](macro@Element), also generic ones. Every bit pattern of an [`Element`] is a valid
//! value, which the derive checks, so that a message can be received into it safely.
//!
//! ```
//! use phalanx::prelude::*;
//!
//! #[derive(Clone, Copy, Debug, PartialEq, Element)]
//! #[repr(C)]
//! struct Particle {
//!     position: [f64; 3],
//!     mass: f64,
//! }
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let mut heaviest = Particle { position: [0.0; 3], mass: world.rank() as f64 };
//! world.bcast(&mut heaviest, world.size() - 1)?;
//! assert_eq!(heaviest.mass, (world.size() - 1) as f64);
//! # Ok(())
//! # });
//! ```
//!
//! # Errors, panics and deadlocks
//!
//! Every operation returns a [`Result`]. An [`Error`] says which operation failed, on which rank, on which
//! line, what was expected and what came; [`ErrorKind`] lists what to do. A rank that returns an error or panics
//! ends all ranks, with one report.
//!
//! The *watch* runs in every rank. When ranks wait for each other and none can go on, it proves it, prints who
//! waits for whom with the lines, and ends the job. `PHALANX_WATCH=strict` finds more mistakes: sends that
//! only work because they are buffered, collectives that do not match, messages of another type.
//!
//! ```
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let error = world.send(&1, world.size()).unwrap_err();
//! assert!(error.is_invalid_rank());
//! println!("{error}");
//! # Ok(())
//! # });
//! ```
//!
//! # Tests on several ranks
//!
//! [`#[phalanx::test]`](macro@test) runs a test on several ranks under plain `cargo test`.
//!
//! ```
//! use phalanx::prelude::*;
//!
//! #[phalanx::test(ranks = [1, 2, 3])]
//! fn every_rank_counts(world: Comm) -> phalanx::Result<()> {
//!     assert_eq!(world.allreduce(&1, Sum)?, world.size());
//!     Ok(())
//! }
//! ```
//!
//! # Checkpoints and signals
//!
//! [`checkpoint`] saves what a program needs to go on later, atomically and with checksums; [`signal`] tells all
//! ranks after the same step that the batch system is about to end the job.
//!
//! # Threads
//!
//! By default only the main thread may call MPI. `#[phalanx::main(threads = "multiple")]` or
//! [`run_with`] asks for more: see [`Threading`]. [`Comm`] is `Send` and `Sync`; a call from a thread that may
//! not make it is an error.
//!
//! # Speed
//!
//! A typed send is one MPI call. Forms that end in `_into` write into memory of yours, those that end in
//! `_in_place` replace what is there: no allocation. Objects cost a serialisation; numbers in bulk are faster
//! typed, or as [`plain`] fields.
//!
//! # Cargo features
//!
//! | feature | adds |
//! |---|---|
//! | `num-complex` | `num_complex::Complex<f32>` and `Complex<f64>` as elements, with [`Sum`] and [`Product`] |
//! | `half` | `half::f16` and `half::bf16` as elements, with [`Sum`], [`Product`], [`Min`] and [`Max`] |
//! | `bytemuck` | `Pod<T>`: any `bytemuck::Pod` of another crate as an element |
//! | `ndarray` | arrays and views as buffers, `Strided::array` for any strides, arrays in [`distribution`] |
//! | `rand` | the module `random`: streams of random numbers for ranks and items |
//! | `progress` | `Progress`: a progress bar that knows all ranks |

#![deny(missing_docs)]

mod board;
pub mod checkpoint;
mod collective;
mod comm;
mod datatype;
pub mod distribution;
mod error;
mod exchange;
mod host;
mod object;
mod op;
mod p2p;
pub mod prelude;
#[cfg(feature = "progress")]
mod progress;
#[cfg(feature = "rand")]
pub mod random;
mod raw;
mod record;
mod request;
pub mod signal;
mod terminal;
pub mod testing;
mod topology;
mod watch;
mod words;
mod world;

pub use collective::{AnyPayload, AnyPayloadMut, Blocks, PerRank};
pub use phalanx_macros::{Element, main, test};

pub use comm::{
    Comm, Comparison, Dest, Group, RsmpiComm, Source, Status, any, from, tag_upper_bound, to,
};
#[cfg(feature = "bytemuck")]
pub use datatype::Pod;
pub use datatype::{
    Buffer, BufferMut, Datatype, Element, Payload, PayloadMut, SingleElement, Strided, StridedMut,
    derive,
};
pub use error::{Error, ErrorKind, Result};
pub use exchange::{Corners, Exchange, Halo, HaloExchange, Interior};
pub use object::{Bincode, Codec, SelfDescribing, plain};
pub use op::{
    BitAnd, BitOr, BitXor, Custom, Integer, Locatable, Located, LogicalAnd, LogicalOr, LogicalXor,
    Max, MaxLoc, Min, MinLoc, Number, Product, Real, Reduction, Sum, op,
};
pub use p2p::{
    Message, Received, ReceivedAtMost, ReceivedWhole, attach_buffer, bsend_overhead, detach_buffer,
};
#[cfg(feature = "progress")]
pub use progress::Progress;
pub use request::{Pending, Request, RequestSet, Scope, block_on};
pub use topology::{Cart, Graph, Neighbor, Neighborhood, PerNeighbor, ShiftRanks, dims_create};
pub use world::{
    Outcome, Session, Threading, init, library_version, mpi_version, parse_arguments,
    processor_name, run, run_with, self_, threading, world, wtime,
};

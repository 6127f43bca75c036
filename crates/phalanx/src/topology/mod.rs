//! Communicators whose ranks have neighbours: grids ([`Cart`]) and graphs ([`Graph`]), and collective
//! operations among neighbours. MPI: chapter 8 of MPI-4.1.
//!
//! Both deref to [`Neighborhood`], where the neighbourhood collectives are, and that to [`Comm`]:
//! everything else works on them as on any communicator.

mod agree;
mod allgather;
mod alltoall;
mod alltoallw;
mod blocks;
mod cart;
mod dims;
mod graph;
mod neighborhood;
mod per_neighbor;

pub(crate) use agree::digest;
pub use cart::{Cart, ShiftRanks};
pub use dims::dims_create;
pub use graph::{Graph, Neighbor};
pub use neighborhood::Neighborhood;
pub use per_neighbor::PerNeighbor;

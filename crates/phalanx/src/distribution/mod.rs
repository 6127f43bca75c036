//! Which rank has what: items in blocks or in turn, and blocks of an array on a grid of ranks.
//!
//! These are plain calculations, with an inverse: from a rank to its items, and from an item to its rank.
//! Only [`GridDistribution::scatter`] and [`GridDistribution::gather`] communicate.
//!
//! | to divide | use | a rank has |
//! |---|---|---|
//! | items that cost the same | [`Comm::block_range`](crate::Comm::block_range), [`BlockDistribution`] | a range |
//! | items that cost more the later they come | [`CyclicDistribution`] | every n-th item |
//! | an array of any number of dimensions | [`Cart::distribution`](crate::Cart::distribution) | a block, with as many neighbours as the grid says |
//!
//! ```
//! use phalanx::prelude::*;
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! // The sum of the squares below 1000, whatever the number of ranks.
//! let mine: u64 = world.block_range(1000).map(|n| (n * n) as u64).sum();
//! assert_eq!(world.allreduce(&mine, Sum)?, 332_833_500);
//! # Ok(())
//! # });
//! ```

mod block;
mod cyclic;
mod grid;

pub use block::BlockDistribution;
pub use cyclic::CyclicDistribution;
pub use grid::GridDistribution;

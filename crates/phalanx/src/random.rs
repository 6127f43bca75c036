//! Random numbers that do not depend on chance: streams for ranks, and for items. Feature `rand`.
//!
//! Programs that seed a generator with `seed + rank` get streams that may overlap, and other results on
//! another number of ranks. Here each rank, or each item, has a stream of its own of one counter-based
//! generator (ChaCha with 8 rounds): streams of one seed never overlap.
//!
//! The generators implement the traits of `rand_core` 0.10, so that everything in `rand` 0.10 takes them.
//!
//! ```
//! use phalanx::prelude::*;
//! use phalanx::random::{RandomStreams, rand_core::Rng};
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let streams = RandomStreams::new(42);
//! // Noise for each of 1000 items: the same on any number of ranks.
//! let noise = |item: usize| streams.for_item(item as u64).next_u32();
//! let mine: u64 = world.block_range(1000).map(|item| u64::from(noise(item))).sum();
//! let all = world.allreduce(&mine, Sum)?;
//! # assert_eq!(all, (0..1000).map(|item| u64::from(noise(item))).sum());
//! # Ok(())
//! # });
//! ```

pub use rand_chacha::{ChaCha8Rng, rand_core};

use rand_core::SeedableRng;

use crate::comm::Comm;

/// Random streams that follow from one seed. The same seed gives the same numbers on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomStreams {
    seed: u64,
}

/// What the streams of a seed are for: each purpose has a key of its own.
#[derive(Clone, Copy)]
enum Purpose {
    Shared,
    Rank,
    Item,
}

impl RandomStreams {
    /// The streams of a seed, which all ranks give alike.
    pub fn new(seed: u64) -> Self {
        RandomStreams { seed }
    }

    /// The stream of this rank in a communicator. Results that use it depend on the number of ranks.
    ///
    /// Ranks with the same number in several communicators have the same stream: use one communicator,
    /// such as the world.
    ///
    /// ```
    /// use phalanx::random::{RandomStreams, rand_core::Rng};
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut mine = RandomStreams::new(1).for_rank(&world);
    /// let all = world.allgather(&mine.next_u64())?;
    /// assert!(all.iter().skip(1).all(|it| *it != all[0]));
    /// # Ok(())
    /// # });
    /// ```
    pub fn for_rank(&self, comm: &Comm) -> ChaCha8Rng {
        self.stream(Purpose::Rank, comm.rank() as u64)
    }

    /// The stream of an item: a particle, a cell, a task. Results that use it do not depend on which rank
    /// works on the item, nor on the number of ranks.
    pub fn for_item(&self, item: u64) -> ChaCha8Rng {
        self.stream(Purpose::Item, item)
    }

    /// A stream that is the same on every rank, for decisions that all ranks must make alike.
    pub fn shared(&self) -> ChaCha8Rng {
        self.stream(Purpose::Shared, 0)
    }

    fn stream(&self, purpose: Purpose, number: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8] = purpose as u8;
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(number);
        generator
    }
}

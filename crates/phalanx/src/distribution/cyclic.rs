//! Items in turn: each rank has every n-th, or every n-th block of them.

use crate::comm::Comm;

/// Items that are dealt to the ranks in turn, one at a time or in blocks of a fixed length.
///
/// Where items cost more the later they come, as in a triangular loop, all ranks get about the same work. With
/// blocks it is the block-cyclic distribution of dense linear algebra.
///
/// ```
/// use phalanx::distribution::CyclicDistribution;
///
/// let items = CyclicDistribution::new(7, 3);
/// assert_eq!(items.items_of(1).collect::<Vec<_>>(), [1, 4]);
/// assert_eq!(items.owner(6), Some(0));
/// assert_eq!(items.position(6), Some(2)); // the third item of its rank
///
/// let pairs = CyclicDistribution::with_blocks(7, 3, 2);
/// assert_eq!(pairs.items_of(0).collect::<Vec<_>>(), [0, 1, 6]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CyclicDistribution {
    items: usize,
    ranks: usize,
    block: usize,
}

impl CyclicDistribution {
    /// So many items on so many ranks, one at a time.
    ///
    /// # Panics
    /// If there are no ranks.
    pub fn new(items: usize, ranks: usize) -> Self {
        CyclicDistribution::with_blocks(items, ranks, 1)
    }

    /// So many items on so many ranks, in blocks of a fixed length; the last block may be shorter.
    ///
    /// # Panics
    /// If there are no ranks, or if the blocks have no length.
    pub fn with_blocks(items: usize, ranks: usize, block: usize) -> Self {
        assert!(ranks > 0, "{items} items cannot be divided among no ranks");
        assert!(block > 0, "{items} items cannot be divided into blocks of no length");
        CyclicDistribution { items, ranks, block }
    }

    /// The number of items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The number of ranks.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// The items of a rank, in ascending order.
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn items_of(&self, rank: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        assert!(rank < self.ranks, "rank {rank} of {}", self.ranks);
        let CyclicDistribution { items, ranks, block } = *self;
        let blocks = items.div_ceil(block);
        let starts = (rank..blocks).step_by(ranks).map(move |number| number * block);
        starts.flat_map(move |start| start..start + block.min(items - start))
    }

    /// The number of items of a rank.
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn count(&self, rank: usize) -> usize {
        assert!(rank < self.ranks, "rank {rank} of {}", self.ranks);
        let (whole, rest) = (self.items / self.block, self.items % self.block);
        let (each, more) = (whole / self.ranks, whole % self.ranks);
        let last = if rank == more { rest } else { 0 };
        (each + usize::from(rank < more)) * self.block + last
    }

    /// The number of items of each rank.
    pub fn counts(&self) -> Vec<usize> {
        (0..self.ranks).map(|rank| self.count(rank)).collect()
    }

    /// The rank that has an item; `None` past the last one.
    pub fn owner(&self, item: usize) -> Option<usize> {
        (item < self.items).then(|| item / self.block % self.ranks)
    }

    /// Where an item is among those of its rank; `None` past the last one.
    pub fn position(&self, item: usize) -> Option<usize> {
        let round = item / self.block / self.ranks;
        (item < self.items).then(|| round * self.block + item % self.block)
    }
}

/// # Dividing work: in turn
impl Comm {
    /// This rank's share of so many items that are dealt to all ranks in turn: every `size`-th, from the one
    /// with its own number on. Local.
    ///
    /// [`CyclicDistribution`] knows the items of all ranks.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// // Row `n` of a triangle has `n` cells: ranges would leave most of the work to the last rank.
    /// let cells: usize = world.cyclic_items(1000).sum();
    /// assert_eq!(world.allreduce(&cells, Sum)?, 499_500);
    /// # Ok(())
    /// # });
    /// ```
    pub fn cyclic_items(&self, items: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        CyclicDistribution::new(items, self.size()).items_of(self.rank())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_one_owner_and_one_position() {
        for ranks in 1..6 {
            for block in 1..6 {
                for items in 0..40 {
                    let distribution = CyclicDistribution::with_blocks(items, ranks, block);
                    let mut seen = vec![false; items];
                    for rank in 0..ranks {
                        let own: Vec<usize> = distribution.items_of(rank).collect();
                        assert_eq!(own.len(), distribution.count(rank));
                        assert!(own.is_sorted());
                        for (position, &item) in own.iter().enumerate() {
                            assert_eq!(distribution.owner(item), Some(rank));
                            assert_eq!(distribution.position(item), Some(position));
                            assert!(!std::mem::replace(&mut seen[item], true));
                        }
                    }
                    assert!(seen.iter().all(|&it| it));
                    assert_eq!(distribution.owner(items), None);
                    assert_eq!(distribution.position(items), None);
                }
            }
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        for (ranks, block) in [(1, 1), (3, 1), (3, usize::MAX), (usize::MAX, 2), (2, 1 << 62)] {
            let distribution = CyclicDistribution::with_blocks(usize::MAX, ranks, block);
            assert!(distribution.owner(usize::MAX - 1).is_some_and(|rank| rank < ranks));
            assert!(distribution.position(usize::MAX - 1).is_some());
            assert!(distribution.count(0) > 0);
            assert_eq!(distribution.items_of(0).next(), Some(0));
        }
    }
}

//! Items in blocks: each rank has a range.

use std::ops::Range;

use crate::comm::Comm;

/// Items that are divided into one range for each rank, in the order of the ranks.
///
/// The lengths differ by at most one: the first ranks have one item more where they do not divide evenly. With
/// fewer items than ranks, the last ranges are empty.
///
/// ```
/// use phalanx::distribution::BlockDistribution;
///
/// let items = BlockDistribution::new(10, 4);
/// assert_eq!(items.range(0), 0..3);
/// assert_eq!(items.range(3), 8..10);
/// assert_eq!(items.counts(), [3, 3, 2, 2]); // what gatherv_into and scatterv_into take
/// assert_eq!(items.owner(7), Some(2));
/// assert_eq!(items.owner(10), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDistribution {
    items: usize,
    ranks: usize,
}

impl BlockDistribution {
    /// So many items on so many ranks.
    ///
    /// # Panics
    /// If there are no ranks.
    pub fn new(items: usize, ranks: usize) -> Self {
        assert!(ranks > 0, "{items} items cannot be divided among no ranks");
        BlockDistribution { items, ranks }
    }

    /// The number of items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The number of ranks.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// The items of a rank.
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn range(&self, rank: usize) -> Range<usize> {
        assert!(rank < self.ranks, "rank {rank} of {}", self.ranks);
        let (each, more) = (self.items / self.ranks, self.items % self.ranks);
        let start = rank * each + rank.min(more);
        start..start + each + usize::from(rank < more)
    }

    /// The number of items of each rank.
    pub fn counts(&self) -> Vec<usize> {
        (0..self.ranks).map(|rank| self.range(rank).len()).collect()
    }

    /// The rank that has an item; `None` past the last one.
    pub fn owner(&self, item: usize) -> Option<usize> {
        if item >= self.items {
            return None;
        }
        let (each, more) = (self.items / self.ranks, self.items % self.ranks);
        // The first `more` ranks have one item more than the others. If there are none, `each + 1` may not
        // be a number.
        let longer = if more == 0 { 0 } else { more * (each + 1) };
        Some(if item < longer { item / (each + 1) } else { more + (item - longer) / each })
    }
}

/// # Dividing work: in ranges
impl Comm {
    /// This rank's range of so many items that all ranks divide among themselves. Local.
    ///
    /// [`BlockDistribution`] knows the ranges of all ranks.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let lines: Vec<String> = (0..10).map(|n| format!("line {n}")).collect();
    /// for line in &lines[world.block_range(lines.len())] {
    ///     println!("rank {} has {line}", world.rank());
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn block_range(&self, items: usize) -> Range<usize> {
        BlockDistribution::new(items, self.size()).range(self.rank())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_one_owner() {
        for ranks in 1..12 {
            for items in 0..50 {
                let distribution = BlockDistribution::new(items, ranks);
                let mut next = 0;
                for rank in 0..ranks {
                    let range = distribution.range(rank);
                    assert_eq!(range.start, next);
                    assert!(range.len() == items / ranks || range.len() == items / ranks + 1);
                    assert!(range.clone().all(|item| distribution.owner(item) == Some(rank)));
                    next = range.end;
                }
                assert_eq!(next, items);
                assert_eq!(distribution.counts().iter().sum::<usize>(), items);
                assert_eq!(distribution.owner(items), None);
            }
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        for ranks in [1, 2, 3, 1 << 20, usize::MAX] {
            let distribution = BlockDistribution::new(usize::MAX, ranks);
            assert_eq!(distribution.range(ranks - 1).end, usize::MAX);
            assert_eq!(distribution.owner(usize::MAX - 1), Some(ranks - 1));
            assert_eq!(distribution.owner(0), Some(0));
        }
    }
}

//! What came from each neighbour.

use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use crate::collective::PerRank;

/// A block of elements from each source of a collective among neighbours, next to each other in one
/// vector.
///
/// `blocks[i]` is that of source number `i`: of [`Graph::sources`](crate::Graph::sources), or of
/// [`Cart::neighbors`](crate::Cart::neighbors), where the block of a neighbour that does not exist is
/// empty.
///
/// ```
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let line = world.cart(&[0], &[false])?.expect("every rank fits");
/// let blocks = line.neighbor_allgatherv(&vec![7; line.rank()])?;
/// assert_eq!(blocks.neighbor(0), line.rank().checked_sub(1));
/// assert_eq!(blocks[0].len(), line.rank().saturating_sub(1));
/// line.free()
/// # });
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PerNeighbor<T> {
    blocks: PerRank<T>,
    neighbors: Arc<[Option<usize>]>,
}

impl<T> PerNeighbor<T> {
    pub(super) fn new(blocks: PerRank<T>, neighbors: Arc<[Option<usize>]>) -> Self {
        PerNeighbor { blocks, neighbors }
    }

    /// How many sources there are, those that do not exist included.
    #[allow(clippy::len_without_is_empty)] // of blocks, not of elements
    pub fn len(&self) -> usize {
        self.neighbors.len()
    }

    /// The rank that a block came from; `None` for a neighbour that does not exist.
    ///
    /// # Panics
    /// If there are not so many sources.
    pub fn neighbor(&self, index: usize) -> Option<usize> {
        self.neighbors[index]
    }

    /// Each source with its block, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Option<usize>, &[T])> {
        (0..self.len()).map(|index| (self.neighbors[index], &self.blocks[index]))
    }

    /// The length of each block.
    pub fn counts(&self) -> &[usize] {
        self.blocks.counts()
    }

    /// The blocks of all sources, one after another.
    pub fn flat(&self) -> &[T] {
        self.blocks.flat()
    }

    /// All elements, in the order of the sources, without a copy.
    pub fn into_flat(self) -> Vec<T> {
        self.blocks.into_flat()
    }

    /// One vector for each source.
    pub fn into_vecs(self) -> Vec<Vec<T>> {
        self.blocks.into_vecs()
    }
}

impl<T> Index<usize> for PerNeighbor<T> {
    type Output = [T];

    /// # Panics
    /// If there are not so many sources.
    fn index(&self, index: usize) -> &[T] {
        &self.blocks[index]
    }
}

impl<T: fmt::Debug> fmt::Debug for PerNeighbor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

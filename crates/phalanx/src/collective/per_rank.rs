//! Elements that belong to ranks: a block for each.

use std::borrow::Cow;
use std::ops::Index;

use crate::datatype::Element;

/// A block of elements for each rank, next to each other in one vector.
///
/// What [`gatherv`](crate::Comm::gatherv), [`allgatherv`](crate::Comm::allgatherv) and
/// [`alltoallv`](crate::Comm::alltoallv) return: `blocks[rank]` is what came from that rank.
///
/// ```
/// use phalanx::PerRank;
///
/// let blocks = PerRank::from(vec![vec![1, 2], vec![], vec![3]]);
/// assert_eq!(blocks.ranks(), 3);
/// assert_eq!(blocks[0], [1, 2]);
/// assert_eq!(blocks.counts(), [2, 0, 1]);
/// assert_eq!(blocks.into_flat(), [1, 2, 3]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerRank<T> {
    data: Vec<T>,
    counts: Vec<usize>,
    starts: Vec<usize>,
}

impl<T> PerRank<T> {
    /// Blocks of the given lengths, cut from one vector. `None` if the lengths do not add up.
    pub fn from_flat(data: Vec<T>, counts: Vec<usize>) -> Option<Self> {
        let mut starts = Vec::with_capacity(counts.len());
        let mut end: usize = 0;
        for &count in &counts {
            starts.push(end);
            end = end.checked_add(count)?;
        }
        (end == data.len()).then_some(PerRank { data, counts, starts })
    }

    /// How many ranks have a block.
    pub fn ranks(&self) -> usize {
        self.counts.len()
    }

    /// The length of each block.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// The blocks of all ranks, one after another.
    pub fn flat(&self) -> &[T] {
        &self.data
    }

    /// The block of a rank, if there is such a rank.
    pub fn get(&self, rank: usize) -> Option<&[T]> {
        let start = *self.starts.get(rank)?;
        self.data.get(start..start + self.counts[rank])
    }

    /// The blocks in the order of the ranks.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[T]> {
        (0..self.ranks()).map(|rank| &self[rank])
    }

    /// All elements, in the order of the ranks, without a copy.
    pub fn into_flat(self) -> Vec<T> {
        self.data
    }

    /// One vector for each rank.
    pub fn into_vecs(self) -> Vec<Vec<T>> {
        let mut elements = self.data.into_iter();
        self.counts.iter().map(|&count| elements.by_ref().take(count).collect()).collect()
    }
}

impl<T> Index<usize> for PerRank<T> {
    type Output = [T];

    /// # Panics
    /// If there is no such rank.
    fn index(&self, rank: usize) -> &[T] {
        let start = self.starts[rank];
        &self.data[start..start + self.counts[rank]]
    }
}

impl<T> From<Vec<Vec<T>>> for PerRank<T> {
    fn from(blocks: Vec<Vec<T>>) -> Self {
        let counts: Vec<usize> = blocks.iter().map(Vec::len).collect();
        let mut starts = Vec::with_capacity(counts.len());
        let mut data = Vec::with_capacity(counts.iter().sum());
        for block in blocks {
            starts.push(data.len());
            data.extend(block);
        }
        PerRank { data, counts, starts }
    }
}

/// What an operation with a block for each rank takes: `Vec<Vec<T>>`, [`PerRank`], or flat elements
/// with counts, as `(&[T], &[usize])`.
pub trait Blocks {
    /// What the blocks hold.
    type Element: Element;

    /// The length of each block.
    fn counts(&self) -> Vec<usize>;

    /// All elements in the order of the ranks; a copy only where they do not lie that way already.
    fn flat(&self) -> Cow<'_, [Self::Element]>;
}

impl<T: Element> Blocks for PerRank<T> {
    type Element = T;

    fn counts(&self) -> Vec<usize> {
        self.counts.clone()
    }

    fn flat(&self) -> Cow<'_, [T]> {
        Cow::Borrowed(&self.data)
    }
}

impl<T: Element> Blocks for [Vec<T>] {
    type Element = T;

    fn counts(&self) -> Vec<usize> {
        self.iter().map(Vec::len).collect()
    }

    fn flat(&self) -> Cow<'_, [T]> {
        Cow::Owned(self.concat())
    }
}

impl<T: Element> Blocks for Vec<Vec<T>> {
    type Element = T;

    fn counts(&self) -> Vec<usize> {
        self.as_slice().counts()
    }

    fn flat(&self) -> Cow<'_, [T]> {
        self.as_slice().flat()
    }
}

impl<T: Element> Blocks for (&[T], &[usize]) {
    type Element = T;

    fn counts(&self) -> Vec<usize> {
        self.1.to_vec()
    }

    fn flat(&self) -> Cow<'_, [T]> {
        Cow::Borrowed(self.0)
    }
}

//! An array of any number of dimensions on a grid of ranks: each rank has a block.

use std::ops::Range;
use std::panic::Location;

use super::BlockDistribution;
use crate::datatype::{Element, try_zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::raw;
use crate::record::{Call, DISTRIBUTION, DISTRIBUTION_GATHER, DISTRIBUTION_SCATTER, Operation};
use crate::topology::Cart;

/// An array that is divided into one block for each rank of a grid, in each dimension as
/// [`BlockDistribution`] does. Made by [`Cart::distribution`].
///
/// Arrays are slices, row by row: the last index changes fastest.
///
/// ```
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let grid = world.cart(&[0, 0], &[false, false])?.expect("every rank fits");
/// let parts = grid.distribution(&[10, 7])?;
/// let whole = (world.rank() == 0).then(|| (0..70).map(f64::from).collect::<Vec<_>>());
/// let mut mine = parts.scatter(whole.as_deref(), 0)?;
/// assert_eq!(mine.len(), parts.block_shape().iter().product::<usize>());
///
/// let [rows, columns] = parts.ranges() else { unreachable!("two dimensions") };
/// mine.iter_mut().for_each(|cell| *cell += 1.0);
/// let first = (rows.start * 7 + columns.start) as f64;
/// assert!(mine.is_empty() || mine[0] == first + 1.0);
///
/// let whole = parts.gather(&mine, 0)?;
/// assert_eq!(whole.is_some(), world.rank() == 0);
/// assert!(whole.is_none_or(|whole| whole[69] == 70.0));
/// # drop(parts);
/// grid.free()
/// # });
/// ```
#[derive(Clone)]
pub struct GridDistribution {
    cart: Cart,
    shape: Vec<usize>,
    dimensions: Vec<BlockDistribution>,
    /// Of this rank.
    ranges: Vec<Range<usize>>,
    block_shape: Vec<usize>,
}

impl Cart {
    /// Divides an array of this shape among the ranks of the grid: a block for each. Local; every rank gives
    /// the same shape.
    ///
    /// The blocks of neighbours fit together as [`halo`](Cart::halo) needs them:
    /// `grid.halo(parts.block_shape(), …)`.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if the array has not as many dimensions as the grid, or more
    /// elements than memory.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let grid = world.cart(&[0, 0, 0], &[true; 3])?.expect("every rank fits");
    /// let parts = grid.distribution(&[20, 30, 40])?;
    /// assert_eq!(parts.owner(&[0, 0, 0]), Some(0));
    /// let mine = parts.ranges();
    /// assert_eq!(parts.owner(&[mine[0].start, mine[1].start, mine[2].start]), Some(grid.rank()));
    /// # drop(parts);
    /// grid.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn distribution(&self, shape: &[usize]) -> Result<GridDistribution> {
        let call = self.call(&DISTRIBUTION, Location::caller());
        let (given, dimensions) = (shape.len(), self.dims().len());
        if given != dimensions {
            let detail = format!(
                "an array of {given} dimensions cannot be divided on a grid of {dimensions}: give the shape \
                 as many lengths as the grid has, some of them 1"
            );
            return Err(Error::new(ErrorKind::InvalidLength, &call, detail));
        }
        let elements = shape.iter().try_fold(1_usize, |all, &length| all.checked_mul(length));
        if elements.is_none() {
            let detail = format!("an array of {shape:?} elements is larger than memory");
            return Err(Error::new(ErrorKind::InvalidLength, &call, detail));
        }
        let split = |(&length, &ranks)| BlockDistribution::new(length, ranks);
        let dimensions: Vec<_> = shape.iter().zip(self.dims()).map(split).collect();
        let mut distribution = GridDistribution {
            cart: self.clone(),
            shape: shape.to_vec(),
            dimensions,
            ranges: Vec::new(),
            block_shape: Vec::new(),
        };
        distribution.ranges = distribution.at(self.coords());
        distribution.block_shape = distribution.ranges.iter().map(Range::len).collect();
        Ok(distribution)
    }
}

impl GridDistribution {
    fn at(&self, coords: &[usize]) -> Vec<Range<usize>> {
        self.dimensions.iter().zip(coords).map(|(dimension, &at)| dimension.range(at)).collect()
    }

    /// The lengths of the whole array.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The lengths of this rank's block.
    pub fn block_shape(&self) -> &[usize] {
        &self.block_shape
    }

    /// Which part of the array this rank has: a range of indices in each dimension.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Which part of the array a rank of the grid has.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank) if there is no such rank.
    #[track_caller]
    pub fn ranges_of(&self, rank: usize) -> Result<Vec<Range<usize>>> {
        Ok(self.at(&self.cart.coords_of(rank)?))
    }

    /// How each dimension is divided.
    pub fn dimensions(&self) -> &[BlockDistribution] {
        &self.dimensions
    }

    /// The rank that has an element; `None` outside of the array, or if there is not one index for each
    /// dimension.
    pub fn owner(&self, index: &[usize]) -> Option<usize> {
        if index.len() != self.shape.len() {
            return None;
        }
        // Ranks are numbered row by row.
        self.dimensions.iter().zip(index).try_fold(0, |rank, (dimension, &at)| {
            Some(rank * dimension.ranks() + dimension.owner(at)?)
        })
    }

    /// Gives each rank its block of an array that the root has: `Some` on the root alone. Collective. The root
    /// holds a second copy of the array meanwhile.
    ///
    /// # Errors
    /// On every rank: [`InvalidLength`](ErrorKind::InvalidLength) or, on those that are not to blame,
    /// [`Mismatch`](ErrorKind::Mismatch) if the root gives no array or one of another length;
    /// [`InvalidRoot`](ErrorKind::InvalidRoot).
    ///
    /// MPI: `MPI_Scatterv`, MPI-4.1 section 6.6, after an `MPI_Allreduce`.
    #[track_caller]
    pub fn scatter<T: Element>(&self, whole: Option<&[T]>, root: usize) -> Result<Vec<T>> {
        let location = Location::caller();
        let call = self.call(&DISTRIBUTION_SCATTER, location).root(root);
        let _permit = raw::permit(&call)?;
        self.cart.check_root(&call, root)?;
        let is_root = self.cart.rank() == root;
        let prepared = (|| {
            let mine = self.room(&call, self.block_shape.iter().product())?;
            if !is_root {
                return Ok((mine, None));
            }
            let whole = whole.unwrap_or_default();
            self.expect(&call, "array", whole.len(), &self.shape)?;
            let mut blocks: Vec<T> = self.room(&call, whole.len())?;
            let mut counts = Vec::with_capacity(self.cart.size());
            let mut end = 0;
            for rank in 0..self.cart.size() {
                let start = end;
                for run in runs(&self.shape, &self.ranges_of(rank)?) {
                    blocks[end..end + run.len()].copy_from_slice(&whole[run.clone()]);
                    end += run.len();
                }
                counts.push(end - start);
            }
            Ok((mine, Some((blocks, counts))))
        })();
        let (mut mine, blocks) = self.cart.none_failed(&call, prepared)?;
        let blocks = blocks.as_ref().map(|(blocks, counts)| (&blocks[..], &counts[..]));
        self.cart.scatterv_into(blocks, &mut mine, root)?;
        Ok(mine)
    }

    /// Puts the blocks of all ranks together on the root: `Some` there alone. Collective. The root holds a
    /// second copy of the array meanwhile.
    ///
    /// # Errors
    /// On every rank: [`InvalidLength`](ErrorKind::InvalidLength) or, on those that are not to blame,
    /// [`Mismatch`](ErrorKind::Mismatch) if a rank gives a block of another length;
    /// [`InvalidRoot`](ErrorKind::InvalidRoot).
    ///
    /// MPI: `MPI_Gatherv`, MPI-4.1 section 6.5, after an `MPI_Allreduce`.
    #[track_caller]
    pub fn gather<T: Element>(&self, block: &[T], root: usize) -> Result<Option<Vec<T>>> {
        let location = Location::caller();
        let call = self.call(&DISTRIBUTION_GATHER, location).root(root);
        let _permit = raw::permit(&call)?;
        self.cart.check_root(&call, root)?;
        let prepared = (|| {
            self.expect(&call, "block", block.len(), &self.block_shape)?;
            if self.cart.rank() != root {
                return Ok(None);
            }
            let elements = self.shape.iter().product();
            let parts: Vec<_> =
                (0..self.cart.size()).map(|rank| self.ranges_of(rank)).collect::<Result<_>>()?;
            let counts: Vec<usize> =
                parts.iter().map(|part| part.iter().map(Range::len).product()).collect();
            let (blocks, whole) = (self.room(&call, elements)?, self.room(&call, elements)?);
            Ok(Some((parts, counts, blocks, whole)))
        })();
        let mut prepared = self.cart.none_failed(&call, prepared)?;
        let room = prepared.as_mut().map(|(_, counts, blocks, _)| (&mut blocks[..], &counts[..]));
        self.cart.gatherv_into(block, room, root)?;
        Ok(prepared.map(|(parts, _, blocks, mut whole): (_, _, Vec<T>, Vec<T>)| {
            let mut end = 0;
            for run in parts.iter().flat_map(|part| runs(&self.shape, part)) {
                whole[run.clone()].copy_from_slice(&blocks[end..end + run.len()]);
                end += run.len();
            }
            whole
        }))
    }

    fn call(
        &self,
        operation: &'static Operation,
        location: &'static Location<'static>,
    ) -> Call<'_> {
        self.cart.call(operation, location)
    }

    fn room<T: Element>(&self, call: &Call<'_>, elements: usize) -> Result<Vec<T>> {
        try_zeros(elements).ok_or_else(|| {
            let detail = format!("there is no memory for {elements} elements");
            Error::new(ErrorKind::InvalidLength, call, detail)
        })
    }

    fn expect(&self, call: &Call<'_>, what: &str, given: usize, shape: &[usize]) -> Result<()> {
        let expected: usize = shape.iter().product();
        if given == expected {
            return Ok(());
        }
        let detail = format!("the {what} has {given} elements, {shape:?} makes {expected}");
        Err(Error::new(ErrorKind::InvalidLength, call, detail))
    }
}

/// The elements of a part of an array, in runs that lie together: the last dimension of the part.
fn runs<'a>(
    shape: &'a [usize],
    part: &'a [Range<usize>],
) -> impl Iterator<Item = Range<usize>> + use<'a> {
    let last = part.last().map_or(0, Range::len);
    let others = &part[..part.len().saturating_sub(1)];
    let number: usize = if last == 0 { 0 } else { others.iter().map(Range::len).product() };
    (0..number).map(move |mut run| {
        let mut start = part[part.len() - 1].start;
        let mut stride = shape[shape.len() - 1];
        for (range, length) in others.iter().zip(shape).rev() {
            start += (range.start + run % range.len()) * stride;
            run /= range.len();
            stride *= length;
        }
        start..start + last
    })
}

#[cfg(feature = "ndarray")]
mod array {
    use ndarray::{Array, ArrayBase, Data, Dimension};

    use super::*;

    impl GridDistribution {
        /// [`scatter`](GridDistribution::scatter) of an array of `ndarray`. Collective.
        ///
        /// # Errors
        /// As [`scatter`](GridDistribution::scatter), also if the arrays have not as many dimensions as the grid.
        ///
        /// MPI: `MPI_Scatterv`, MPI-4.1 section 6.6, after an `MPI_Allreduce`.
        ///
        /// ```
        /// use ndarray::{Array2, s};
        /// # phalanx::run(|world| -> phalanx::Result<()> {
        /// let grid = world.cart(&[0, 0], &[false, false])?.expect("every rank fits");
        /// let parts = grid.distribution(&[9, 5])?;
        /// let whole = Array2::from_shape_fn((9, 5), |(row, column)| 5 * row + column);
        /// let mine: Array2<usize> = parts.scatter_array((world.rank() == 0).then_some(&whole), 0)?;
        /// let [rows, columns] = parts.ranges() else { unreachable!("two dimensions") };
        /// assert_eq!(mine, whole.slice(s![rows.clone(), columns.clone()]));
        /// let together = parts.gather_array(&mine, 0)?;
        /// assert_eq!(together, (world.rank() == 0).then_some(whole));
        /// # drop(parts);
        /// grid.free()
        /// # });
        /// ```
        #[track_caller]
        pub fn scatter_array<S, D>(
            &self,
            whole: Option<&ArrayBase<S, D>>,
            root: usize,
        ) -> Result<Array<S::Elem, D>>
        where
            S: Data<Elem: Element>,
            D: Dimension,
        {
            let call = self.call(&DISTRIBUTION_SCATTER, Location::caller()).root(root);
            let _permit = raw::permit(&call)?;
            self.cart.check_root(&call, root)?;
            let whole = whole.filter(|_| self.cart.rank() == root);
            let checked = self.expect_dimensions::<D>(&call).and_then(|()| {
                whole.map_or(Ok(()), |whole| self.expect_shape(&call, whole.shape(), &self.shape))
            });
            self.cart.none_failed(&call, checked)?;
            let whole = whole.map(|whole| whole.as_standard_layout());
            let block = self.scatter(whole.as_ref().and_then(|it| it.as_slice()), root)?;
            Ok(shaped(&self.block_shape, block))
        }

        /// [`gather`](GridDistribution::gather) of arrays of `ndarray`. Collective.
        ///
        /// # Errors
        /// As [`gather`](GridDistribution::gather), also if a block has another shape.
        ///
        /// MPI: `MPI_Gatherv`, MPI-4.1 section 6.5, after an `MPI_Allreduce`.
        #[track_caller]
        pub fn gather_array<S, D>(
            &self,
            block: &ArrayBase<S, D>,
            root: usize,
        ) -> Result<Option<Array<S::Elem, D>>>
        where
            S: Data<Elem: Element>,
            D: Dimension,
        {
            let call = self.call(&DISTRIBUTION_GATHER, Location::caller()).root(root);
            let _permit = raw::permit(&call)?;
            self.cart.check_root(&call, root)?;
            let checked = self.expect_shape(&call, block.shape(), &self.block_shape);
            self.cart.none_failed(&call, checked)?;
            let block = block.as_standard_layout();
            let whole = self.gather(block.as_slice().unwrap_or_default(), root)?;
            Ok(whole.map(|whole| shaped(&self.shape, whole)))
        }

        fn expect_dimensions<D: Dimension>(&self, call: &Call<'_>) -> Result<()> {
            let (grid, array) = (self.shape.len(), D::NDIM.unwrap_or(self.shape.len()));
            if grid == array {
                return Ok(());
            }
            let detail =
                format!("an array of {array} dimensions was asked for, the grid has {grid}");
            Err(Error::new(ErrorKind::InvalidLength, call, detail))
        }

        fn expect_shape(&self, call: &Call<'_>, given: &[usize], expected: &[usize]) -> Result<()> {
            if given == expected {
                return Ok(());
            }
            let detail = format!("an array of {given:?} was given, {expected:?} is expected");
            Err(Error::new(ErrorKind::InvalidLength, call, detail))
        }
    }

    fn shaped<T, D: Dimension>(shape: &[usize], elements: Vec<T>) -> Array<T, D> {
        let mut dimensions = D::zeros(shape.len());
        dimensions.slice_mut().copy_from_slice(shape);
        Array::from_shape_vec(dimensions, elements).expect("the shape was checked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(shape: &[usize], part: &[Range<usize>]) -> Vec<usize> {
        runs(shape, part).flatten().collect()
    }

    #[test]
    fn runs_are_the_rows_of_a_part() {
        assert_eq!(elements(&[10], std::slice::from_ref(&(3..6))), [3, 4, 5]);
        assert_eq!(elements(&[4, 5], &[1..3, 2..4]), [7, 8, 12, 13]);
        assert_eq!(elements(&[2, 3, 4], &[1..2, 0..3, 3..4]), [15, 19, 23]);
        assert_eq!(elements(&[2, 3], &[0..2, 0..3]), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_part_of_nothing_has_no_runs() {
        assert_eq!(elements(&[4, 5], &[1..1, 2..4]), []);
        assert_eq!(elements(&[4, 5], &[1..3, 5..5]), []);
        assert_eq!(elements(&[0, 5], &[0..0, 0..5]), []);
    }
}

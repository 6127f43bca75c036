//! Arrays and views of `ndarray` as buffers. Feature `ndarray`.

use std::panic::Location;

use ndarray::{Array, ArrayBase, Data, DataMut, Dimension, RawData};

use super::Element;
use super::buffer::{Buffer, BufferMut, Payload, PayloadMut, bytes_of, bytes_of_mut, zeros};
use super::strided::{Pattern, Strided, StridedMut};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::{View, ViewMut};
use crate::record::{Call, DATATYPE};

const SCATTERED: &str = "the elements of the array do not lie in memory one after another in row order: send \
    and receive it with `Strided::array` and `StridedMut::array`, give a collective the copy that \
    `array.as_standard_layout()` makes";

#[cold]
#[track_caller]
fn scattered() -> Error {
    Error::new(ErrorKind::Layout, &Call::local(&DATATYPE, Location::caller()), SCATTERED)
}

// SAFETY: the view is that of the slice of all elements.
unsafe impl<S, D> Payload for ArrayBase<S, D>
where
    S: Data<Elem: Element>,
    D: Dimension,
{
    type Element = S::Elem;

    fn view(&self) -> Result<View<'_>> {
        self.as_slice().map(bytes_of).ok_or_else(scattered)
    }
}

// SAFETY: as above.
unsafe impl<S, D> PayloadMut for ArrayBase<S, D>
where
    S: DataMut<Elem: Element>,
    D: Dimension,
{
    fn view_mut(&mut self) -> Result<ViewMut<'_>> {
        self.as_slice_mut().map(bytes_of_mut).ok_or_else(scattered)
    }
}

/// Collectives return an array of the same shape.
///
/// # Panics
/// Its methods do, if the elements do not lie one after another in row order.
impl<S, D> Buffer for ArrayBase<S, D>
where
    S: Data<Elem: Element>,
    D: Dimension + 'static,
{
    type Owned = Array<S::Elem, D>;

    fn elements(&self) -> &[S::Elem] {
        self.as_slice().expect(SCATTERED)
    }

    fn zeroed(&self) -> Self::Owned {
        Array::from_shape_vec(self.raw_dim(), zeros(self.len())).expect("as many as in this array")
    }
}

/// # Panics
/// As for `Buffer`.
impl<S, D> BufferMut for ArrayBase<S, D>
where
    S: DataMut<Elem: Element>,
    D: Dimension + 'static,
{
    fn elements_mut(&mut self) -> &mut [S::Elem] {
        self.as_slice_mut().expect(SCATTERED)
    }
}

/// The elements of an array in row order: runs that lie together, and how these are arranged.
fn pattern<S, D>(array: &ArrayBase<S, D>, location: &'static Location<'static>) -> Result<Pattern>
where
    S: RawData<Elem: Element>,
    D: Dimension,
{
    let mut length = 1;
    let mut dimensions: Vec<(usize, isize)> = Vec::new();
    for (&count, &stride) in array.shape().iter().zip(array.strides()).rev() {
        match dimensions.last_mut() {
            _ if count == 1 => {}
            None if stride == length as isize => length *= count,
            Some((inner, apart)) if apart.checked_mul(*inner as isize) == Some(stride) => {
                *inner *= count;
            }
            _ => dimensions.push((count, stride)),
        }
    }
    Pattern::within::<S::Elem>(&dimensions, length, location)
}

impl<'a, T: Element> Strided<'a, T> {
    /// All elements of an array or a view in row order, whatever its strides, without a copy: a column, a
    /// transposed matrix, every second plane.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if a dimension is above `i32::MAX`.
    ///
    /// MPI: `MPI_Type_create_hvector`, MPI-4.1 section 5.1.2.
    ///
    /// ```
    /// use ndarray::{Array2, array};
    /// use phalanx::{Strided, StridedMut, prelude::*};
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let matrix = array![[1, 2, 3], [4, 5, 6]];
    /// let mut transposed = Array2::<i32>::zeros((3, 2));
    /// let me = world.rank();
    /// world.sendrecv_into(&Strided::array(&matrix.t())?, me, &mut transposed, me)?;
    /// assert_eq!(transposed, array![[1, 4], [2, 5], [3, 6]]);
    ///
    /// let mut column = transposed.column_mut(0);
    /// world.sendrecv_into(&[7, 8, 9], me, &mut StridedMut::array(&mut column)?, me)?;
    /// assert_eq!(transposed, array![[7, 4], [8, 5], [9, 6]]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn array<S, D>(array: &'a ArrayBase<S, D>) -> Result<Self>
    where
        S: Data<Elem = T>,
        D: Dimension,
    {
        let pattern = pattern(array, Location::caller())?;
        // SAFETY: the pattern is that of the array, which is borrowed.
        Ok(unsafe { Strided::from_parts(array.as_ptr(), pattern) })
    }
}

impl<'a, T: Element> StridedMut<'a, T> {
    /// [`Strided::array`] of an array that may be written: what a receive fills.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if a dimension is above `i32::MAX`.
    ///
    /// MPI: `MPI_Type_create_hvector`, MPI-4.1 section 5.1.2.
    #[track_caller]
    pub fn array<S, D>(array: &'a mut ArrayBase<S, D>) -> Result<Self>
    where
        S: DataMut<Elem = T>,
        D: Dimension,
    {
        let start = array.as_mut_ptr();
        let pattern = pattern(array, Location::caller())?;
        // SAFETY: the pattern is that of the array, which is borrowed exclusively; no two indices of an
        // array that may be written name the same element.
        Ok(unsafe { StridedMut::from_parts(start, pattern) })
    }
}

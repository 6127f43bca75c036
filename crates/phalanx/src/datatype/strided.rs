//! Regular patterns inside a slice (columns, blocks of a matrix), sent without a copy.

use std::marker::PhantomData;
use std::panic::Location;

use super::{Element, no_padding};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::datatype::{self, Datatype};
use crate::raw::{View, ViewMut};
use crate::record::{Call, DATATYPE, name_of};

/// `blocks` blocks of `length` elements that start `stride` elements apart in a slice.
///
/// A send of it moves the elements of all blocks, in order, without a copy on this side. The
/// receiver sees `blocks * length` elements, and may receive them into anything of that length.
///
/// MPI: `MPI_Type_vector`, MPI-4.1 section 5.1.2.
///
/// ```
/// use phalanx::{Strided, prelude::*};
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let matrix: Vec<f64> = (0..12).map(f64::from).collect(); // 3 rows of 4
/// let column = Strided::column(&matrix, 4, 1)?;
/// let mut received = [0.0; 3];
/// let me = world.rank();
/// world.sendrecv_into(&column, me, &mut received, me)?;
/// assert_eq!(received, [1.0, 5.0, 9.0]);
/// # Ok(())
/// # });
/// ```
pub struct Strided<'a, T: Element> {
    start: *const T,
    pattern: Pattern,
    lifetime: PhantomData<&'a [T]>,
}

// SAFETY: it lends shared references to elements, as a slice does.
unsafe impl<T: Element> Send for Strided<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Element> Sync for Strided<'_, T> {}

/// The same pattern of a slice that may be written: what a receive fills.
///
/// ```
/// use phalanx::{StridedMut, prelude::*};
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let mut matrix = [0; 6]; // 3 rows of 2
/// let me = world.rank();
/// world.sendrecv_into(&[7, 8, 9], me, &mut StridedMut::column(&mut matrix, 2, 0)?, me)?;
/// assert_eq!(matrix, [7, 0, 8, 0, 9, 0]);
/// # Ok(())
/// # });
/// ```
pub struct StridedMut<'a, T: Element> {
    start: *mut T,
    pattern: Pattern,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: it lends exclusive references to elements, as a slice does.
unsafe impl<T: Element> Send for StridedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Element> Sync for StridedMut<'_, T> {}

pub(super) struct Pattern {
    datatype: Datatype,
    /// Bytes of all blocks.
    bytes: usize,
    empty: bool,
}

impl Drop for Pattern {
    fn drop(&mut self) {
        if !self.empty {
            datatype::free(self.datatype);
        }
    }
}

impl Pattern {
    fn new<T: Element>(
        available: usize,
        blocks: usize,
        length: usize,
        stride: usize,
        location: &'static Location<'static>,
    ) -> Result<Self> {
        let refuse = |detail: String| {
            Err(Error::new(ErrorKind::InvalidLength, &Call::local(&DATATYPE, location), detail))
        };
        if stride < length && blocks > 1 {
            return refuse(format!(
                "blocks of {length} elements overlap at a stride of {stride}: it must be at least {length}"
            ));
        }
        let needed = if blocks == 0 || length == 0 {
            Some(0)
        } else {
            (blocks - 1).checked_mul(stride).and_then(|last| last.checked_add(length))
        };
        if needed.is_none_or(|needed| needed > available) {
            return refuse(format!(
                "{blocks} blocks of {length} elements at a stride of {stride} do not fit into a \
                 slice of {available}; the last block starts at (blocks - 1) * stride"
            ));
        }
        // The blocks lie within the slice, so that their strides fit into an `isize`. The stride of a
        // single block, which nothing bounds, is not used.
        let stride = if blocks > 1 && size_of::<T>() > 0 { stride as isize } else { 0 };
        Pattern::within::<T>(&[(blocks, stride)], length, location)
    }

    /// Blocks of `length` elements in a pattern of several dimensions, the innermost first, that lies
    /// within memory. Strides are elements.
    pub(super) fn within<T: Element>(
        dimensions: &[(usize, isize)],
        length: usize,
        location: &'static Location<'static>,
    ) -> Result<Self> {
        no_padding::<T>();
        // Bytes, as all point-to-point messages.
        let (byte, size) = (datatype::uint8(), size_of::<T>());
        if size == 0 || length == 0 || dimensions.iter().any(|&(count, _)| count == 0) {
            return Ok(Pattern { datatype: byte, bytes: 0, empty: true });
        }
        // An array that is repeated by a stride of 0 may be larger than memory.
        let bytes = dimensions.iter().try_fold(length * size, |all, it| all.checked_mul(it.0));
        let Some(bytes) = bytes.filter(|&bytes| isize::try_from(bytes).is_ok()) else {
            let detail = "the pattern has more bytes than memory".to_owned();
            let call = Call::local(&DATATYPE, location);
            return Err(Error::new(ErrorKind::InvalidLength, &call, detail));
        };
        let strides: Vec<(usize, isize)> =
            dimensions.iter().map(|&(count, stride)| (count, stride * size as isize)).collect();
        let datatype = datatype::vectors(&strides, length * size, byte, location)?;
        Ok(Pattern { datatype, bytes, empty: false })
    }
}

fn rows_of(
    elements: usize,
    columns: usize,
    column: usize,
    location: &'static Location<'static>,
) -> Result<usize> {
    if columns == 0 || column >= columns || !elements.is_multiple_of(columns) {
        return Err(Error::new(
            ErrorKind::InvalidLength,
            &Call::local(&DATATYPE, location),
            format!(
                "no column {column} in {elements} elements of {columns} columns: columns are counted from 0, \
                 and the slice holds whole rows"
            ),
        ));
    }
    Ok(elements / columns)
}

impl<'a, T: Element> Strided<'a, T> {
    /// The pattern from the start of `elements`.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if the blocks overlap or leave the slice.
    #[track_caller]
    pub fn new(elements: &'a [T], blocks: usize, length: usize, stride: usize) -> Result<Self> {
        let location = Location::caller();
        let pattern = Pattern::new::<T>(elements.len(), blocks, length, stride, location)?;
        Ok(Strided { start: elements.as_ptr(), pattern, lifetime: PhantomData })
    }

    /// One column of a matrix that is stored row by row.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if there is no such column.
    #[track_caller]
    pub fn column(matrix: &'a [T], columns: usize, column: usize) -> Result<Self> {
        let location = Location::caller();
        let rows = rows_of(matrix.len(), columns, column, location)?;
        let elements = &matrix[column.min(matrix.len())..];
        let pattern = Pattern::new::<T>(elements.len(), rows, 1, columns, location)?;
        Ok(Strided { start: elements.as_ptr(), pattern, lifetime: PhantomData })
    }

    /// # Safety
    /// For `'a` the pattern lies in memory from `start` on that may be read.
    #[cfg(feature = "ndarray")]
    pub(super) unsafe fn from_parts(start: *const T, pattern: Pattern) -> Self {
        Strided { start, pattern, lifetime: PhantomData }
    }

    pub(super) fn raw_view(&self) -> View<'_> {
        pattern_view(self.start, &self.pattern)
    }
}

impl<'a, T: Element> StridedMut<'a, T> {
    /// The pattern from the start of `elements`.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if the blocks overlap or leave the slice.
    #[track_caller]
    pub fn new(elements: &'a mut [T], blocks: usize, length: usize, stride: usize) -> Result<Self> {
        let location = Location::caller();
        let pattern = Pattern::new::<T>(elements.len(), blocks, length, stride, location)?;
        Ok(StridedMut { start: elements.as_mut_ptr(), pattern, lifetime: PhantomData })
    }

    /// One column of a matrix that is stored row by row.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if there is no such column.
    #[track_caller]
    pub fn column(matrix: &'a mut [T], columns: usize, column: usize) -> Result<Self> {
        let location = Location::caller();
        let rows = rows_of(matrix.len(), columns, column, location)?;
        let start = column.min(matrix.len());
        let elements = &mut matrix[start..];
        let pattern = Pattern::new::<T>(elements.len(), rows, 1, columns, location)?;
        Ok(StridedMut { start: elements.as_mut_ptr(), pattern, lifetime: PhantomData })
    }

    /// # Safety
    /// For `'a` the pattern lies in memory from `start` on that nobody else uses, no element of it twice.
    #[cfg(feature = "ndarray")]
    pub(super) unsafe fn from_parts(start: *mut T, pattern: Pattern) -> Self {
        StridedMut { start, pattern, lifetime: PhantomData }
    }

    pub(super) fn raw_view(&self) -> View<'_> {
        pattern_view(self.start, &self.pattern)
    }

    pub(super) fn raw_view_mut(&mut self) -> ViewMut<'_> {
        if self.pattern.empty {
            return ViewMut::empty();
        }
        // SAFETY: the pattern lies in memory that is borrowed exclusively.
        unsafe {
            let pointer = self.start.cast();
            ViewMut::new(pointer, 1, self.pattern.datatype.0, self.pattern.bytes, name_of::<T>)
        }
    }
}

fn pattern_view<T: Element>(start: *const T, pattern: &Pattern) -> View<'_> {
    if pattern.empty {
        return View::empty();
    }
    // SAFETY: the pattern lies in memory that is borrowed.
    unsafe { View::new(start.cast(), 1, pattern.datatype.0, pattern.bytes, name_of::<T>) }
}

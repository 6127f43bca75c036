//! Types of other crates that are known to be plain data. Feature `bytemuck`.

use bytemuck::{AnyBitPattern, NoUninit, TransparentWrapper, Zeroable};

use super::derive::{Field, datatype_of, items};
use super::{Datatype, Element, SingleElement};
use crate::error::Result;

/// A [`bytemuck::Pod`] value of any crate as an element: `Pod(value)` for one,
/// [`Pod::slice`] and [`Pod::slice_mut`] for many, without a copy.
///
/// ```
/// use phalanx::{Pod, prelude::*};
///
/// // Of a crate that knows nothing of this one.
/// #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Zeroable, bytemuck::Pod)]
/// #[repr(C)]
/// struct Colour([u8; 4]);
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let mut row = vec![Colour([world.rank() as u8; 4]); 3];
/// world.bcast(Pod::slice_mut(&mut row), 0)?;
/// assert_eq!(row, [Colour([0; 4]); 3]);
///
/// let all: Vec<Pod<Colour>> = world.allgather(&Pod(row[0]))?;
/// assert_eq!(Pod::values(&all)[0], row[0]);
/// # Ok(())
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Pod<T>(pub T);

// SAFETY: transparent, as the trait asks.
unsafe impl<T> TransparentWrapper<T> for Pod<T> {}
// SAFETY: the wrapper has the bytes of the value.
unsafe impl<T: Zeroable> Zeroable for Pod<T> {}
// SAFETY: as above.
unsafe impl<T: AnyBitPattern> AnyBitPattern for Pod<T> {}
// SAFETY: as above.
unsafe impl<T: NoUninit> NoUninit for Pod<T> {}

impl<T> Pod<T> {
    /// Values as elements.
    pub fn slice(values: &[T]) -> &[Self] {
        Self::wrap_slice(values)
    }

    /// Values as elements that may be written.
    pub fn slice_mut(values: &mut [T]) -> &mut [Self] {
        Self::wrap_slice_mut(values)
    }

    /// Elements as values.
    pub fn values(elements: &[Self]) -> &[T] {
        Self::peel_slice(elements)
    }

    /// Elements as values, without a copy.
    pub fn into_values(elements: Vec<Self>) -> Vec<T> {
        bytemuck::allocation::TransparentWrapperAlloc::peel_vec(elements)
    }
}

// SAFETY: `bytemuck::Pod` promises that every bit pattern is valid and that there is no padding.
unsafe impl<T: bytemuck::Pod + Send + Sync> Element for Pod<T> {
    const ITEMS: usize = items::<Self>();

    fn datatype() -> Result<Datatype> {
        datatype_of::<Self>(&[Field::bytes(size_of::<T>())])
    }
}

impl<T: bytemuck::Pod + Send + Sync> SingleElement for Pod<T> {}

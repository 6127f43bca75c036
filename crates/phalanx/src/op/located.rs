//! Minimum and maximum with the place they come from.

use super::closure::prepare;
use super::{Prepared, Reduction};
use crate::datatype::{Datatype, Element, SingleElement};
use crate::error::Result;
use crate::raw::datatype;
use crate::record::Call;

/// Numbers that can be [`Located`]: those of 4 and 8 bytes.
pub trait Locatable: Element + PartialOrd + sealed::Sealed {
    /// An integer of the same size, so that a located value has no padding.
    type Index: Element + Ord + TryFrom<usize> + TryInto<usize>;

    /// The largest index.
    #[doc(hidden)]
    const LARGEST: Self::Index;
}

mod sealed {
    /// Keeps [`Locatable`](super::Locatable) to numbers: [`Located`](super::Located) relies on value
    /// and index having the same size.
    pub trait Sealed {}
}

macro_rules! locatable {
    ($($number:ty => $index:ty,)*) => {
        $(
            impl sealed::Sealed for $number {}

            impl Locatable for $number {
                type Index = $index;
                const LARGEST: $index = <$index>::MAX;
            }
        )*
    };
}

locatable! {
    i32 => u32, u32 => u32, f32 => u32,
    i64 => u64, u64 => u64, f64 => u64, isize => u64, usize => u64,
}

/// A value and where it comes from: a rank, or an index into some array.
///
/// ```
/// use phalanx::{Located, MinLoc, prelude::*};
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let energy = 10.0 - world.rank() as f64;
/// let least = world.allreduce(&Located::new(energy, world.rank()), MinLoc)?;
/// assert_eq!(least.index(), world.size() - 1);
/// # Ok(())
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Located<T: Locatable> {
    /// The value that is compared.
    pub value: T,
    index: T::Index,
}

impl<T: Locatable> Located<T> {
    /// A value and its place. Places that do not fit into 32 bits, with a value of 32 bits, become
    /// `u32::MAX`.
    pub fn new(value: T, index: usize) -> Self {
        Located { value, index: T::Index::try_from(index).unwrap_or(T::LARGEST) }
    }

    /// Where the value comes from.
    pub fn index(&self) -> usize {
        self.index.try_into().unwrap_or(usize::MAX)
    }
}

// SAFETY: value and index have the same size and alignment: no padding. All bit patterns are valid.
unsafe impl<T: Locatable> Element for Located<T> {
    const ITEMS: usize = {
        assert!(size_of::<Self>() == size_of::<T>() + size_of::<T::Index>());
        size_of::<Self>()
    };

    fn datatype() -> Result<Datatype> {
        Ok(datatype::uint8())
    }
}

impl<T: Locatable> SingleElement for Located<T> {}

/// The smallest value, and of equal ones the one with the lowest index. NaN is larger than all.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinLoc;

/// The largest value, and of equal ones the one with the lowest index. NaN is smaller than all.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaxLoc;

/// Chooses between two by whether the first value comes before the second.
fn better<T: Locatable>(
    a: Located<T>,
    b: Located<T>,
    before: impl Fn(&T, &T) -> bool,
) -> Located<T> {
    let is_nan = |x: &T| x.partial_cmp(x).is_none();
    match (is_nan(&a.value), is_nan(&b.value)) {
        (true, false) => b,
        (false, true) => a,
        _ if before(&a.value, &b.value) => a,
        _ if before(&b.value, &a.value) => b,
        _ if b.index < a.index => b,
        _ => a,
    }
}

impl<T: Locatable> Reduction<Located<T>> for MinLoc {
    fn prepare(self, call: &Call<'_>) -> Result<Prepared> {
        prepare(call, |a: Located<T>, b| better(a, b, |x, y| x < y), true)
    }
}

impl<T: Locatable> Reduction<Located<T>> for MaxLoc {
    fn prepare(self, call: &Call<'_>) -> Result<Prepared> {
        prepare(call, |a: Located<T>, b| better(a, b, |x, y| x > y), true)
    }
}

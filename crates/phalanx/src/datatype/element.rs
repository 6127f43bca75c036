//! Types whose values are their bytes.

use std::any::TypeId;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

use crate::error::Result;
use crate::raw::datatype::{self, Datatype};

/// A type that travels as it lies in memory: every bit pattern of it is a valid value.
///
/// Numbers, arrays of elements and structs with [`#[derive(Element)]`](macro@crate::Element) are
/// elements. `bool`, `char`, enums and references are not (a byte from another rank could make an
/// invalid one), nor are structs with padding (its bytes have no value): send those as objects, with
/// [`send_object`](crate::Comm::send_object).
///
/// # Safety
/// Every sequence of `size_of::<Self>()` initialised bytes is a valid value, the type has no padding,
/// and [`ITEMS`](Element::ITEMS) items of the datatype describe all of its bytes.
///
/// # Example
/// ```
/// use phalanx::prelude::*;
///
/// #[derive(Clone, Copy, Debug, PartialEq, Element)]
/// #[repr(C)]
/// struct Particle {
///     position: [f64; 3],
///     mass: f64,
/// }
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let sun = Particle { position: [0.0; 3], mass: 2e30 };
/// assert_eq!(world.allgather(&sun)?, vec![sun; world.size()]);
/// # Ok(())
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel typed: not every bit pattern of it is known to be a valid value",
    label = "not an `Element`",
    note = "numbers, arrays of elements and `#[repr(C)]` structs with `#[derive(Element)]` are elements",
    note = "any serde value travels as an object: `send_object`, `bcast_object`, …"
)]
pub unsafe trait Element: Copy + Send + Sync + 'static {
    /// Items of the datatype in one element.
    const ITEMS: usize = 1;

    /// The MPI datatype of one item.
    ///
    /// # Errors
    /// When a datatype has to be built: if MPI is not running or this thread may not call it.
    fn datatype() -> Result<Datatype>;
}

/// An element that is a value by itself: every element but arrays.
///
/// A single element given to an operation is a buffer of one; an array is a buffer of its elements.
/// [`#[derive(Element)]`](macro@crate::Element) implements both traits.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel typed: not every bit pattern of it is known to be a valid value",
    label = "not an `Element`",
    note = "typed operations take `T`, `[T; N]`, `[T]`, `Vec<T>` and `Strided<T>` where `T: Element`",
    note = "numbers, arrays of elements and `#[repr(C)]` structs with `#[derive(Element)]` are elements",
    note = "any serde value travels as an object: `send_object`, `bcast_object`, …"
)]
pub trait SingleElement: Element {}

impl SingleElement for u128 {}
impl SingleElement for i128 {}

macro_rules! elements {
    ($($rust:ty => $datatype:ident,)*) => {
        $(
            // SAFETY: every bit pattern of a number is a number, and the MPI type has its size.
            unsafe impl Element for $rust {
                #[inline(always)]
                fn datatype() -> Result<Datatype> {
                    Ok(datatype::$datatype())
                }
            }

            impl SingleElement for $rust {}
        )*
    };
}

elements! {
    i8 => int8, i16 => int16, i32 => int32, i64 => int64,
    u8 => uint8, u16 => uint16, u32 => uint32, u64 => uint64,
    f32 => float, f64 => double,
}

#[cfg(target_pointer_width = "64")]
elements! { isize => int64, usize => uint64, }
#[cfg(target_pointer_width = "32")]
elements! { isize => int32, usize => uint32, }

// SAFETY: every bit pattern is an integer; two items of 64 bits cover all bytes.
unsafe impl Element for u128 {
    const ITEMS: usize = 2;

    fn datatype() -> Result<Datatype> {
        Ok(datatype::uint64())
    }
}

// SAFETY: every bit pattern is an integer; two items of 64 bits cover all bytes.
unsafe impl Element for i128 {
    const ITEMS: usize = 2;

    fn datatype() -> Result<Datatype> {
        Ok(datatype::uint64())
    }
}

// SAFETY: an array has no padding between its elements and none of its own.
unsafe impl<T: Element, const N: usize> Element for [T; N] {
    const ITEMS: usize = N * T::ITEMS;

    #[inline(always)]
    fn datatype() -> Result<Datatype> {
        T::datatype()
    }
}

/// A datatype of which one item is a whole element. A reduction with a closure needs it: MPI may cut
/// a buffer between any two items.
pub(crate) fn whole_element<T: Element>(location: &'static Location<'static>) -> Result<Datatype> {
    static BUILT: Mutex<Option<HashMap<TypeId, Datatype>>> = Mutex::new(None);
    if T::ITEMS == 1 {
        return T::datatype();
    }
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    if let Some(&datatype) = built.get(&TypeId::of::<T>()) {
        return Ok(datatype);
    }
    let datatype = datatype::contiguous(T::ITEMS, T::datatype()?, location)?;
    built.insert(TypeId::of::<T>(), datatype);
    Ok(datatype)
}

//! Types that MPI may read and write directly in memory.

use std::marker::PhantomData;
use std::panic::Location;

use super::registry;
use crate::error::Result;
use crate::raw::datatype::{self, Datatype};

/// A type that is sent directly from memory: every bit pattern of it is a valid value.
///
/// Numbers, arrays of elements and structs with [`#[derive(Element)]`](macro@crate::Element) are
/// elements. `bool`, `char`, enums and references are not (a byte from another rank could make an
/// invalid one), nor are structs with padding (its bytes are undefined): send those as objects, with
/// [`send_object`](crate::Comm::send_object). Types of other crates become elements with a feature of
/// this one: `num-complex`, `half`, `bytemuck`.
///
/// # Elements of no size
/// `()` (in a field or a vector), `[T; 0]`, `PhantomData` and structs of them are elements. Any number of them is a message of 0
/// bytes. So a receive of unknown length (`Vec`, `Box<[T]>`) returns an empty one, and its
/// [`Status::len`](crate::Status) is 0; a receive of known length (one element, an array, a buffer)
/// succeeds; collectives return as many elements as for any other type.
///
/// # Safety
/// - Every sequence of `size_of::<Self>()` initialised bytes is a valid value.
/// - The type has no padding, or else [`ITEMS`](Element::ITEMS) does not compile: whoever reads elements as
///   bytes evaluates it. (The derive checks generic structs there, for each of their types.)
/// - `ITEMS` items of the datatype describe all bytes of the type; `ITEMS` is 0 exactly if its size is 0.
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
    const ITEMS: usize = {
        assert!(size_of::<Self>() > 0, "an element of no size has no items");
        1
    };

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

// It is no `SingleElement`: where nothing says what `recv` returns, the compiler may choose `()`, and the
// program would compile.
// SAFETY: there are no bytes.
unsafe impl Element for () {
    const ITEMS: usize = 0;

    fn datatype() -> Result<Datatype> {
        Ok(datatype::uint8())
    }
}

// SAFETY: there are no bytes.
unsafe impl<T: Send + Sync + 'static> Element for PhantomData<T> {
    const ITEMS: usize = 0;

    fn datatype() -> Result<Datatype> {
        Ok(datatype::uint8())
    }
}

impl<T: Send + Sync + 'static> SingleElement for PhantomData<T> {}

/// A datatype of which one item is a whole element, and how many such items an element has: one, or none
/// if it has no size. A reduction with a closure needs it: MPI may cut a buffer between any two items.
pub(crate) fn whole_element<T: Element>(
    location: &'static Location<'static>,
) -> Result<(Datatype, usize)> {
    match T::ITEMS {
        0 | 1 => Ok((T::datatype()?, T::ITEMS)),
        items => {
            let build = || datatype::contiguous(items, T::datatype()?, location);
            Ok((registry::whole::<T>(build)?, 1))
        }
    }
}

/// Elements in a message of so many bytes. `None` if that is no whole number of them.
#[inline(always)]
pub(crate) fn elements_in<T: Element>(bytes: usize) -> Option<usize> {
    match size_of::<T>() {
        0 => (bytes == 0).then_some(0),
        size => bytes.is_multiple_of(size).then_some(bytes / size),
    }
}

/// Whether a message in which so many elements were counted holds all that were expected. Elements of no
/// size leave no trace in a message.
#[inline(always)]
pub(crate) fn is_all<T: Element>(expected: usize, counted: usize) -> bool {
    counted == expected || size_of::<T>() == 0
}

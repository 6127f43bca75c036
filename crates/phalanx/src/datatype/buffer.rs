//! Buffers of elements: what typed operations take and return.

use std::ptr::NonNull;

use super::{Element, SingleElement, Strided, StridedMut};
use crate::error::Result;
use crate::raw::{View, ViewMut, datatype};
use crate::record::{Call, name_of};

/// What a typed send takes: an element, a slice, a `Vec`, a boxed slice, a [`Strided`] view; with the feature
/// `ndarray` also an array whose elements lie in memory one after another.
///
/// # Safety
/// `view` describes memory of `self` that holds initialised elements.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent typed",
    note = "typed operations take `T`, `[T; N]`, `[T]`, `Vec<T>` and `Strided<T>` where `T: Element`",
    note = "any serde value travels as an object: `send_object`, `bcast_object`, …"
)]
pub unsafe trait Payload {
    /// What it holds.
    type Element: Element;

    #[doc(hidden)]
    fn view(&self) -> Result<View<'_>>;
}

/// What a typed receive fills: the exclusive forms of [`Payload`].
///
/// # Safety
/// `view_mut` describes memory of `self` that may be overwritten with any elements.
pub unsafe trait PayloadMut: Payload {
    #[doc(hidden)]
    fn view_mut(&mut self) -> Result<ViewMut<'_>>;
}

/// Elements that lie next to each other: what collectives take.
pub trait Buffer: Payload {
    /// The same shape as a value of its own: `T` for `T`, `Vec<T>` for a slice.
    type Owned: BufferMut<Element = Self::Element> + Send + 'static;

    /// The elements.
    fn elements(&self) -> &[Self::Element];

    /// A value of the same shape and length, all zero, for a result to be written into.
    #[doc(hidden)]
    fn zeroed(&self) -> Self::Owned;
}

/// Elements that lie next to each other and may be changed.
pub trait BufferMut: Buffer + PayloadMut {
    /// The elements.
    fn elements_mut(&mut self) -> &mut [Self::Element];
}

const fn item_size<T: Element>() -> usize {
    match size_of::<T>().checked_div(T::ITEMS) {
        Some(size) => size,
        None => 0,
    }
}

#[inline(always)]
pub(crate) fn view_of<'a, T: Element>(call: &Call<'_>, elements: &'a [T]) -> Result<View<'a>> {
    let datatype = T::datatype().map_err(|error| error.at(call))?.0;
    let (pointer, items) = (elements.as_ptr().cast(), elements.len() * T::ITEMS);
    // SAFETY: a slice of elements is `len * ITEMS` items of their datatype.
    Ok(unsafe { View::new(pointer, items, datatype, item_size::<T>(), name_of::<T>) })
}

#[inline(always)]
pub(crate) fn view_of_mut<'a, T: Element>(
    call: &Call<'_>,
    elements: &'a mut [T],
) -> Result<ViewMut<'a>> {
    let datatype = T::datatype().map_err(|error| error.at(call))?.0;
    let items = elements.len() * T::ITEMS;
    // SAFETY: as above, and every bit pattern of an element is valid.
    Ok(unsafe {
        let pointer = elements.as_mut_ptr().cast();
        ViewMut::new(pointer, items, datatype, item_size::<T>(), name_of::<T>)
    })
}

/// What a call sends. A view does not know for which call it is made: its error becomes one of this call.
#[inline(always)]
pub(crate) fn sent<'a, P: Payload + ?Sized>(call: &Call<'_>, data: &'a P) -> Result<View<'a>> {
    data.view().map_err(|error| error.at(call))
}

/// The same for what a call fills.
#[inline(always)]
pub(crate) fn filled<'a, P: PayloadMut + ?Sized>(
    call: &Call<'_>,
    buffer: &'a mut P,
) -> Result<ViewMut<'a>> {
    buffer.view_mut().map_err(|error| error.at(call))
}

/// Does not compile if an element has padding, whose bytes must not be read.
#[inline(always)]
pub(crate) const fn no_padding<T: Element>() {
    const { assert!(T::ITEMS > 0 || size_of::<T>() == 0) }
}

/// A slice as bytes, which is how point-to-point messages travel: MPICH 5 ends the process when a
/// message is no whole number of the receiver's datatype.
#[inline(always)]
pub(super) fn bytes_of<T: Element>(elements: &[T]) -> View<'_> {
    no_padding::<T>();
    // SAFETY: elements have no padding, so all of their bytes may be read.
    unsafe {
        let (pointer, bytes) = (elements.as_ptr().cast(), size_of_val(elements));
        View::new(pointer, bytes, datatype::uint8().0, 1, name_of::<T>)
    }
}

/// The same to be written.
#[inline(always)]
pub(super) fn bytes_of_mut<T: Element>(elements: &mut [T]) -> ViewMut<'_> {
    let bytes = size_of_val(elements);
    // SAFETY: every bit pattern of an element is valid.
    unsafe {
        let pointer = elements.as_mut_ptr().cast();
        ViewMut::new(pointer, bytes, datatype::uint8().0, 1, name_of::<T>)
    }
}

/// A slice as plain bytes, for files.
pub(crate) fn as_bytes<T: Element>(elements: &[T]) -> &[u8] {
    no_padding::<T>();
    // SAFETY: elements have no padding, so all of their bytes may be read.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// The same to be written.
pub(crate) fn as_bytes_mut<T: Element>(elements: &mut [T]) -> &mut [u8] {
    let bytes = size_of_val(elements);
    // SAFETY: every bit pattern of an element is valid.
    unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), bytes) }
}

fn zero<T: Element>() -> T {
    // SAFETY: every bit pattern of an element is valid.
    unsafe { std::mem::zeroed() }
}

/// `len` zeros. Large ones come as untouched pages of the operating system.
///
/// # Panics
/// If there is no memory for them.
pub(crate) fn zeros<T: Element>(len: usize) -> Vec<T> {
    let name = std::any::type_name::<T>();
    try_zeros(len).unwrap_or_else(|| panic!("there is no memory for {len} elements of type {name}"))
}

/// [`zeros`], or `None` if there is no memory for them.
pub(crate) fn try_zeros<T: Element>(len: usize) -> Option<Vec<T>> {
    if size_of::<T>() == 0 {
        // SAFETY: elements of no size need no memory, and there is a value of them.
        let elements = unsafe { Vec::from_raw_parts(NonNull::dangling().as_ptr(), len, len) };
        return Some(elements);
    }
    if len == 0 {
        return Some(Vec::new());
    }
    let layout = std::alloc::Layout::array::<T>(len).ok()?;
    // SAFETY: the layout has a size; zero bytes are valid elements; the vector takes over an
    // allocation of the global allocator with the layout that it frees.
    unsafe {
        let memory = std::alloc::alloc_zeroed(layout);
        (!memory.is_null()).then(|| Vec::from_raw_parts(memory.cast(), len, len))
    }
}

/// Implements the four traits for a type that derefs to a slice.
macro_rules! slices {
    ($($type:ty, $owned:ty;)*) => {
        $(
            // SAFETY: the view is that of the slice.
            unsafe impl<T: Element> Payload for $type {
                type Element = T;

                #[inline(always)]
                fn view(&self) -> Result<View<'_>> {
                    Ok(bytes_of::<T>(self))
                }
            }

            // SAFETY: as above.
            unsafe impl<T: Element> PayloadMut for $type {
                #[inline(always)]
                fn view_mut(&mut self) -> Result<ViewMut<'_>> {
                    Ok(bytes_of_mut::<T>(self))
                }
            }

            impl<T: Element> Buffer for $type {
                type Owned = $owned;

                #[inline(always)]
                fn elements(&self) -> &[T] {
                    self
                }

                fn zeroed(&self) -> $owned {
                    zeros(self.len()).into()
                }
            }

            impl<T: Element> BufferMut for $type {
                #[inline(always)]
                fn elements_mut(&mut self) -> &mut [T] {
                    self
                }
            }
        )*
    };
}

slices! {
    [T], Vec<T>;
    Vec<T>, Vec<T>;
    Box<[T]>, Box<[T]>;
}

// SAFETY: the view is that of the slice.
unsafe impl<T: Element, const N: usize> Payload for [T; N] {
    type Element = T;

    #[inline(always)]
    fn view(&self) -> Result<View<'_>> {
        Ok(bytes_of::<T>(self))
    }
}

// SAFETY: as above.
unsafe impl<T: Element, const N: usize> PayloadMut for [T; N] {
    #[inline(always)]
    fn view_mut(&mut self) -> Result<ViewMut<'_>> {
        Ok(bytes_of_mut::<T>(self))
    }
}

impl<T: Element, const N: usize> Buffer for [T; N] {
    type Owned = [T; N];

    #[inline(always)]
    fn elements(&self) -> &[T] {
        self
    }

    #[inline(always)]
    fn zeroed(&self) -> [T; N] {
        [zero(); N]
    }
}

impl<T: Element, const N: usize> BufferMut for [T; N] {
    #[inline(always)]
    fn elements_mut(&mut self) -> &mut [T] {
        self
    }
}

// SAFETY: the view is that of a slice of one element.
unsafe impl<T: SingleElement> Payload for T {
    type Element = T;

    #[inline(always)]
    fn view(&self) -> Result<View<'_>> {
        Ok(bytes_of(std::slice::from_ref(self)))
    }
}

// SAFETY: as above.
unsafe impl<T: SingleElement> PayloadMut for T {
    #[inline(always)]
    fn view_mut(&mut self) -> Result<ViewMut<'_>> {
        Ok(bytes_of_mut(std::slice::from_mut(self)))
    }
}

impl<T: SingleElement> Buffer for T {
    type Owned = T;

    #[inline(always)]
    fn elements(&self) -> &[T] {
        std::slice::from_ref(self)
    }

    #[inline(always)]
    fn zeroed(&self) -> T {
        zero()
    }
}

impl<T: SingleElement> BufferMut for T {
    #[inline(always)]
    fn elements_mut(&mut self) -> &mut [T] {
        std::slice::from_mut(self)
    }
}

// SAFETY: the bounds were checked when the view was made.
unsafe impl<T: Element> Payload for Strided<'_, T> {
    type Element = T;

    fn view(&self) -> Result<View<'_>> {
        Ok(self.raw_view())
    }
}

// SAFETY: the bounds were checked when the view was made.
unsafe impl<T: Element> Payload for StridedMut<'_, T> {
    type Element = T;

    fn view(&self) -> Result<View<'_>> {
        Ok(self.raw_view())
    }
}

// SAFETY: as above, and the view borrows its slice exclusively.
unsafe impl<T: Element> PayloadMut for StridedMut<'_, T> {
    fn view_mut(&mut self) -> Result<ViewMut<'_>> {
        Ok(self.raw_view_mut())
    }
}

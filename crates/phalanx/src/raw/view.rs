//! What an MPI call sees of a buffer: pointer, items, datatype. Made from Rust references only.

use std::marker::PhantomData;
use std::os::raw::{c_int, c_void};

use phalanx_sys as ffi;

use super::large::Counted;
use crate::error::Result;
use crate::record::{Call, Name, no_name};

/// The element of a serialised value.
pub(crate) fn object() -> &'static str {
    "a serde value"
}

/// Memory that MPI reads.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) pointer: *const c_void,
    /// Items of the datatype.
    pub(crate) items: usize,
    pub(crate) datatype: ffi::MPI_Datatype,
    item_bytes: usize,
    /// The Rust type of the elements, for who wants to compare or to tell it.
    pub(crate) element: Name,
    lifetime: PhantomData<&'a [u8]>,
}

/// Memory that MPI writes.
pub struct ViewMut<'a> {
    pub(crate) pointer: *mut c_void,
    /// Items of the datatype.
    pub(crate) items: usize,
    pub(crate) datatype: ffi::MPI_Datatype,
    item_bytes: usize,
    /// The Rust type of the elements, for who wants to compare or to tell it.
    pub(crate) element: Name,
    lifetime: PhantomData<&'a mut [u8]>,
}

impl<'a> View<'a> {
    /// # Safety
    /// For `'a`, `items` items of `datatype` starting at `pointer` lie in memory that may be read.
    #[inline(always)]
    pub(crate) unsafe fn new(
        pointer: *const c_void,
        items: usize,
        datatype: ffi::MPI_Datatype,
        item_bytes: usize,
        element: Name,
    ) -> Self {
        View { pointer, items, datatype, item_bytes, element, lifetime: PhantomData }
    }

    /// No memory at all: what a rank passes that has nothing to send.
    pub(crate) fn empty() -> View<'static> {
        View {
            pointer: std::ptr::null(),
            items: 0,
            datatype: ffi::phx_byte(),
            item_bytes: 1,
            element: object,
            lifetime: PhantomData,
        }
    }

    /// The first `items` items.
    #[inline(always)]
    pub(crate) fn first(self, items: usize) -> Self {
        View { items: items.min(self.items), ..self }
    }

    /// Plain bytes.
    #[inline]
    pub(crate) fn bytes(bytes: &'a [u8]) -> Self {
        View {
            pointer: bytes.as_ptr().cast(),
            items: bytes.len(),
            datatype: ffi::phx_byte(),
            item_bytes: 1,
            element: object,
            lifetime: PhantomData,
        }
    }

    /// Bytes of one item.
    #[inline(always)]
    pub(crate) fn item_bytes(&self) -> usize {
        self.item_bytes
    }

    /// How much it is.
    #[inline(always)]
    pub(crate) fn bytes_in_all(&self) -> usize {
        self.items.saturating_mul(self.item_bytes)
    }

    /// Plain bytes that stand for the elements of another view.
    pub(crate) fn copy_of(bytes: &'a [u8], original: &View<'_>) -> Self {
        View { element: original.element, ..View::bytes(bytes) }
    }

    #[inline(always)]
    pub(crate) fn counted(&self, call: &Call<'_>) -> Result<Counted> {
        Counted::new(call, self.items, self.datatype)
    }
}

impl<'a> ViewMut<'a> {
    /// # Safety
    /// For `'a`, `items` items of `datatype` starting at `pointer` lie in memory that may be written
    /// with any bytes and that nobody else uses.
    #[inline(always)]
    pub(crate) unsafe fn new(
        pointer: *mut c_void,
        items: usize,
        datatype: ffi::MPI_Datatype,
        item_bytes: usize,
        element: Name,
    ) -> Self {
        ViewMut { pointer, items, datatype, item_bytes, element, lifetime: PhantomData }
    }

    /// No memory at all: what a rank passes that receives nothing.
    pub(crate) fn empty() -> ViewMut<'static> {
        ViewMut {
            pointer: std::ptr::null_mut(),
            items: 0,
            datatype: ffi::phx_byte(),
            item_bytes: 1,
            element: object,
            lifetime: PhantomData,
        }
    }

    /// Plain bytes.
    #[inline]
    pub(crate) fn bytes(bytes: &'a mut [u8]) -> Self {
        ViewMut {
            pointer: bytes.as_mut_ptr().cast(),
            items: bytes.len(),
            datatype: ffi::phx_byte(),
            item_bytes: 1,
            element: object,
            lifetime: PhantomData,
        }
    }

    /// The same memory for a message of any type.
    pub(crate) fn of_anything(self) -> Self {
        ViewMut { element: no_name, ..self }
    }

    /// The same memory, to be looked at.
    #[inline(always)]
    pub(crate) fn reborrow(&self) -> View<'_> {
        View {
            pointer: self.pointer,
            items: self.items,
            datatype: self.datatype,
            item_bytes: self.item_bytes,
            element: self.element,
            lifetime: PhantomData,
        }
    }

    /// Bytes of one item.
    #[inline(always)]
    pub(crate) fn item_bytes(&self) -> usize {
        self.item_bytes
    }

    /// How much it is.
    #[inline(always)]
    pub(crate) fn bytes_in_all(&self) -> usize {
        self.items.saturating_mul(self.item_bytes)
    }

    #[inline(always)]
    pub(crate) fn counted(&self, call: &Call<'_>) -> Result<Counted> {
        Counted::new(call, self.items, self.datatype)
    }
}

/// One number for each rank, as C wants it.
#[inline(always)]
pub(crate) fn pointer_of(numbers: &[c_int]) -> *const c_int {
    numbers.as_ptr()
}

//! What an MPI call sees of a buffer: pointer, items, datatype. Made from Rust references only.

use std::marker::PhantomData;
use std::os::raw::{c_int, c_void};

use phalanx_sys as ffi;

use super::large::Counted;
use super::mark::Start;
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

/// Memory that a receive has filled, as its end sees it.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub element: Name,
    /// In bytes.
    pub room: usize,
    pub start: Start,
}

impl Target {
    /// Memory of which nothing is known.
    pub const UNKNOWN: Target = Target { element: no_name, room: 0, start: Start::NONE };
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
            element: no_name,
            lifetime: PhantomData,
        }
    }

    /// Whether its items are bytes, one after the other.
    pub(crate) fn is_bytes(&self) -> bool {
        self.datatype == ffi::phx_byte() || self.datatype == super::datatype::uint8().0
    }

    /// The same view in another place, for a function off the hot path: see [`Call::copy`].
    #[inline(always)]
    pub(crate) fn copy(&self) -> Self {
        *self
    }

    /// The first `items` items.
    #[inline(always)]
    pub(crate) fn first(self, items: usize) -> Self {
        View { items: items.min(self.items), ..self }
    }

    /// `items` items from `start` on. Items that are not there are left out.
    pub(crate) fn piece(self, start: usize, items: usize) -> Self {
        let start = start.min(self.items);
        // Within the memory that is lent.
        let pointer = self.pointer.wrapping_byte_add(start * self.item_bytes);
        View { pointer, items: items.min(self.items - start), ..self }
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
            element: no_name,
            lifetime: PhantomData,
        }
    }

    /// `items` items from `start` on. Items that are not there are left out.
    pub(crate) fn piece(&mut self, start: usize, items: usize) -> ViewMut<'_> {
        let start = start.min(self.items);
        // Within the memory that is lent.
        let pointer = self.pointer.wrapping_byte_add(start * self.item_bytes);
        ViewMut {
            pointer,
            items: items.min(self.items - start),
            datatype: self.datatype,
            item_bytes: self.item_bytes,
            element: self.element,
            lifetime: PhantomData,
        }
    }

    /// Copies all items of another view of the same elements, as far as there is room.
    pub(crate) fn copy_from(&mut self, from: &View<'_>) {
        let bytes = self.bytes_in_all().min(from.bytes_in_all());
        if bytes > 0 {
            // SAFETY: both views lend so many bytes, and one of them mutably: they do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(from.pointer, self.pointer, bytes) };
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

    /// The same view in another place, for a function off the hot path: see [`Call::copy`].
    #[inline(always)]
    pub(crate) fn moved(self) -> Self {
        ViewMut { ..self }
    }

    /// Bytes of an object, which need not be initialised.
    ///
    /// # Safety
    /// As for [`new`](ViewMut::new).
    pub(crate) unsafe fn object(pointer: *mut u8, bytes: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { ViewMut::new(pointer.cast(), bytes, ffi::phx_byte(), 1, object) }
    }

    /// Whether it is elements that lie together as bytes, which is how typed messages travel. The bytes of an
    /// object have another datatype.
    #[inline(always)]
    pub(crate) fn holds_elements(&self) -> bool {
        self.datatype == super::datatype::uint8().0
    }

    /// What a receive has to know of this memory when it is complete.
    #[inline(always)]
    pub(crate) fn target(&self) -> Target {
        Target { element: self.element, room: self.bytes_in_all(), start: Start::of(self) }
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

/// Memory of our own for items of any view.
#[derive(Default)]
pub(crate) struct Scratch(Vec<u64>);

impl Scratch {
    /// Room for `items` items like those of a view.
    pub(crate) fn like(&mut self, view: &View<'_>, items: usize) -> ViewMut<'_> {
        self.0 = vec![0; items.saturating_mul(view.item_bytes).div_ceil(size_of::<u64>())];
        self.as_view(view, items)
    }

    /// The same room once more.
    pub(crate) fn as_view(&mut self, view: &View<'_>, items: usize) -> ViewMut<'_> {
        let there = (self.0.len() * size_of::<u64>()).checked_div(view.item_bytes);
        ViewMut {
            pointer: self.0.as_mut_ptr().cast(),
            items: there.map_or(items, |there| there.min(items)),
            datatype: view.datatype,
            item_bytes: view.item_bytes,
            element: view.element,
            lifetime: PhantomData,
        }
    }
}

/// One number for each rank, as C wants it.
#[inline(always)]
pub(crate) fn pointer_of(numbers: &[c_int]) -> *const c_int {
    numbers.as_ptr()
}

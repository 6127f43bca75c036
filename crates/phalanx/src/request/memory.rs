//! Bytes for what is received before anybody knows as what.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use crate::datatype::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::{ViewMut, datatype};
use crate::record::{Call, Name};

/// Bytes of a certain alignment, not initialised. They stay where they are when this moves, so that MPI may
/// write them meanwhile.
pub(crate) struct Memory {
    pointer: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its bytes.
unsafe impl Send for Memory {}

impl Memory {
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) if there is no memory for so much: the length came in a message.
    pub fn new(call: &Call<'_>, bytes: usize, alignment: usize) -> Result<Self> {
        let refused = || {
            let detail = format!("there is no memory for a message of {bytes} bytes");
            Error::new(ErrorKind::Decode, call, detail)
        };
        let layout = Layout::from_size_align(bytes, alignment).map_err(|_| refused())?;
        if bytes == 0 {
            return Ok(Memory { pointer: NonNull::dangling(), layout });
        }
        // SAFETY: the layout has a size.
        let pointer = unsafe { alloc(layout) };
        NonNull::new(pointer).map(|pointer| Memory { pointer, layout }).ok_or_else(refused)
    }

    pub fn len(&self) -> usize {
        self.layout.size()
    }

    /// The bytes from `start` to be received into, as elements of any type or as those of an object.
    ///
    /// # Safety
    /// Nobody uses these bytes until the receive is complete.
    pub unsafe fn view(&self, start: usize, element: Option<Name>) -> ViewMut<'_> {
        let start = start.min(self.len());
        // SAFETY: the bytes belong to this allocation; the caller lends them.
        unsafe {
            let pointer = self.pointer.as_ptr().add(start);
            let length = self.len() - start;
            match element {
                Some(element) => {
                    ViewMut::new(pointer.cast(), length, datatype::uint8().0, 1, element)
                }
                None => ViewMut::object(pointer, length),
            }
        }
    }

    /// Writes the first bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        let length = bytes.len().min(self.len());
        // SAFETY: both are valid for so many bytes, and cannot overlap: this is borrowed exclusively.
        unsafe { self.pointer.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), length) };
    }

    /// The first bytes.
    ///
    /// # Safety
    /// So many bytes have been written, and no receive is in flight.
    pub unsafe fn first(&self, length: usize) -> &[u8] {
        // SAFETY: the caller's promise; no more than there are.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), length.min(self.len())) }
    }

    /// Elements made of all the bytes, which are a whole number of them. Without a copy where the alignment
    /// is that of the elements.
    ///
    /// # Safety
    /// All bytes have been written.
    pub unsafe fn into_elements<T: Element>(self) -> Vec<T> {
        let len = self.len().checked_div(size_of::<T>()).unwrap_or(0);
        if len == 0 {
            return Vec::new();
        }
        let pointer: *mut T = self.pointer.as_ptr().cast();
        if self.layout.align() != align_of::<T>() || self.len() != len * size_of::<T>() {
            let mut elements = Vec::with_capacity(len);
            // SAFETY: all bytes are written; the vector has room for `len` elements; every bit pattern of
            // an element is valid.
            unsafe {
                let target: *mut T = elements.as_mut_ptr();
                target.cast::<u8>().copy_from_nonoverlapping(pointer.cast(), len * size_of::<T>());
                elements.set_len(len);
            }
            return elements;
        }
        std::mem::forget(self);
        // SAFETY: the memory is of the global allocator, with the layout of `len` elements.
        unsafe { Vec::from_raw_parts(pointer, len, len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: it was allocated with this layout.
            unsafe { dealloc(self.pointer.as_ptr(), self.layout) };
        }
    }
}

//! An allocation whose content never moves and of which raw pointers may exist.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Like `Box`, but without its promise to be the only pointer: MPI holds others while an operation is
/// in flight, and moving a `Box` would make them invalid.
pub(super) struct Stable<T: ?Sized>(NonNull<T>);

// SAFETY: it owns its content, as a `Box` does.
unsafe impl<T: ?Sized + Send> Send for Stable<T> {}

impl<T> Stable<T> {
    pub fn new(content: T) -> Self {
        // A box is never null.
        Stable(NonNull::from(Box::leak(Box::new(content))))
    }

    /// The same allocation behind a trait object.
    pub fn erase<U: ?Sized>(self, coerce: impl FnOnce(*mut T) -> *mut U) -> Stable<U> {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        // SAFETY: an unsizing coercion keeps the address, which is not null.
        Stable(unsafe { NonNull::new_unchecked(coerce(pointer)) })
    }
}

impl<T: ?Sized> Deref for Stable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the allocation lives as long as `self`.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for Stable<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the allocation lives as long as `self`.
        unsafe { self.0.as_mut() }
    }
}

impl<T: ?Sized> Drop for Stable<T> {
    fn drop(&mut self) {
        // SAFETY: it was made by `Box::leak` and is freed once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

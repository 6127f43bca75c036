//! Memory that MPI reads and writes while an operation is in flight.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// An allocation whose content never moves, and that nobody looks at until it is taken out.
///
/// MPI holds pointers into it meanwhile. A reference to something that contains the content, or a `Box`
/// of it that is moved, would claim to be its only user and make those pointers invalid, buffers
/// that are stored inline (arrays, single elements) above all. So there is no way to a reference but
/// the one that starts the operation.
pub(super) struct Stable<S>(NonNull<S>);

// SAFETY: it owns its content, as a `Box` does.
unsafe impl<S: Send> Send for Stable<S> {}

impl<S> Stable<S> {
    pub fn new(content: S) -> Self {
        Stable(NonNull::from(Box::leak(Box::new(content))))
    }

    /// Lends the content to the call that starts the operation. What that call keeps are pointers made
    /// from this reference, so it is lent once.
    pub fn lend(&mut self) -> &mut S {
        // SAFETY: the allocation lives as long as `self`, and no other reference to it exists.
        unsafe { self.0.as_mut() }
    }

    /// Gives the content back when the operation is over.
    pub fn into_inner(self) -> S {
        let pointer = ManuallyDrop::new(self).0;
        // SAFETY: it was made by `Box::leak`, and is owned again by this box alone.
        *unsafe { Box::from_raw(pointer.as_ptr()) }
    }
}

impl<S> Drop for Stable<S> {
    fn drop(&mut self) {
        // SAFETY: it was made by `Box::leak` and is freed once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Under Miri these are a model of what the library does: `cargo +nightly miri test -p phalanx --lib stable`.
#[cfg(test)]
mod tests {
    use super::*;

    /// A library that keeps a pointer, and writes when it likes.
    struct Library {
        target: *mut u64,
        length: usize,
    }

    // SAFETY: the test writes through the pointer from one thread at a time.
    unsafe impl Send for Library {}

    impl Library {
        fn start(buffer: &mut [u64]) -> Self {
            Library { target: buffer.as_mut_ptr(), length: buffer.len() }
        }

        fn write(&self, value: u64) {
            for index in 0..self.length {
                // SAFETY: the buffer has so many elements, and its owner keeps it in place.
                unsafe { self.target.add(index).write(value + index as u64) };
            }
        }
    }

    /// A request as this crate has them: its owner looks at its other parts while it is in flight.
    struct Request<S> {
        looks: usize,
        storage: Option<Stable<S>>,
    }

    trait Look {
        fn look(&mut self) -> usize;
    }

    impl<S> Look for Request<S> {
        fn look(&mut self) -> usize {
            self.looks += 1;
            self.looks
        }
    }

    fn request<S>(content: S, start: impl FnOnce(&mut S) -> Library) -> (Request<S>, Library) {
        let mut storage = Stable::new(content);
        let library = start(storage.lend());
        (Request { looks: 0, storage: Some(storage) }, library)
    }

    #[test]
    fn a_buffer_that_is_stored_inline_is_written_while_its_request_is_used_and_moved() {
        let (mut request, library) = request([0_u64; 4], |buffer| Library::start(buffer));
        library.write(1);
        assert_eq!(request.look(), 1);
        library.write(2);
        // Moved into a box, looked at through a trait object, moved out again.
        let mut moved = Box::new(request);
        let object: &mut dyn Look = &mut *moved;
        assert_eq!(object.look(), 2);
        library.write(3);
        let mut request = *moved;
        library.write(4);
        assert_eq!(request.look(), 3);
        let content = request.storage.take().map(Stable::into_inner);
        assert_eq!(content, Some([4, 5, 6, 7]));
    }

    #[test]
    fn buffers_beside_each_other_are_lent_together() {
        // What a reduction keeps: what it sends, what it receives, and more that is not MPI's.
        let content = (vec![1_u64; 3], [0_u64; 3], String::from("the operation"));
        let (request, library) = request(content, |(_, result, _)| Library::start(result));
        let mut list = vec![request];
        list.reserve(100);
        library.write(10);
        let content = list.pop().and_then(|mut it| it.storage.take()).map(Stable::into_inner);
        assert_eq!(content, Some((vec![1; 3], [10, 11, 12], String::from("the operation"))));
    }

    #[test]
    fn another_thread_completes_and_a_request_that_is_dropped_frees_its_buffer() {
        let (request, library) = request([0_u64; 2], |buffer| Library::start(buffer));
        let content = std::thread::spawn(move || {
            library.write(8);
            let mut request = request;
            request.storage.take().map(Stable::into_inner)
        });
        assert_eq!(content.join().expect("no panic"), Some([8, 9]));

        let (dropped, library) = self::request(vec![0_u64; 2], |buffer| Library::start(buffer));
        library.write(1);
        drop(dropped);
    }
}

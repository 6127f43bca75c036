//! Closures as reduction operations.

use std::marker::PhantomData;
use std::os::raw::c_void;
use std::sync::Arc;

use super::{Prepared, Reduction};
use crate::datatype::Element;
use crate::error::Result;
use crate::raw::op::{Combine, UserOp};
use crate::record::Call;

/// A reduction operation made of a closure; see [`op`].
pub struct Custom<T, F> {
    function: F,
    commutative: bool,
    element: PhantomData<fn(T, T) -> T>,
}

/// Makes a reduction operation of an associative closure.
///
/// The left argument comes from the lower ranks, unless [`commutative`](Custom::commutative) says
/// that the order does not matter, which lets MPI choose a faster one. The closure may capture; it
/// may run on any thread that completes the reduction; a panic in it fails the rank.
///
/// MPI: `MPI_Op_create`, MPI-4.1 section 6.9.5.
///
/// ```
/// use phalanx::prelude::*;
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let modulus = 97;
/// let product = world.allreduce(&5_u64, op(move |a, b| a * b % modulus).commutative())?;
/// assert_eq!(product, (0..world.size()).fold(1, |product, _| product * 5 % 97));
/// # Ok(())
/// # });
/// ```
pub fn op<T, F>(function: F) -> Custom<T, F>
where
    T: Element,
    F: Fn(T, T) -> T + Send + Sync + 'static,
{
    Custom { function, commutative: false, element: PhantomData }
}

impl<T, F> Custom<T, F> {
    /// Says that `f(a, b)` equals `f(b, a)`.
    #[must_use]
    pub fn commutative(self) -> Self {
        Custom { commutative: true, ..self }
    }
}

impl<T, F> Reduction<T> for Custom<T, F>
where
    T: Element,
    F: Fn(T, T) -> T + Send + Sync + 'static,
{
    fn prepare(self, call: &Call<'_>) -> Result<Prepared> {
        prepare(call, self.function, self.commutative)
    }
}

/// Makes the C-callable form of a function on elements.
pub(super) fn prepare<T: Element>(
    call: &Call<'_>,
    function: impl Fn(T, T) -> T + Send + Sync + 'static,
    commutative: bool,
) -> Result<Prepared> {
    let combine = move |input: *const c_void, inout: *mut c_void, count: usize| {
        let (input, inout) = (input.cast::<T>(), inout.cast::<T>());
        for index in 0..count {
            // SAFETY: MPI passes two arrays of `count` whole elements. Its temporary buffers need
            // not be aligned for `T`.
            unsafe {
                let left = input.add(index).read_unaligned();
                let right = inout.add(index).read_unaligned();
                inout.add(index).write_unaligned(function(left, right));
            }
        }
    };
    let combine: Arc<Combine> = Arc::new(combine);
    Ok(Prepared::user(UserOp::new(call, combine, commutative)?))
}

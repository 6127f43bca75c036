//! Reduction operations: MPI's own, typed at compile time; min and max with location; closures.

mod builtin;
mod closure;
#[cfg(feature = "half")]
mod half;
mod located;

pub use builtin::{
    BitAnd, BitOr, BitXor, Integer, LogicalAnd, LogicalOr, LogicalXor, Max, Min, Number, Product,
    Real, Sum,
};
pub use closure::{Custom, op};
pub use located::{Locatable, Located, MaxLoc, MinLoc};

use std::panic::Location;

use crate::datatype::{Element, whole_element};
use crate::error::Result;
use crate::raw::op::{RawOp, UserOp};
use crate::raw::{View, ViewMut};
use crate::record::{Call, name_of};

/// How two elements become one in a reduction.
///
/// [`Sum`] and [`Product`] work on numbers, [`Min`] and [`Max`] on those that are not complex, the bit and
/// logical operations on integers, [`MinLoc`] and [`MaxLoc`] on [`Located`] values, and [`op`] makes one of a closure. Arrays
/// are reduced element by element. What makes no sense does not compile:
///
/// ```compile_fail
/// # use phalanx::prelude::*;
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// world.allreduce(&1.5, BitAnd)?; // bits of a float
/// # Ok(())
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a reduction of `{T}`",
    note = "Sum, Product, Min, Max reduce numbers; the Bit and Logical operations reduce integers",
    note = "any other element is reduced with a closure: `op(|a, b| …)`"
)]
pub trait Reduction<T: Element> {
    #[doc(hidden)]
    fn prepare(self, call: &Call<'_>) -> Result<Prepared>;
}

/// A reduction operation, ready for one call.
#[doc(hidden)]
pub struct Prepared {
    kind: Kind,
}

enum Kind {
    Builtin(RawOp),
    User(UserOp),
}

impl Drop for Prepared {
    /// A panic of the closure that nobody waits for fails the rank, as one that somebody waits for does.
    #[inline(always)]
    fn drop(&mut self) {
        if let Kind::User(op) = &self.kind
            && let Some(panic) = op.take_panic()
        {
            crate::world::end_job_by_panic(&*panic);
        }
    }
}

impl Prepared {
    pub(crate) fn builtin(op: RawOp) -> Self {
        Prepared { kind: Kind::Builtin(op) }
    }

    pub(crate) fn user(op: UserOp) -> Self {
        Prepared { kind: Kind::User(op) }
    }

    #[inline(always)]
    pub(crate) fn raw(&self) -> RawOp {
        match &self.kind {
            Kind::Builtin(op) => *op,
            Kind::User(op) => op.raw(),
        }
    }

    /// Called when the reduction is complete: a panic of a closure goes on here.
    #[inline(always)]
    pub(crate) fn complete(&self) {
        if let Kind::User(op) = &self.kind {
            op.resume_panic();
        }
    }

    /// The elements as this operation counts them: a closure sees whole elements.
    #[inline(always)]
    pub(crate) fn view<'a, T: Element>(
        &self,
        call: &Call<'_>,
        elements: &'a [T],
    ) -> Result<View<'a>> {
        let (items, datatype) = self.shape::<T>(elements.len(), call.location)?;
        let size = size_of::<T>() / self.items_per_element::<T>().max(1);
        // SAFETY: either way the items are exactly the elements of the slice.
        Ok(unsafe { View::new(elements.as_ptr().cast(), items, datatype, size, name_of::<T>) })
    }

    #[inline(always)]
    pub(crate) fn view_mut<'a, T: Element>(
        &self,
        call: &Call<'_>,
        elements: &'a mut [T],
    ) -> Result<ViewMut<'a>> {
        let (items, datatype) = self.shape::<T>(elements.len(), call.location)?;
        let size = size_of::<T>() / self.items_per_element::<T>().max(1);
        // SAFETY: as above, and every bit pattern of an element is valid.
        Ok(unsafe {
            ViewMut::new(elements.as_mut_ptr().cast(), items, datatype, size, name_of::<T>)
        })
    }

    #[inline(always)]
    fn shape<T: Element>(
        &self,
        elements: usize,
        location: &'static Location<'static>,
    ) -> Result<(usize, phalanx_sys::MPI_Datatype)> {
        // Elements of no size have nothing to combine; libraries differ in what they do with such types.
        if size_of::<T>() == 0 {
            return Ok((0, T::datatype()?.0));
        }
        match self.kind {
            Kind::Builtin(_) => Ok((elements * T::ITEMS, T::datatype()?.0)),
            Kind::User(_) => {
                let (datatype, items) = whole_element::<T>(location)?;
                Ok((elements * items, datatype.0))
            }
        }
    }

    /// Items that this operation sees in one element.
    pub(crate) fn items_per_element<T: Element>(&self) -> usize {
        match self.kind {
            _ if size_of::<T>() == 0 => 0,
            Kind::Builtin(_) => T::ITEMS,
            Kind::User(_) => T::ITEMS.min(1),
        }
    }
}

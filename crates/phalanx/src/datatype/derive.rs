//! What `#[derive(Element)]` expands to. Not for use by hand.
#![doc(hidden)]

use std::panic::Location;

use super::{Datatype, Element, registry};
use crate::error::Result;
use crate::raw::datatype;

/// What `Element::datatype` returns.
pub type Handle = Result<Datatype>;

/// One field of a struct.
pub struct Field {
    offset: usize,
    datatype: fn() -> Handle,
    items: usize,
}

impl Field {
    /// A field of type `T` at an offset in bytes.
    pub const fn new<T: Element>(offset: usize) -> Self {
        Field { offset, datatype: T::datatype, items: T::ITEMS }
    }

    /// So many bytes that are no field of their own, at the start of a struct.
    #[cfg(feature = "bytemuck")]
    pub(super) const fn bytes(items: usize) -> Self {
        Field { offset: 0, datatype: u8::datatype, items }
    }
}

/// `Element::ITEMS` of a struct.
pub const fn items<T>() -> usize {
    if size_of::<T>() == 0 { 0 } else { 1 }
}

/// The datatype of the struct `T`, whose fields are given.
///
/// # Errors
/// If MPI is not running or this thread may not call it.
#[track_caller]
pub fn datatype_of<T: Element>(fields: &[Field]) -> Handle {
    let location = Location::caller();
    if size_of::<T>() == 0 {
        return Ok(datatype::uint8());
    }
    registry::own::<T>(|| {
        let fields = fields.iter().filter(|field| field.items > 0);
        let fields = fields
            .map(|field| Ok((field.offset, (field.datatype)()?, field.items)))
            .collect::<Result<Vec<_>>>()?;
        datatype::structure(&fields, size_of::<T>(), location)
    })
}

//! What `#[derive(Element)]` expands to. Not for use by hand.
#![doc(hidden)]

use std::panic::Location;
use std::sync::Mutex;
use std::sync::PoisonError;

use super::{Datatype, Element};
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
}

/// The datatype of one struct, built at its first use.
pub struct Cell(Mutex<Option<Datatype>>);

impl Cell {
    /// Nothing built yet.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Cell(Mutex::new(None))
    }

    /// The datatype of `T`, whose fields are given.
    #[track_caller]
    pub fn get_or_build<T>(&self, fields: &[Field]) -> Handle {
        let mut built = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(datatype) = *built {
            return Ok(datatype);
        }
        let fields = fields
            .iter()
            .map(|field| Ok((field.offset, (field.datatype)()?, field.items)))
            .collect::<Result<Vec<_>>>()?;
        let datatype = datatype::structure(&fields, size_of::<T>(), Location::caller())?;
        *built = Some(datatype);
        Ok(datatype)
    }
}

//! Datatypes that were built, each once: they live until MPI is finalized.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::error::Result;
use crate::raw::datatype::Datatype;

type Table = RwLock<Option<HashMap<TypeId, Datatype>>>;

/// The datatype of an element.
pub(super) fn own<T: 'static>(build: impl FnOnce() -> Result<Datatype>) -> Result<Datatype> {
    static BUILT: Table = RwLock::new(None);
    get_or_build::<T>(&BUILT, build)
}

/// A datatype of which one item is a whole element.
pub(super) fn whole<T: 'static>(build: impl FnOnce() -> Result<Datatype>) -> Result<Datatype> {
    static BUILT: Table = RwLock::new(None);
    get_or_build::<T>(&BUILT, build)
}

fn get_or_build<T: 'static>(
    table: &Table,
    build: impl FnOnce() -> Result<Datatype>,
) -> Result<Datatype> {
    let key = TypeId::of::<T>();
    let known = table.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(&datatype) = known.as_ref().and_then(|known| known.get(&key)) {
        return Ok(datatype);
    }
    drop(known);
    // No lock is held here: the fields of a struct are built by the same function.
    let built = build()?;
    let mut known = table.write().unwrap_or_else(PoisonError::into_inner);
    // Where two threads have built one, the second of them stays unused until the end.
    Ok(*known.get_or_insert_default().entry(key).or_insert(built))
}

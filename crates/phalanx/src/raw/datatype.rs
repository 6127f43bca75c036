//! Datatypes: predefined ones, and those that are built.

use std::os::raw::c_int;
use std::panic::Location;

use phalanx_sys as ffi;

use super::{c_count, gate};
use crate::error::Result;
use crate::record::{Call, DATATYPE};

/// A committed MPI datatype. A plain value: who builds one decides when it is freed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Datatype(pub(crate) ffi::MPI_Datatype);

// SAFETY: a datatype handle is a plain value (an integer or the address of a library object that
// does not change once committed).
unsafe impl Send for Datatype {}
// SAFETY: as above.
unsafe impl Sync for Datatype {}

/// Declares one function for each predefined datatype.
macro_rules! predefined {
    ($($name:ident = $constant:ident;)*) => {
        $(
            #[inline(always)]
            pub(crate) fn $name() -> Datatype {
                // SAFETY: reading a constant of the C library.
                Datatype(unsafe { ffi::$constant })
            }
        )*
    };
}

predefined! {
    int8 = RSMPI_INT8_T;
    int16 = RSMPI_INT16_T;
    int32 = RSMPI_INT32_T;
    int64 = RSMPI_INT64_T;
    uint8 = RSMPI_UINT8_T;
    uint16 = RSMPI_UINT16_T;
    uint32 = RSMPI_UINT32_T;
    uint64 = RSMPI_UINT64_T;
    float = RSMPI_FLOAT;
    double = RSMPI_DOUBLE;
    null = RSMPI_DATATYPE_NULL;
}

fn commit(call: &Call<'_>, mut datatype: ffi::MPI_Datatype) -> Result<Datatype> {
    // SAFETY: the handle was made by the caller just now.
    gate(call, || unsafe { ffi::MPI_Type_commit(&mut datatype) })?;
    Ok(Datatype(datatype))
}

/// `count` items in a row as one item.
pub(crate) fn contiguous(
    count: usize,
    of: Datatype,
    location: &'static Location<'static>,
) -> Result<Datatype> {
    let call = Call::local(&DATATYPE, location);
    let count = c_count(&call, "number of items of an element", count)?;
    let mut made = null().0;
    // SAFETY: `of` is a live datatype and `made` is writable.
    gate(&call, || unsafe { ffi::MPI_Type_contiguous(count, of.0, &mut made) })?;
    commit(&call, made)
}

/// `blocks` blocks of `length` items, `stride` items apart.
pub(crate) fn vector(
    blocks: usize,
    length: usize,
    stride: usize,
    of: Datatype,
    location: &'static Location<'static>,
) -> Result<Datatype> {
    let call = Call::local(&DATATYPE, location);
    let blocks = c_count(&call, "number of blocks", blocks)?;
    let length = c_count(&call, "length of a block", length)?;
    let stride = c_count(&call, "stride", stride)?;
    let mut made = null().0;
    // SAFETY: `of` is a live datatype and `made` is writable.
    gate(&call, || unsafe { ffi::MPI_Type_vector(blocks, length, stride, of.0, &mut made) })?;
    commit(&call, made)
}

/// A struct of fields: for each its offset in bytes, its datatype and how many items of it; with the
/// size of the whole struct.
pub(crate) fn structure(
    fields: &[(usize, Datatype, usize)],
    size: usize,
    location: &'static Location<'static>,
) -> Result<Datatype> {
    let call = Call::local(&DATATYPE, location);
    let mut lengths: Vec<c_int> = Vec::new();
    let mut displacements: Vec<ffi::MPI_Aint> = Vec::new();
    let mut types = Vec::new();
    for &(offset, datatype, items) in fields {
        lengths.push(c_count(&call, "number of items of a field", items)?);
        displacements.push(offset as ffi::MPI_Aint);
        types.push(datatype.0);
    }
    let count = c_count(&call, "number of fields", fields.len())?;
    let (mut made, mut resized) = (null().0, null().0);
    // SAFETY: the three arrays have `count` entries and `made` is writable.
    gate(&call, || unsafe {
        ffi::MPI_Type_create_struct(
            count,
            lengths.as_ptr(),
            displacements.as_ptr(),
            types.as_ptr(),
            &mut made,
        )
    })?;
    // SAFETY: `made` is a live datatype.
    gate(&call, || unsafe {
        ffi::MPI_Type_create_resized(made, 0, size as ffi::MPI_Aint, &mut resized)
    })?;
    // SAFETY: `made` is not used any more; `resized` lives on.
    gate(&call, || unsafe { ffi::MPI_Type_free(&mut made) })?;
    commit(&call, resized)
}

/// Frees a datatype that was built. Outside a running world there is nothing left to free.
pub(crate) fn free(mut datatype: Datatype) {
    if super::state::is_running() {
        let call = Call::local(&DATATYPE, Location::caller());
        // SAFETY: the owner frees it once. A refusal (a wrong thread) leaves the handle to the
        // library's finalize: a drop has nobody to tell.
        let _ = gate(&call, || unsafe { ffi::MPI_Type_free(&mut datatype.0) });
    }
}

/// One item that is `items` items of `of` at an absolute address (`MPI_BOTTOM`).
pub(crate) fn at_address(
    call: &Call<'_>,
    pointer: *const std::os::raw::c_void,
    items: usize,
    of: ffi::MPI_Datatype,
) -> Result<Datatype> {
    let counted = super::large::Counted::new(call, items, of)?;
    let (mut address, mut made) = (0, null().0);
    // SAFETY: the result is writable; the address is only computed with.
    gate(call, || unsafe { ffi::MPI_Get_address(pointer, &mut address) })?;
    // SAFETY: the arrays have one entry.
    gate(call, || unsafe {
        ffi::MPI_Type_create_struct(1, &counted.count, &address, &counted.datatype, &mut made)
    })?;
    commit(call, made)
}

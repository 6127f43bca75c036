//! Datatypes: predefined ones, and those that are built.

use std::os::raw::c_int;
use std::panic::Location;

use phalanx_sys as ffi;

use super::large::Counted;
use super::later::{self, Handle};
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
    ($($(#[$attribute:meta])* $name:ident = $constant:ident;)*) => {
        $(
            $(#[$attribute])*
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
    #[cfg(feature = "num-complex")]
    float_complex = RSMPI_FLOAT_COMPLEX;
    #[cfg(feature = "num-complex")]
    double_complex = RSMPI_DOUBLE_COMPLEX;
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

/// A type that is freed when a larger one has been made of it.
struct Intermediate(Datatype);

impl Drop for Intermediate {
    fn drop(&mut self) {
        free(self.0);
    }
}

/// Blocks of `length` items in a pattern of several dimensions: for each, the innermost first, how many
/// there are and how many bytes they are apart.
pub(crate) fn vectors(
    dimensions: &[(usize, isize)],
    length: usize,
    of: Datatype,
    location: &'static Location<'static>,
) -> Result<Datatype> {
    let call = Call::local(&DATATYPE, location);
    let block = Counted::new(&call, length, of.0)?;
    let mut whole = null().0;
    // SAFETY: the block's type is live and `whole` is writable.
    gate(&call, || unsafe { ffi::MPI_Type_contiguous(block.count, block.datatype, &mut whole) })?;
    let mut whole = Intermediate(Datatype(whole));
    for &(count, stride) in dimensions {
        let count = c_count(&call, "number of blocks", count)?;
        let mut next = null().0;
        // SAFETY: the type so far is live and `next` is writable.
        gate(&call, || unsafe {
            ffi::MPI_Type_create_hvector(count, 1, stride as ffi::MPI_Aint, whole.0.0, &mut next)
        })?;
        whole = Intermediate(Datatype(next));
    }
    let datatype = commit(&call, whole.0.0)?;
    std::mem::forget(whole);
    Ok(datatype)
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

/// Frees a datatype that was built: now, or later where this thread may not call.
pub(crate) fn free(datatype: Datatype) {
    later::free(Handle::Datatype(datatype.0));
}

/// One item that is several blocks at absolute addresses (`MPI_BOTTOM`), one after another. Empty ones
/// are left out.
pub(crate) fn at_addresses(
    call: &Call<'_>,
    blocks: &[(*const std::os::raw::c_void, usize, ffi::MPI_Datatype)],
) -> Result<Datatype> {
    // Large blocks are counted by types of their own, which live until the whole is made.
    let mut counted = Vec::with_capacity(blocks.len());
    let (mut lengths, mut addresses, mut types) = (Vec::new(), Vec::new(), Vec::new());
    for &(pointer, items, of) in blocks.iter().filter(|(_, items, _)| *items > 0) {
        let block = Counted::new(call, items, of)?;
        let mut address = 0;
        // SAFETY: the result is writable; the address is only computed with.
        gate(call, || unsafe { ffi::MPI_Get_address(pointer, &mut address) })?;
        lengths.push(block.count);
        addresses.push(address);
        types.push(block.datatype);
        counted.push(block);
    }
    let count = c_count(call, "number of blocks", lengths.len())?;
    let mut made = null().0;
    // SAFETY: the three arrays have `count` entries and `made` is writable.
    gate(call, || unsafe {
        ffi::MPI_Type_create_struct(
            count,
            lengths.as_ptr(),
            addresses.as_ptr(),
            types.as_ptr(),
            &mut made,
        )
    })?;
    commit(call, made)
}

/// The widest number that memory of this alignment may be taken for, and its size: libraries pack strided
/// words much faster than as many bytes.
pub(crate) fn word(align: usize) -> (Datatype, usize) {
    match align {
        1 => (uint8(), 1),
        2 => (uint16(), 2),
        4 => (uint32(), 4),
        _ => (uint64(), 8),
    }
}

/// One item that is a block of an array of words with several dimensions, the last of which lies
/// together: the shape of the array, that of the block, and where it starts.
pub(crate) fn subarray(
    call: &Call<'_>,
    word: Datatype,
    shape: &[usize],
    block: &[usize],
    starts: &[usize],
) -> Result<Datatype> {
    let ints = |what: &str, numbers: &[usize]| {
        numbers.iter().map(|&number| c_count(call, what, number)).collect::<Result<Vec<c_int>>>()
    };
    let shape = ints("length of an array in words", shape)?;
    let block = ints("length of a block in words", block)?;
    let starts = ints("start of a block in words", starts)?;
    let dimensions = c_count(call, "number of dimensions", shape.len())?;
    let mut made = null().0;
    // SAFETY: the three arrays have an entry for each dimension and `made` is writable.
    gate(call, || unsafe {
        ffi::MPI_Type_create_subarray(
            dimensions,
            shape.as_ptr(),
            block.as_ptr(),
            starts.as_ptr(),
            ffi::MPI_ORDER_C as c_int,
            word.0,
            &mut made,
        )
    })?;
    commit(call, made)
}

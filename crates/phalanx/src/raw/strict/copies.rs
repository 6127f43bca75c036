//! The copies from which sends of strict mode read.
//!
//! When the watch proves that a send never ends, its caller gets its own buffer back, while MPI may go on
//! reading the copy for ever.

use std::collections::HashMap;
use std::os::raw::c_int;
use std::sync::{Mutex, PoisonError};

use phalanx_sys as ffi;

use super::is_on;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::{View, gate, large_limit};
use crate::record::{self, Call};

/// The copies from which sends in flight read, by the place of their request.
static COPIES: Mutex<Option<HashMap<u16, Vec<u8>>>> = Mutex::new(None);

/// Keeps the copy of a send until its request is over.
pub(in crate::raw) fn keep(place: u16, copy: Vec<u8>) {
    if place == record::NONE {
        // Nobody will say when the request is over.
        std::mem::forget(copy);
        return;
    }
    let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
    copies.get_or_insert_default().insert(place, copy);
}

/// A request is over: what was kept for it is not needed any more.
#[cold]
pub(in crate::raw) fn forget(place: u16) {
    let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(copies) = copies.as_mut() {
        copies.remove(&place);
    }
}

/// A copy of what a message holds, in strict mode.
pub(in crate::raw) fn copy_of(call: &Call<'_>, view: &View<'_>) -> Result<Option<Vec<u8>>> {
    if is_on() { packed(call, view).map(Some) } else { Ok(None) }
}

/// The most bytes that one call of `MPI_Pack` packs, whose `int` counts them.
const PIECE: usize = 1 << 30;

/// What a view shows, byte for byte, without its gaps.
pub(in crate::raw) fn packed(call: &Call<'_>, view: &View<'_>) -> Result<Vec<u8>> {
    let bytes = view.bytes_in_all();
    let mut copy = Vec::new();
    if bytes == 0 {
        // Its pointer may be null.
        return Ok(copy);
    }
    if copy.try_reserve_exact(bytes).is_err() {
        let detail = format!(
            "strict mode copies a message before it is sent, and there is no memory for {bytes} bytes: \
             send it in parts, or without PHALANX_WATCH=strict"
        );
        return Err(Error::new(ErrorKind::Unsupported, call, detail));
    }
    if view.is_bytes() {
        // SAFETY: the view borrows so many bytes.
        copy.extend_from_slice(unsafe { std::slice::from_raw_parts(view.pointer.cast(), bytes) });
        return Ok(copy);
    }
    let Some(comm) = call.comm else { return Ok(copy) };
    let (mut lower, mut extent) = (0, 0);
    // SAFETY: the handle is a live type, and both results are writable.
    gate(call, || unsafe { ffi::MPI_Type_get_extent(view.datatype, &mut lower, &mut extent) })?;
    let most = (PIECE / view.item_bytes().max(1)).min(large_limit()).max(1);
    let mut piece = Vec::new();
    for first in (0..view.items).step_by(most) {
        let count = most.min(view.items - first) as c_int;
        let mut size = 0;
        gate(call, || {
            // SAFETY: the type and the communicator are live, the result is writable.
            unsafe { ffi::MPI_Pack_size(count, view.datatype, comm.handle, &mut size) }
        })?;
        // One item may be longer than an `int` can say; libraries differ in what they answer then.
        let fits =
            usize::try_from(size).is_ok_and(|size| size >= count as usize * view.item_bytes());
        if !fits {
            let detail = format!(
                "strict mode copies a message before it is sent, and this MPI cannot pack an item of {} \
                 bytes: send it in parts, or without PHALANX_WATCH=strict",
                view.item_bytes()
            );
            return Err(Error::new(ErrorKind::Unsupported, call, detail));
        }
        piece.resize(size as usize, 0_u8);
        #[allow(clippy::unnecessary_cast, reason = "an address of MPI is an i64 in some libraries")]
        let start = view.pointer.wrapping_byte_offset(first as isize * extent as isize);
        let mut end = 0;
        gate(call, || {
            // SAFETY: the view borrows all of its items, of which these are some, and the piece has the
            // size that MPI asked for.
            unsafe {
                ffi::MPI_Pack(
                    start,
                    count,
                    view.datatype,
                    piece.as_mut_ptr().cast(),
                    size,
                    &mut end,
                    comm.handle,
                )
            }
        })?;
        copy.extend_from_slice(&piece[..usize::try_from(end).unwrap_or(0).min(piece.len())]);
    }
    Ok(copy)
}

//! Memory for buffered sends.

use std::os::raw::c_void;

use phalanx_sys as ffi;

use crate::error::Result;
use crate::raw::{c_count, gate};
use crate::record::Call;

/// Gives MPI memory for buffered sends. It must stay where it is until [`buffer_detach`].
///
/// # Safety
/// The memory is readable and writable until it is detached.
pub(crate) unsafe fn buffer_attach(call: &Call<'_>, buffer: *mut u8, length: usize) -> Result<()> {
    let length = c_count(call, "size of the buffer in bytes", length)?;
    // SAFETY: the caller keeps the memory.
    gate(call, || unsafe { ffi::MPI_Buffer_attach(buffer.cast(), length) })
}

/// Takes the memory for buffered sends back, when all messages in it have left.
pub(crate) fn buffer_detach(call: &Call<'_>) -> Result<()> {
    let mut address: *mut c_void = std::ptr::null_mut();
    let mut length = 0;
    gate(call, || {
        // SAFETY: both results are writable; the first argument is where to put a pointer.
        unsafe { ffi::MPI_Buffer_detach((&raw mut address).cast(), &mut length) }
    })
}

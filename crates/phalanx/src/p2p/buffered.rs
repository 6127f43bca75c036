//! The memory behind buffered sends.

use std::panic::Location;
use std::sync::{Mutex, PoisonError};

use crate::datatype::try_zeros;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::{self, p2p};
use crate::record::{BUFFER_ATTACH, BUFFER_DETACH, Call};

/// MPI keeps the address until the buffer is detached, so it is leaked while attached.
static ATTACHED: Mutex<Option<Attached>> = Mutex::new(None);

struct Attached {
    memory: *mut [u8],
}

// SAFETY: the pointer came from a box that nobody else knows.
unsafe impl Send for Attached {}

/// Gives MPI `bytes` of memory for [`bsend`](crate::Comm::bsend), overhead included.
///
/// A message of `n` bytes needs `n` plus at least [`bsend_overhead`] bytes. There is one buffer for
/// the process.
///
/// # Errors
/// [`InUse`](ErrorKind::InUse) if there is a buffer already,
/// [`Unsupported`](ErrorKind::Unsupported) for more than `i32::MAX` bytes,
/// [`BufferFull`](ErrorKind::BufferFull) if there is no memory for so many.
///
/// MPI: `MPI_Buffer_attach`, MPI-4.1 section 3.6.
#[track_caller]
pub fn attach_buffer(bytes: usize) -> Result<()> {
    let call = Call::local(&BUFFER_ATTACH, Location::caller());
    let mut attached = ATTACHED.lock().unwrap_or_else(PoisonError::into_inner);
    if attached.is_some() {
        return Err(Error::new(ErrorKind::InUse, &call, "a buffer is attached already"));
    }
    // What is refused takes no memory.
    let _permit = raw::permit(&call)?;
    raw::c_count(&call, "size of the buffer in bytes", bytes)?;
    let Some(memory) = try_zeros::<u8>(bytes) else {
        let detail = format!("there is no memory for a buffer of {bytes} bytes");
        return Err(Error::new(ErrorKind::BufferFull, &call, detail));
    };
    let memory = Box::into_raw(memory.into_boxed_slice());
    // SAFETY: the memory stays allocated until it is detached.
    let result = unsafe { p2p::buffer_attach(&call, memory.cast(), bytes) };
    match result {
        Ok(()) => *attached = Some(Attached { memory }),
        // SAFETY: MPI refused the memory: it is ours alone.
        Err(_) => drop(unsafe { Box::from_raw(memory) }),
    }
    result
}

/// Takes the buffer back, after all messages in it have left.
///
/// # Errors
/// [`BufferFull`](ErrorKind::BufferFull) if there is no buffer.
///
/// MPI: `MPI_Buffer_detach`, MPI-4.1 section 3.6.
#[track_caller]
pub fn detach_buffer() -> Result<()> {
    let call = Call::local(&BUFFER_DETACH, Location::caller());
    let mut attached = ATTACHED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Attached { memory }) = attached.take() else {
        return Err(Error::new(ErrorKind::BufferFull, &call, "no buffer is attached"));
    };
    if let Err(error) = p2p::buffer_detach(&call) {
        *attached = Some(Attached { memory });
        return Err(error);
    }
    // SAFETY: MPI has given the memory back.
    drop(unsafe { Box::from_raw(memory) });
    Ok(())
}

/// Bytes that a buffered message needs beyond its own (`MPI_BSEND_OVERHEAD`).
pub fn bsend_overhead() -> usize {
    phalanx_sys::phx_bsend_overhead().unsigned_abs() as usize
}

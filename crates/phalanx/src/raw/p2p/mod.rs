//! Point-to-point calls.

mod buffered;
mod matched;
mod nonblocking;
mod recv;
mod send;
mod sendrecv;

use std::os::raw::c_int;

use phalanx_sys as ffi;

use super::{gate_as, noted};
use crate::error::Result;
use crate::record::{Call, Peer, What};

pub use super::status::RawStatus;
pub(crate) use buffered::{buffer_attach, buffer_detach};
pub use matched::Matched;
pub(crate) use matched::{mrecv, peek, probe, try_probe};
pub(crate) use nonblocking::{imrecv, irecv, irecv_apart, isend, isend_apart};
pub(crate) use recv::recv;
use send::begin_send;
pub(crate) use send::{Mode, send};
pub(crate) use sendrecv::{sendrecv, sendrecv_replace};

/// A rank or tag as C wants it: `MPI_ANY_SOURCE`, `MPI_PROC_NULL` or `MPI_ANY_TAG` included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub rank: c_int,
    pub tag: c_int,
}

#[inline(always)]
pub(crate) fn any_source() -> c_int {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_ANY_SOURCE }
}

#[inline(always)]
pub(crate) fn any_tag() -> c_int {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_ANY_TAG }
}

#[inline(always)]
pub(crate) fn null_process() -> c_int {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_PROC_NULL }
}

/// The gate, or what is behind it where it is known to be open.
#[inline(always)]
fn pass(
    is_open: bool,
    call: &Call<'_>,
    what: impl FnOnce() -> What,
    f: impl FnOnce() -> c_int,
) -> Result<()> {
    if is_open { noted(call, what, f) } else { gate_as(call, what, f) }
}

#[inline(always)]
pub(in crate::raw) fn identity(call: &Call<'_>) -> ffi::MPI_Comm {
    match call.comm {
        Some(comm) => comm.handle,
        // A call of this room without a communicator is refused by MPI itself as invalid.
        // SAFETY: reading a constant of the C library.
        None => unsafe { ffi::RSMPI_COMM_NULL },
    }
}

/// The receiving half of a call that does both.
#[inline]
fn half<'a>(call: &Call<'a>, from: Envelope) -> Call<'a> {
    let peer = match from.rank {
        rank if rank == any_source() => Peer::AnySource,
        rank if rank == null_process() => Peer::Null,
        rank => Peer::From(rank as usize),
    };
    call.peer(peer).tag((from.tag != any_tag()).then_some(from.tag))
}

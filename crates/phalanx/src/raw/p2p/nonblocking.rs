//! Sends and receives that are started.

use phalanx_sys as ffi;

use super::matched::note_matched;
use super::{Envelope, Matched, Mode, count_sent, identity};
use crate::error::Result;
use crate::raw::request::Live;
use crate::raw::wait::{Policy, policy};
use crate::raw::{View, ViewMut, gate, gate_as, strict};
use crate::record::{Call, Kind, What};

/// Starts a send. The request is complete when the buffer may be used again.
///
/// # Safety
/// The viewed memory stays readable and unchanged until the request is complete.
#[inline(always)]
pub(crate) unsafe fn isend(
    call: &Call<'_>,
    mode: Mode,
    view: View<'_>,
    to: Envelope,
    request: &mut Live,
) -> Result<()> {
    if policy() == Policy::Poll && strict::is_on() {
        return strict::isend(&call.copy(), mode, view, to, request);
    }
    // SAFETY: the caller's promise.
    unsafe { isend_view(call, mode, view, to, request) }
}

/// # Safety
/// As for [`isend`].
#[inline(always)]
pub(in crate::raw) unsafe fn isend_view(
    call: &Call<'_>,
    mode: Mode,
    view: View<'_>,
    to: Envelope,
    request: &mut Live,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let (rank, tag) = (to.rank, to.tag);
    let what = What::of(mode.kind(), view.bytes_in_all(), view.element);
    let raw = &mut request.raw;
    gate_as(
        call,
        || what,
        || {
            count_sent(call, to);
            // SAFETY: the caller keeps the buffer until completion.
            unsafe {
                match mode {
                    Mode::Standard => ffi::MPI_Isend(buffer, count, datatype, rank, tag, comm, raw),
                    Mode::Synchronous => {
                        ffi::MPI_Issend(buffer, count, datatype, rank, tag, comm, raw)
                    }
                    Mode::Buffered => {
                        ffi::MPI_Ibsend(buffer, count, datatype, rank, tag, comm, raw)
                    }
                    Mode::Ready => ffi::MPI_Irsend(buffer, count, datatype, rank, tag, comm, raw),
                }
            }
        },
    )?;
    request.started(call, &what);
    Ok(())
}

/// Starts a receive.
///
/// # Safety
/// The viewed memory stays writable, and nobody else uses it, until the request is complete.
#[inline(always)]
pub(crate) unsafe fn irecv(
    call: &Call<'_>,
    view: ViewMut<'_>,
    from: Envelope,
    request: &mut Live,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let raw = &mut request.raw;
    // SAFETY: the caller keeps the buffer until completion.
    gate(call, || unsafe {
        ffi::MPI_Irecv(buffer, count, datatype, from.rank, from.tag, comm, raw)
    })?;
    request.started(call, &What::of(Kind::Receive, view.bytes_in_all(), view.element));
    Ok(())
}

/// Starts to receive a message that was matched before.
///
/// # Safety
/// As for [`irecv`].
pub(crate) unsafe fn imrecv(
    call: &Call<'_>,
    mut matched: Matched,
    view: ViewMut<'_>,
    request: &mut Live,
) -> Result<()> {
    let counted = view.counted(call)?;
    let raw = &mut request.raw;
    // SAFETY: the caller keeps the buffer until completion; the message is received once.
    gate(call, || unsafe {
        ffi::MPI_Imrecv(view.pointer, counted.count, counted.datatype, &mut matched.message, raw)
    })?;
    note_matched(call, &matched, &view, request);
    Ok(())
}

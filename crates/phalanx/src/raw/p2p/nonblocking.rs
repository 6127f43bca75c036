//! Sends and receives that are started.

use phalanx_sys as ffi;

use super::matched::note_matched;
use super::{Envelope, Matched, Mode, begin_send, identity};
use crate::error::Result;
use crate::raw::notes;
use crate::raw::request::Live;
use crate::raw::strict::copies;
use crate::raw::wait::{Policy, policy};
use crate::raw::{SUCCESS, View, ViewMut, delay, noted, permit, strict};
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
        return isend_copy(&call.copy(), mode, view.copy(), to, request);
    }
    // SAFETY: the caller's promise.
    unsafe { isend_view(call, mode, view, to, request) }
}

/// A send of strict mode: synchronous, from a copy.
#[cold]
fn isend_copy(
    call: &Call<'_>,
    mode: Mode,
    view: View<'_>,
    to: Envelope,
    request: &mut Live,
) -> Result<()> {
    delay::delay();
    let copy = copies::packed(call, &view)?;
    // SAFETY: the copy is kept until the request is over.
    unsafe { isend_view(call, mode.unbuffered(), View::copy_of(&copy, &view), to, request)? };
    request.keep(copy);
    Ok(())
}

/// # Safety
/// As for [`isend`].
#[inline(always)]
unsafe fn isend_view(
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
    let permit = permit(call)?;
    noted(
        call,
        || what,
        || {
            let code = begin_send(call, to, &what);
            if code != SUCCESS {
                return code;
            }
            // SAFETY: the caller keeps the buffer until completion.
            let code = unsafe {
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
            };
            if code != SUCCESS {
                notes::not_sent(call, rank, tag);
            }
            code
        },
    )?;
    request.started(permit.allowed(), call, &what);
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
    let permit = permit(call)?;
    // SAFETY: the caller keeps the buffer until completion.
    noted(call, What::local, || unsafe {
        ffi::MPI_Irecv(buffer, count, datatype, from.rank, from.tag, comm, raw)
    })?;
    let what = What::of(Kind::Receive, view.bytes_in_all(), view.element);
    request.started(permit.allowed(), call, &what);
    request.fills(&view);
    Ok(())
}

/// Starts a send that the program does not wait for, from memory of this library's own. It is counted, but it
/// does not stand among the requests in flight, of which the record has only so many places; in strict
/// mode it is a standard send all the same.
///
/// # Safety
/// As for [`isend`].
pub(crate) unsafe fn isend_apart(
    call: &Call<'_>,
    view: View<'_>,
    to: Envelope,
    request: &mut Live,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let raw = &mut request.raw;
    let what = What::of(Mode::Standard.kind(), view.bytes_in_all(), view.element);
    let _permit = permit(call)?;
    noted(
        call,
        || what,
        || {
            let code = begin_send(call, to, &what);
            if code != SUCCESS {
                return code;
            }
            // SAFETY: the caller keeps the buffer until completion.
            unsafe { ffi::MPI_Isend(buffer, count, datatype, to.rank, to.tag, comm, raw) }
        },
    )
}

/// Starts a receive that the program does not wait for, as [`isend_apart`] sends.
///
/// # Safety
/// As for [`irecv`].
pub(crate) unsafe fn irecv_apart(
    call: &Call<'_>,
    view: ViewMut<'_>,
    from: Envelope,
    request: &mut Live,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let raw = &mut request.raw;
    let _permit = permit(call)?;
    // SAFETY: the caller keeps the buffer until completion.
    noted(call, What::local, || unsafe {
        ffi::MPI_Irecv(buffer, count, datatype, from.rank, from.tag, comm, raw)
    })?;
    request.receives_apart();
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
    let permit = permit(call)?;
    // SAFETY: the caller keeps the buffer until completion; the message is received once.
    noted(call, What::local, || unsafe {
        ffi::MPI_Imrecv(view.pointer, counted.count, counted.datatype, &mut matched.message, raw)
    })?;
    note_matched(permit.allowed(), call, &matched, &view, request);
    Ok(())
}

//! A message that has been received: it is counted and, where somebody wants to know, compared with what it
//! was received as.

use phalanx_sys as ffi;

use super::notes::{self, Which};
use super::observer;
use super::status::RawStatus;
use super::view::Target;
use crate::error::{Error, Result};
use crate::record::Call;

/// Counts a message that has been received. It must hold what the receiver takes it for, as far as that is
/// known.
#[inline]
pub(super) fn received(
    call: &Call<'_>,
    status: &RawStatus,
    target: Target,
    which: Which,
) -> Result<()> {
    if let Some(comm) = call.comm {
        comm.count_received(status.source(), status.tag());
        if observer::compares() {
            notes::check(&call.copy(), status, target.element, target.room, &which)?;
        }
    }
    target.start.check(call, status)
}

/// The same where the call may have failed: a message that is cut off is received all the same.
#[inline]
pub(super) fn received_or_cut(
    call: &Call<'_>,
    outcome: Result<()>,
    status: &RawStatus,
    target: Target,
    which: Which,
) -> Result<()> {
    match outcome {
        Ok(()) => received(call, status, target, which),
        Err(error) => Err(failed(&call.copy(), error, status, target.room, which)),
    }
}

#[cold]
fn failed(call: &Call<'_>, error: Error, status: &RawStatus, room: usize, which: Which) -> Error {
    if error.is_truncated() {
        // The error that is told is the one of the receive.
        let _ = received(call, status, Target::UNKNOWN, which);
    } else if !was_refused(&error) {
        notes::lost(call);
    }
    with_lengths(error, status, room)
}

/// An error of a receive, with the lengths of the message and of the room for it where it was too long.
#[cold]
pub(super) fn with_lengths(error: Error, status: &RawStatus, room: usize) -> Error {
    if !error.is_truncated() || room == 0 && error.peer().is_none() {
        return error;
    }
    match length_of_truncated(&error, status, room) {
        // The length that a probe has told needs no guess.
        _ if error.detail().starts_with(HAS) => error,
        Some(came) => with_both_lengths(error, came, room),
        None => {
            error.with_detail(format!("the message is longer than the {room} bytes of room for it"))
        }
    }
}

/// How an error begins that knows both lengths.
const HAS: &str = "the message has ";

/// An error of a receive, with both lengths where it was too long.
#[cold]
pub(super) fn with_both_lengths(error: Error, came: usize, room: usize) -> Error {
    if !error.is_truncated() {
        return error;
    }
    error.with_detail(format!("{HAS}{came} bytes, and there is room for {room}"))
}

/// How long a message was that did not fit, as far as the library says so: Open MPI in the status, which
/// other libraries leave undefined then, MPICH in its text.
fn length_of_truncated(error: &Error, status: &RawStatus, room: usize) -> Option<usize> {
    if ffi::family() == ffi::Family::OpenMpi {
        // SAFETY: the status is plain data.
        let bytes = unsafe { ffi::phx_status_bytes(&status.0) };
        return usize::try_from(bytes).ok().filter(|&bytes| bytes > room);
    }
    let (before, _) = error.mpi_text()?.split_once(" bytes received but buffer size is")?;
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    // Some versions give the two numbers the other way round.
    digits.parse().ok().filter(|&came| came > room)
}

/// Whether the operation of a request goes on although a call about it failed: its buffers must stay.
/// So it is where the gate refused the call, and where the watch ended a wait.
pub(crate) fn was_refused(error: &Error) -> bool {
    use crate::error::ErrorKind;
    matches!(error.kind(), ErrorKind::Thread | ErrorKind::State | ErrorKind::Deadlock)
}

//! Completion of requests.

use std::mem::MaybeUninit;
use std::os::raw::c_int;

use phalanx_sys as ffi;

use super::p2p::RawStatus;
use super::wait::{Backoff, Policy, policy, poll};
use super::{SUCCESS, c_count, failure, gate};
use crate::error::{Error, ErrorKind, Result};
use crate::record::Call;

/// The request that stands for nothing.
#[inline(always)]
pub(crate) fn null() -> ffi::MPI_Request {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_REQUEST_NULL }
}

fn empty_status() -> ffi::MPI_Status {
    // SAFETY: a status is plain integers, for which zero is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

#[inline]
pub(crate) fn test(call: &Call<'_>, request: &mut ffi::MPI_Request) -> Result<Option<RawStatus>> {
    let mut status = empty_status();
    let mut done = 0;
    // SAFETY: the request is live or null; both results are writable.
    gate(call, || unsafe { ffi::MPI_Test(request, &mut done, &mut status) })?;
    Ok((done != 0).then_some(RawStatus(status)))
}

#[inline]
pub(crate) fn wait(call: &Call<'_>, request: &mut ffi::MPI_Request) -> Result<RawStatus> {
    if policy() == Policy::Poll {
        return super::wait::until(|| test(call, request));
    }
    let mut status = empty_status();
    // SAFETY: the request is live or null; the status is writable.
    gate(call, || unsafe { ffi::MPI_Wait(request, &mut status) })?;
    Ok(RawStatus(status))
}

/// Whether the gate refused a call, so that the operation it was about goes on: its buffers must stay.
pub(crate) fn was_refused(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Thread | ErrorKind::State)
}

pub(crate) fn cancel(call: &Call<'_>, request: &mut ffi::MPI_Request) -> Result<()> {
    if *request == null() {
        return Ok(());
    }
    // SAFETY: the request is live.
    gate(call, || unsafe { ffi::MPI_Cancel(request) })
}

/// Completes all requests, each with its own outcome. `origin` says what a request is, for its error.
pub(crate) fn wait_all<'a>(
    call: &Call<'_>,
    requests: &mut [ffi::MPI_Request],
    origin: impl Fn(usize) -> Call<'a>,
) -> Result<Vec<Result<RawStatus>>> {
    let mut outcomes = Vec::with_capacity(requests.len());
    complete(call, requests, |index, status, code| {
        outcomes.push(match code {
            SUCCESS => Ok(RawStatus(*status)),
            code => Err(failure(&origin(index), code)),
        });
    })?;
    Ok(outcomes)
}

/// Completes all requests, of which nobody asks for more than the first error. The fast path of a
/// window of messages.
#[inline]
pub(crate) fn finish_all<'a>(
    call: &Call<'_>,
    requests: &mut [ffi::MPI_Request],
    origin: impl Fn(usize) -> Call<'a>,
) -> Result<()> {
    let mut first_error = Ok(());
    complete(call, requests, |index, _, code| {
        if code != SUCCESS && first_error.is_ok() {
            first_error = Err(failure(&origin(index), code));
        }
    })?;
    first_error
}

/// One after the other, in one pass of the gate; progress is that of all. Not `MPI_Waitall`: that of
/// Open MPI 4.1 never returns when one of the requests has failed before the call.
#[inline]
fn complete(
    call: &Call<'_>,
    requests: &mut [ffi::MPI_Request],
    mut done: impl FnMut(usize, &ffi::MPI_Status, c_int),
) -> Result<()> {
    let polls = policy() == Policy::Poll;
    gate(call, || {
        let mut status = empty_status();
        for (index, request) in requests.iter_mut().enumerate() {
            let code = if polls {
                poll(request, &mut status)
            } else {
                // SAFETY: the request is live or null; the status is writable.
                unsafe { ffi::MPI_Wait(request, &mut status) }
            };
            // An error ends the request too.
            *request = null();
            done(index, &status, code);
        }
        SUCCESS
    })
}

/// Completes one of the requests and returns its index and its status or code, or `None` if all are
/// null.
pub(crate) fn wait_any(
    call: &Call<'_>,
    requests: &mut [ffi::MPI_Request],
) -> Result<Option<(usize, Result<RawStatus, c_int>)>> {
    let count = c_count(call, "number of requests", requests.len())?;
    let mut status = empty_status();
    let mut index = 0;
    let mut backoff = Backoff::new();
    // SAFETY: reading a constant of the C library.
    let undefined = unsafe { ffi::RSMPI_UNDEFINED };
    loop {
        let mut code = SUCCESS;
        let mut done = 1;
        gate(call, || {
            code = match policy() {
                // SAFETY: the array has `count` entries, the results are writable.
                Policy::Library => unsafe {
                    ffi::MPI_Waitany(count, requests.as_mut_ptr(), &mut index, &mut status)
                },
                // SAFETY: as above.
                Policy::Poll => unsafe {
                    ffi::MPI_Testany(
                        count,
                        requests.as_mut_ptr(),
                        &mut index,
                        &mut done,
                        &mut status,
                    )
                },
            };
            SUCCESS
        })?;
        if index == undefined && (done != 0 || code != SUCCESS) {
            return if code == SUCCESS { Ok(None) } else { Err(failure(call, code)) };
        }
        if code != SUCCESS {
            return Ok(Some((index as usize, Err(code))));
        }
        if done != 0 {
            return Ok(Some((index as usize, Ok(RawStatus(status)))));
        }
        backoff.pause();
    }
}

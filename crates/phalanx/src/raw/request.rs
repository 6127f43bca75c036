//! Completion of requests.

use std::mem::MaybeUninit;
use std::os::raw::c_int;

use phalanx_sys as ffi;

use super::p2p::RawStatus;
use super::wait::{Backoff, Policy, policy};
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
///
/// A request that is not null afterwards is still in flight: the gate refused a call.
pub(crate) fn wait_all<'a>(
    call: &Call<'_>,
    requests: &mut [ffi::MPI_Request],
    origin: impl Fn(usize) -> Call<'a>,
) -> Result<Vec<Result<RawStatus>>> {
    let mut statuses = vec![empty_status(); requests.len()];
    let code = wait_all_into(call, requests, &mut statuses)?;
    Ok(outcomes(code, requests, &statuses, origin))
}

/// The call itself: one status for each request, and the code.
fn wait_all_into(
    call: &Call<'_>,
    requests: &mut [ffi::MPI_Request],
    statuses: &mut [ffi::MPI_Status],
) -> Result<c_int> {
    assert_eq!(requests.len(), statuses.len());
    let count = c_count(call, "number of requests", requests.len())?;
    let mut backoff = Backoff::new();
    loop {
        let mut code = SUCCESS;
        let mut done = 1;
        gate(call, || {
            code = match policy() {
                // SAFETY: both arrays have `count` entries.
                Policy::Library => unsafe {
                    ffi::MPI_Waitall(count, requests.as_mut_ptr(), statuses.as_mut_ptr())
                },
                // SAFETY: as above.
                Policy::Poll => unsafe {
                    ffi::MPI_Testall(
                        count,
                        requests.as_mut_ptr(),
                        &mut done,
                        statuses.as_mut_ptr(),
                    )
                },
            };
            SUCCESS
        })?;
        if done != 0 || code != SUCCESS {
            return Ok(code);
        }
        backoff.pause();
    }
}

fn outcomes<'a>(
    code: c_int,
    requests: &mut [ffi::MPI_Request],
    statuses: &[ffi::MPI_Status],
    origin: impl Fn(usize) -> Call<'a>,
) -> Vec<Result<RawStatus>> {
    if code == SUCCESS {
        return statuses.iter().map(|&status| Ok(RawStatus(status))).collect();
    }
    // Some failed: complete what is still pending one by one, and say of each how it ended.
    let in_status = super::error_class(code) == ffi::phx_err_in_status();
    let mut outcomes = Vec::with_capacity(requests.len());
    for (index, (request, &status)) in requests.iter_mut().zip(statuses).enumerate() {
        let call = origin(index);
        outcomes.push(if *request != null() {
            let outcome = wait(&call, request);
            if outcome.as_ref().is_err_and(|error| !was_refused(error)) {
                *request = null();
            }
            outcome
        } else if in_status && status.MPI_ERROR != SUCCESS {
            Err(failure(&call, status.MPI_ERROR))
        } else if in_status {
            Ok(RawStatus(status))
        } else {
            Err(failure(&call, code))
        });
    }
    outcomes
}

/// So many statuses fit on the stack: a usual window of messages allocates nothing.
const STATUSES: usize = 128;

/// Completes all requests whose statuses nobody asks for, unless one fails: its status has its error.
#[inline]
pub(crate) fn finish_all<'a>(
    call: &Call<'_>,
    requests: &mut [ffi::MPI_Request],
    origin: impl Fn(usize) -> Call<'a>,
) -> Result<()> {
    let first_error = |outcomes: Vec<Result<RawStatus>>| {
        outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))
    };
    if requests.len() > STATUSES {
        return first_error(wait_all(call, requests, origin)?);
    }
    let mut statuses = [empty_status(); STATUSES];
    let statuses = &mut statuses[..requests.len()];
    match wait_all_into(call, requests, statuses)? {
        SUCCESS => Ok(()),
        code => first_error(outcomes(code, requests, statuses, origin)),
    }
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

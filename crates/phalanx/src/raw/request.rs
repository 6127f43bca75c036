//! Completion of requests.

use std::mem::MaybeUninit;

use phalanx_sys as ffi;

use super::p2p::RawStatus;
use super::wait::{Backoff, Policy, policy};
use super::{SUCCESS, c_count, failure, gate};
use crate::error::Result;
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

pub(crate) fn cancel(call: &Call<'_>, request: &mut ffi::MPI_Request) -> Result<()> {
    if *request == null() {
        return Ok(());
    }
    // SAFETY: the request is live.
    gate(call, || unsafe { ffi::MPI_Cancel(request) })
}

/// Completes all requests, each with its own outcome.
pub(crate) fn wait_all(
    call: &Call<'_>,
    requests: &mut [ffi::MPI_Request],
) -> Result<Vec<Result<RawStatus>>> {
    let count = c_count(call, "number of requests", requests.len())?;
    let mut statuses = vec![empty_status(); requests.len()];
    let mut backoff = Backoff::new();
    let code = loop {
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
            break code;
        }
        backoff.pause();
    };
    if code == SUCCESS {
        return Ok(statuses.into_iter().map(|status| Ok(RawStatus(status))).collect());
    }
    // Some failed: complete what is still pending one by one, and say of each how it ended.
    let in_status = super::error_class(code) == ffi::phx_err_in_status();
    let mut outcomes = Vec::with_capacity(requests.len());
    for (request, status) in requests.iter_mut().zip(statuses) {
        outcomes.push(if *request != null() {
            wait(call, request)
        } else if in_status && status.MPI_ERROR != SUCCESS {
            Err(failure(call, status.MPI_ERROR))
        } else if in_status {
            Ok(RawStatus(status))
        } else {
            Err(failure(call, code))
        });
    }
    Ok(outcomes)
}

/// Completes all requests whose statuses nobody asks for. The fast path of a window of messages.
#[inline]
pub(crate) fn finish_all(call: &Call<'_>, requests: &mut [ffi::MPI_Request]) -> Result<()> {
    if policy() == Policy::Library && requests.len() < i32::MAX as usize {
        // SAFETY: the array has as many entries as the count says.
        return gate(call, || unsafe {
            ffi::MPI_Waitall(
                requests.len() as i32,
                requests.as_mut_ptr(),
                ffi::RSMPI_STATUSES_IGNORE,
            )
        });
    }
    wait_all(call, requests)?.into_iter().try_for_each(|outcome| outcome.map(drop))
}

/// Completes at least one of the requests and returns its index, or `None` if all are null.
pub(crate) fn wait_any(
    call: &Call<'_>,
    requests: &mut [ffi::MPI_Request],
) -> Result<Option<(usize, Result<RawStatus>)>> {
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
            return Ok(Some((index as usize, Err(failure(call, code)))));
        }
        if done != 0 {
            return Ok(Some((index as usize, Ok(RawStatus(status)))));
        }
        backoff.pause();
    }
}

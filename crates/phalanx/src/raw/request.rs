//! Completion of requests.

use std::mem::MaybeUninit;
use std::os::raw::c_int;

use phalanx_sys as ffi;

use super::p2p::RawStatus;
use super::wait::{Backoff, Policy, policy, poll};
use super::{ABANDONED, SUCCESS, c_count, failure, gate, gate_as, look, strict};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{self, Call, Kind, Name, Noted, What};

/// A request in flight, or the null request, and where the record knows it.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    pub raw: ffi::MPI_Request,
    place: u16,
    receives: bool,
    cancelled: bool,
}

/// The request that stands for nothing.
#[inline(always)]
pub(crate) fn null() -> Live {
    // SAFETY: reading a constant of the C library.
    let raw = unsafe { ffi::RSMPI_REQUEST_NULL };
    Live { raw, place: record::NONE, receives: false, cancelled: false }
}

impl Live {
    #[inline(always)]
    pub fn is_null(&self) -> bool {
        // SAFETY: reading a constant of the C library.
        self.raw == unsafe { ffi::RSMPI_REQUEST_NULL }
    }

    /// Notes a request that was started.
    #[inline(always)]
    pub fn started(&mut self, call: &Call<'_>, what: &What) {
        self.place = record::pend(call, what);
        self.receives = what.kind == Kind::Receive;
    }

    /// The same for a send of strict mode, which reads from a copy.
    pub fn keep(&self, copy: Vec<u8>) {
        strict::keep(self.place, copy);
    }

    /// What the members of a communicator tell each other about a collective that was started.
    pub(super) fn agree(&self, agreement: strict::Agreement) {
        strict::agree_later(self.place, agreement);
    }

    /// The request is over. Counts the message that was received, if there is one.
    #[inline(always)]
    fn over(&mut self, call: &Call<'_>, status: &ffi::MPI_Status, code: c_int) -> Result<()> {
        let it = *self;
        *self = null();
        if policy() == Policy::Poll || code != SUCCESS || it.cancelled {
            return it.over_slowly(&call.copy(), status, code);
        }
        if it.receives
            && let Some(comm) = call.comm
        {
            comm.count_received(status.MPI_SOURCE, status.MPI_TAG);
        }
        record::finish(it.place);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn over_slowly(self, call: &Call<'_>, status: &ffi::MPI_Status, code: c_int) -> Result<()> {
        let noted = record::pending(self.place);
        if self.receives {
            // It is open no more: others are asked for now.
            record::finish(self.place);
            return self.arrived(call, status, code, noted);
        }
        let mut outcome = Ok(());
        if strict::is_on() {
            // An error of the library's may be what becomes of a disagreement.
            let patient = code != SUCCESS;
            gate(call, || {
                outcome = strict::completed(call, self.place, patient);
                SUCCESS
            })?;
            // The place may be another's as soon as it is given back.
            strict::forget(self.place);
        }
        record::finish(self.place);
        outcome
    }

    /// Counts the message of a receive; in strict mode looks at what it holds.
    fn arrived(
        &self,
        call: &Call<'_>,
        status: &ffi::MPI_Status,
        code: c_int,
        noted: Option<Noted>,
    ) -> Result<()> {
        if self.cancelled {
            let mut flag = 0;
            // SAFETY: the status is that of a completed request.
            let answer = unsafe { ffi::MPI_Test_cancelled(status, &mut flag) };
            if answer != SUCCESS || flag != 0 {
                return Ok(());
            }
        }
        if code == SUCCESS || super::is_truncation(code) {
            let element = noted.map_or(record::no_name as Name, |it| it.what.element);
            let room = noted.map_or(0, |it| it.what.bytes as usize);
            return super::p2p::received(call, &RawStatus(*status), element, room);
        }
        Ok(())
    }
}

fn empty_status() -> ffi::MPI_Status {
    // SAFETY: a status is plain integers, for which zero is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// A wait for all of some requests.
fn wait_for_all() -> What {
    What::of(Kind::WaitAll, 0, record::no_name)
}

#[inline]
pub(crate) fn test(call: &Call<'_>, request: &mut Live) -> Result<Option<RawStatus>> {
    let mut status = empty_status();
    let mut code = SUCCESS;
    let mut done = 0;
    record::mark(request.place);
    // SAFETY: the request is live or null; both results are writable.
    let outcome = look(call, &wait_for_all(), || unsafe {
        code = ffi::MPI_Test(&mut request.raw, &mut done, &mut status);
        (code, done != 0)
    });
    if code != SUCCESS {
        // An error ends the request too.
        request.over(call, &status, code)?;
    }
    if !outcome? {
        return Ok(None);
    }
    request.over(call, &status, SUCCESS)?;
    Ok(Some(RawStatus(status)))
}

#[inline]
pub(crate) fn wait(call: &Call<'_>, request: &mut Live) -> Result<RawStatus> {
    let mut status = empty_status();
    let mut outcome = SUCCESS;
    let passed = gate_as(call, wait_for_all, || {
        record::mark(request.place);
        record::marked();
        outcome = complete_one(&mut request.raw, &mut status);
        outcome
    });
    if outcome != ABANDONED && (passed.is_ok() || outcome != SUCCESS) {
        request.over(call, &status, outcome)?;
    }
    passed.map(|()| RawStatus(status))
}

#[inline(always)]
fn complete_one(request: &mut ffi::MPI_Request, status: &mut ffi::MPI_Status) -> c_int {
    match policy() {
        // SAFETY: the request is live or null; the status is writable.
        Policy::Library => unsafe { ffi::MPI_Wait(request, status) },
        Policy::Poll => poll(request, status, Kind::WaitAll),
    }
}

/// Whether the operation of a request goes on although a call about it failed: its buffers must stay.
/// So it is where the gate refused the call, and where the watch ended a wait.
pub(crate) fn was_refused(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Thread | ErrorKind::State | ErrorKind::Deadlock)
}

pub(crate) fn cancel(call: &Call<'_>, request: &mut Live) -> Result<()> {
    if request.is_null() {
        return Ok(());
    }
    // SAFETY: the request is live.
    gate(call, || unsafe { ffi::MPI_Cancel(&mut request.raw) })?;
    request.cancelled = true;
    Ok(())
}

/// Cancels a receive that never gets its message. If it has got it after all, that is the result.
pub(super) fn take_back(request: &mut ffi::MPI_Request, status: *mut ffi::MPI_Status) -> c_int {
    let mut end = empty_status();
    let mut cancelled = 0;
    // SAFETY: the request is live; a receive that is cancelled or has its message completes.
    let code = unsafe {
        ffi::MPI_Cancel(request);
        let code = ffi::MPI_Wait(request, &mut end);
        ffi::MPI_Test_cancelled(&end, &mut cancelled);
        code
    };
    if code == SUCCESS && cancelled != 0 {
        return ABANDONED;
    }
    if status != super::wait::ignore() {
        // SAFETY: the caller gave a status to write to.
        unsafe { *status = end };
    }
    code
}

/// Completes all requests, each with its own outcome. `origin` says what a request is, for its error.
pub(crate) fn wait_all<'a>(
    call: &Call<'_>,
    requests: &mut [Live],
    origin: impl Fn(usize) -> Call<'a>,
) -> Result<Vec<Result<RawStatus>>> {
    let mut outcomes = Vec::with_capacity(requests.len());
    complete(call, requests, |request, index, status, code| {
        let call = origin(index);
        let over = request.over(&call, status, code);
        outcomes.push(match code {
            SUCCESS => over.map(|()| RawStatus(*status)),
            code => Err(failure(&call, code)),
        });
    })?;
    Ok(outcomes)
}

/// Completes all requests, of which nobody asks for more than the first error. The fast path of a
/// window of messages.
#[inline]
pub(crate) fn finish_all<'a>(
    call: &Call<'_>,
    requests: &mut [Live],
    origin: impl Fn(usize) -> Call<'a>,
) -> Result<()> {
    let mut first_error = Ok(());
    complete(call, requests, |request, index, status, code| {
        let call = origin(index);
        let over = request.over(&call, status, code);
        if first_error.is_ok() {
            first_error = if code == SUCCESS { over } else { Err(failure(&call, code)) };
        }
    })?;
    first_error
}

/// One after the other, in one pass of the gate; progress is that of all. Not `MPI_Waitall`: that of
/// Open MPI 4.1 never returns when one of the requests has failed before the call.
#[inline]
fn complete(
    call: &Call<'_>,
    requests: &mut [Live],
    mut done: impl FnMut(&mut Live, usize, &ffi::MPI_Status, c_int),
) -> Result<()> {
    gate_as(call, wait_for_all, || {
        for request in requests.iter() {
            record::mark(request.place);
        }
        record::marked();
        let mut status = empty_status();
        for (index, request) in requests.iter_mut().enumerate() {
            let code = complete_one(&mut request.raw, &mut status);
            if code == ABANDONED {
                return code;
            }
            done(request, index, &status, code);
        }
        SUCCESS
    })
}

/// Completes one of the requests and returns its index and its status or code, or `None` if all are
/// null. `origin` says what a request is.
pub(crate) fn wait_any<'a>(
    call: &Call<'_>,
    requests: &mut [Live],
    origin: impl Fn(usize) -> Call<'a>,
) -> Result<Option<(usize, Result<RawStatus>)>> {
    let count = c_count(call, "number of requests", requests.len())?;
    let mut raw: Vec<ffi::MPI_Request> = requests.iter().map(|request| request.raw).collect();
    let mut status = empty_status();
    let mut index = 0;
    let mut code = SUCCESS;
    // SAFETY: reading a constant of the C library.
    let undefined = unsafe { ffi::RSMPI_UNDEFINED };
    let what = || What::of(Kind::WaitAny, 0, record::no_name);
    gate_as(call, what, || {
        for request in requests.iter() {
            record::mark(request.place);
        }
        record::marked();
        if policy() == Policy::Library {
            // SAFETY: the array has `count` entries, the results are writable.
            code = unsafe { ffi::MPI_Waitany(count, raw.as_mut_ptr(), &mut index, &mut status) };
            return SUCCESS;
        }
        let mut backoff = Backoff::new();
        loop {
            let mut done = 0;
            // SAFETY: as above.
            code = unsafe {
                ffi::MPI_Testany(count, raw.as_mut_ptr(), &mut index, &mut done, &mut status)
            };
            if done != 0 || code != SUCCESS {
                return SUCCESS;
            }
            super::unmatched::look();
            backoff.pause();
            if record::is_told() {
                return ABANDONED;
            }
        }
    })?;
    if index == undefined {
        return if code == SUCCESS { Ok(None) } else { Err(failure(call, code)) };
    }
    let at = index as usize;
    let call = origin(at);
    let over = requests[at].over(&call, &status, code);
    let outcome = match code {
        SUCCESS => over.map(|()| RawStatus(status)),
        code => Err(failure(&call, code)),
    };
    Ok(Some((at, outcome)))
}

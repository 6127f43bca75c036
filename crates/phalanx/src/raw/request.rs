//! Completion of requests.

use std::os::raw::c_int;

use phalanx_sys as ffi;

use super::arrival::received;
pub(crate) use super::arrival::was_refused;
use super::mark::{self, Start};
use super::notes::{self, Number, Which};
use super::status::RawStatus;
use super::strict::copies;
use super::view::{Target, ViewMut};
use super::wait::{Backoff, Policy, empty_status, policy, poll};
use super::{ABANDONED, SUCCESS, c_count, failure, gate, gate_as, look, observer, state, strict};
use crate::error::{Error, Result};
use crate::record::{self, Allowed, Call, Kind, Name, Noted, What};

/// A request in flight, or the null request, and where the record knows it.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    pub raw: ffi::MPI_Request,
    place: u16,
    receives: bool,
    cancelled: bool,
    /// Of a receive: how many bytes there is room for, and where typed memory starts.
    room: usize,
    start: Start,
    /// Whether it is the receive of an object.
    object: bool,
}

/// The request that stands for nothing.
#[inline(always)]
pub(crate) fn null() -> Live {
    // SAFETY: reading a constant of the C library.
    let raw = unsafe { ffi::RSMPI_REQUEST_NULL };
    let (receives, cancelled) = (false, false);
    let (room, start) = (0, Start::NONE);
    Live { raw, place: record::NONE, receives, cancelled, room, start, object: false }
}

impl Live {
    #[inline(always)]
    pub fn is_null(&self) -> bool {
        // SAFETY: reading a constant of the C library.
        self.raw == unsafe { ffi::RSMPI_REQUEST_NULL }
    }

    /// Notes a request that was started.
    #[inline(always)]
    pub fn started(&mut self, allowed: Allowed<'_>, call: &Call<'_>, what: &What) {
        self.place = record::pend(allowed, call, what);
        self.receives = what.kind == Kind::Receive;
        notes::posted(call, self.place, what, None);
    }

    /// The same for the receive of a message that was matched before.
    pub(super) fn started_matched(
        &mut self,
        allowed: Allowed<'_>,
        call: &Call<'_>,
        what: &What,
        number: Number,
    ) {
        self.place = record::pend(allowed, call, what);
        self.receives = true;
        notes::posted(call, self.place, what, Some(number));
    }

    /// Notes what memory a receive fills.
    #[inline(always)]
    pub fn fills(&mut self, view: &ViewMut<'_>) {
        self.room = view.bytes_in_all();
        self.start = Start::of(view);
    }

    /// Notes that an object is received: a message that does not fit is none.
    pub fn of_object(&mut self) {
        self.object = true;
    }

    /// Whether it was asked to be cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Notes a receive that the record does not list.
    pub fn receives_apart(&mut self) {
        self.receives = true;
    }

    /// The same for a send of strict mode, which reads from a copy.
    pub fn keep(&self, copy: Vec<u8>) {
        copies::keep(self.place, copy);
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
        if policy() == Policy::Poll || code != SUCCESS || it.cancelled || observer::compares() {
            return it.over_slowly(&call.copy(), status, code);
        }
        if it.receives
            && let Some(comm) = call.comm
        {
            comm.count_received(status.MPI_SOURCE, status.MPI_TAG);
        }
        record::finish(it.place);
        if it.receives { it.start.check(call, &RawStatus(*status)) } else { Ok(()) }
    }

    /// The request is over with an error, which this returns.
    #[cold]
    fn failed(&mut self, call: &Call<'_>, status: &ffi::MPI_Status, code: c_int) -> Error {
        let Live { room, receives, object, .. } = *self;
        match self.over(call, status, code) {
            // What is known of the message says more than the library.
            Err(error) if object => mark::no_object(error),
            Err(error) => error,
            Ok(()) if !receives => failure(call, code),
            Ok(()) => {
                let status = RawStatus(*status);
                let error = super::arrival::with_lengths(failure(call, code), &status, room);
                if object { mark::no_object(error) } else { error }
            }
        }
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
        if observer::is_strict() {
            // An error of the library's may be what becomes of a disagreement.
            let patient = code != SUCCESS;
            gate(call, || {
                outcome = strict::completed(call, self.place, patient);
                SUCCESS
            })?;
            // The place may be another's as soon as it is given back.
            copies::forget(self.place);
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
                notes::closed(self.place);
                return Ok(());
            }
        }
        if code == SUCCESS || super::is_truncation(code) {
            let element = noted.map_or(record::no_name as Name, |it| it.what.element);
            let room = noted.map_or(0, |it| it.what.bytes as usize);
            let start = if code == SUCCESS { self.start } else { Start::NONE };
            let target = Target { element, room, start };
            return received(call, &RawStatus(*status), target, Which::Posted(self.place));
        }
        notes::closed(self.place);
        notes::lost(call);
        Ok(())
    }
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
        return Err(request.failed(call, &status, code));
    }
    if !outcome? {
        return Ok(None);
    }
    request.over(call, &status, SUCCESS)?;
    Ok(Some(RawStatus(status)))
}

/// Whether a request is over that the program does not wait for. For the record it is no call.
pub(crate) fn is_over(call: &Call<'_>, request: &mut Live) -> Result<bool> {
    let mut status = empty_status();
    let mut done = 0;
    let code = {
        let _permit = state::permit(call)?;
        // SAFETY: the request is live or null; both results are writable.
        unsafe { ffi::MPI_Test(&mut request.raw, &mut done, &mut status) }
    };
    match code {
        SUCCESS if done == 0 => Ok(false),
        SUCCESS => request.over(call, &status, code).map(|()| true),
        code => Err(request.failed(call, &status, code)),
    }
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
    if outcome != ABANDONED && outcome != SUCCESS {
        return Err(request.failed(call, &status, outcome));
    }
    if passed.is_ok() {
        request.over(call, &status, SUCCESS)?;
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

pub(crate) fn cancel(call: &Call<'_>, request: &mut Live) -> Result<()> {
    if request.is_null() {
        return Ok(());
    }
    // SAFETY: the request is live.
    gate(call, || unsafe { ffi::MPI_Cancel(&mut request.raw) })?;
    request.cancelled = true;
    notes::cancelled(request.place);
    Ok(())
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
        outcomes.push(match code {
            SUCCESS => request.over(&call, status, code).map(|()| RawStatus(*status)),
            code => Err(request.failed(&call, status, code)),
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
        let over = match code {
            SUCCESS => request.over(&call, status, code),
            code => Err(request.failed(&call, status, code)),
        };
        first_error = std::mem::replace(&mut first_error, Ok(())).and(over);
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
            backoff.pause();
            if record::has_verdict() {
                return ABANDONED;
            }
        }
    })?;
    if index == undefined {
        return if code == SUCCESS { Ok(None) } else { Err(failure(call, code)) };
    }
    let at = index as usize;
    let call = origin(at);
    let outcome = match code {
        SUCCESS => requests[at].over(&call, &status, code).map(|()| RawStatus(status)),
        code => Err(requests[at].failed(&call, &status, code)),
    };
    Ok(Some((at, outcome)))
}

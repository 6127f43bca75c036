//! Messages that are matched first and received later.

use std::mem::MaybeUninit;

use phalanx_sys as ffi;

use super::{Envelope, RawStatus, half, identity};
use crate::error::Result;
use crate::raw::arrival::{received_or_cut, with_both_lengths};
use crate::raw::notes::{self, Number, Which};
use crate::raw::request::Live;
use crate::raw::wait::{Policy, blocking, policy, until};
use crate::raw::{ViewMut, delay, gate_as, look};
use crate::record::{Allowed, Call, Kind, What, no_name};

/// A message that has been matched: nobody else can receive it.
pub struct Matched {
    pub(super) message: ffi::MPI_Message,
    pub status: RawStatus,
    /// The number of the message, where types are compared.
    pub(super) number: Number,
}

impl Matched {
    fn new(call: &Call<'_>, message: ffi::MPI_Message, status: RawStatus) -> Self {
        Matched { message, status, number: notes::probed(call, &status) }
    }
}

// SAFETY: a message handle is a plain value; the gate checks which thread may use it.
unsafe impl Send for Matched {}

pub(crate) fn try_probe(call: &Call<'_>, from: Envelope) -> Result<Option<Matched>> {
    let comm = identity(call);
    let mut status = MaybeUninit::<ffi::MPI_Status>::zeroed();
    // SAFETY: reading a constant of the C library.
    let mut message = unsafe { ffi::RSMPI_MESSAGE_NULL };
    let mut found = 0;
    let what = What::of(Kind::Probe, 0, no_name);
    // SAFETY: all three results are writable.
    let found = look(call, &what, || unsafe {
        let code = ffi::MPI_Improbe(
            from.rank,
            from.tag,
            comm,
            &mut found,
            &mut message,
            status.as_mut_ptr(),
        );
        (code, found != 0)
    })?;
    // SAFETY: zero is a valid status.
    let status = RawStatus(unsafe { status.assume_init() });
    Ok(found.then(|| Matched::new(call, message, status)))
}

/// Looks whether there is a message, and leaves it there for anybody.
pub(crate) fn peek(call: &Call<'_>, from: Envelope) -> Result<Option<RawStatus>> {
    let comm = identity(call);
    let mut status = RawStatus::empty();
    let mut found = 0;
    let what = What::of(Kind::Probe, 0, no_name);
    // SAFETY: both results are writable.
    let found = look(call, &what, || unsafe {
        let code = ffi::MPI_Iprobe(from.rank, from.tag, comm, &mut found, &mut status.0);
        (code, found != 0)
    })?;
    Ok(found.then_some(status))
}

pub(super) fn note_matched(
    allowed: Allowed<'_>,
    call: &Call<'_>,
    matched: &Matched,
    view: &ViewMut<'_>,
    request: &mut Live,
) {
    let envelope = Envelope { rank: matched.status.source(), tag: matched.status.tag() };
    let what = What::of(Kind::Receive, view.bytes_in_all(), view.element);
    request.started_matched(allowed, &half(call, envelope), &what, matched.number);
    request.fills(view);
}

pub(crate) fn probe(call: &Call<'_>, from: Envelope) -> Result<Matched> {
    if policy() == Policy::Poll {
        delay::delay();
        return until(call, Kind::Probe, || try_probe(call, from));
    }
    let comm = identity(call);
    let mut status = MaybeUninit::<ffi::MPI_Status>::zeroed();
    // SAFETY: reading a constant of the C library.
    let mut message = unsafe { ffi::RSMPI_MESSAGE_NULL };
    let what = || What::of(Kind::Probe, 0, no_name);
    // SAFETY: both results are writable.
    gate_as(call, what, || unsafe {
        ffi::MPI_Mprobe(from.rank, from.tag, comm, &mut message, status.as_mut_ptr())
    })?;
    // SAFETY: zero is a valid status, and the call succeeded.
    Ok(Matched::new(call, message, RawStatus(unsafe { status.assume_init() })))
}

/// Receives a message that was matched before.
pub(crate) fn mrecv(call: &Call<'_>, mut matched: Matched, view: ViewMut<'_>) -> Result<RawStatus> {
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let message = &raw mut matched.message;
    let number = matched.number;
    // The null process, whose message this may be, writes no status that counts.
    let mut status = matched.status;
    let pointer = &raw mut status.0;
    // The message is here: nothing is waited for but its rest.
    let outcome = blocking(
        call,
        What::local,
        // SAFETY: the view lends `count` items of `datatype` until this function returns; the
        // message was matched and is received once.
        move || unsafe { ffi::MPI_Mrecv(buffer, count, datatype, message, pointer) },
        // SAFETY: as above.
        move |request| unsafe { ffi::MPI_Imrecv(buffer, count, datatype, message, request) },
        move || pointer,
    );
    // Its length was known before.
    let came = matched.status.bytes(call)?;
    let outcome = outcome.map_err(|error| with_both_lengths(error, came, view.bytes_in_all()));
    received_or_cut(call, outcome, &status, view.target(), Which::Matched(number))?;
    Ok(status)
}

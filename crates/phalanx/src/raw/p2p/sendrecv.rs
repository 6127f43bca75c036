//! A send and a receive at the same time.

use phalanx_sys as ffi;

use super::{Envelope, RawStatus, begin_send, half, identity};
use crate::error::Result;
use crate::raw::arrival::{received, received_or_cut};
use crate::raw::notes::Which;
use crate::raw::strict::copies;
use crate::raw::view::Target;
use crate::raw::wait::{self, Policy, ignore, policy, poll};
use crate::raw::{ABANDONED, SUCCESS, View, ViewMut, noted, permit, request, strict};
use crate::record::{self, Allowed, Call, Kind, What, no_name};

/// What a call waits for that sends and receives at the same time.
struct Halves {
    sending: u16,
    receiving: u16,
}

impl Halves {
    fn start(
        allowed: Allowed<'_>,
        call: &Call<'_>,
        send: &What,
        from: Envelope,
        recv: &What,
    ) -> Self {
        let halves = Halves {
            sending: record::pend(allowed, call, send),
            receiving: record::pend(allowed, &half(call, from), recv),
        };
        record::mark(halves.sending);
        record::mark(halves.receiving);
        record::marked();
        halves
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        record::finish(self.sending);
        record::finish(self.receiving);
    }
}

/// A send and a receive at the same time.
fn both() -> What {
    What::of(Kind::WaitAll, 0, no_name)
}

pub(crate) fn sendrecv(
    call: &Call<'_>,
    send: View<'_>,
    to: Envelope,
    recv: ViewMut<'_>,
    from: Envelope,
) -> Result<RawStatus> {
    let comm = identity(call);
    let (outgoing, incoming) = (send.counted(call)?, recv.counted(call)?);
    let mut status = RawStatus::empty();
    let pointer = &raw mut status.0;
    if policy() == Policy::Poll {
        return sendrecv_polled(call, send, to, recv, from);
    }
    let (sends, receives) = parts(&send, &recv);
    let permit = permit(call)?;
    let outcome = noted(call, both, || {
        let _halves = Halves::start(permit.allowed(), call, &sends, from, &receives);
        let code = begin_send(call, to, &sends);
        if code != SUCCESS {
            return code;
        }
        // SAFETY: both views are borrowed until the call returns, and one of them mutably: they do
        // not overlap.
        unsafe {
            ffi::MPI_Sendrecv(
                send.pointer,
                outgoing.count,
                outgoing.datatype,
                to.rank,
                to.tag,
                recv.pointer,
                incoming.count,
                incoming.datatype,
                from.rank,
                from.tag,
                comm,
                pointer,
            )
        }
    });
    received_or_cut(&half(call, from), outcome, &status, recv.target(), Which::Now)?;
    Ok(status)
}

fn parts(send: &View<'_>, recv: &ViewMut<'_>) -> (What, What) {
    let kind = if strict::is_on() { Kind::SyncSend } else { Kind::Send };
    (
        What::of(kind, send.bytes_in_all(), send.element),
        What::of(Kind::Receive, recv.bytes_in_all(), recv.element),
    )
}

/// The same as a receive and a send that are posted together. Both complete before it returns,
/// whatever fails: the buffers are the caller's again. One pass of the gate for all of it, so that no
/// other thread can come between.
fn sendrecv_polled(
    call: &Call<'_>,
    send: View<'_>,
    to: Envelope,
    recv: ViewMut<'_>,
    from: Envelope,
) -> Result<RawStatus> {
    let comm = identity(call);
    let copy = copies::copy_of(call, &send)?;
    let send = copy.as_deref().map_or(send, |copy| View::copy_of(copy, &send));
    let (sends, receives) = parts(&send, &recv);
    let (outgoing, incoming) = (send.counted(call)?, recv.counted(call)?);
    let (mut receiving, mut sending) = (request::null().raw, request::null().raw);
    let mut status = RawStatus::empty();
    let pointer = &raw mut status.0;
    let (mut abandoned, mut came) = (false, false);
    let permit = permit(call)?;
    let outcome = noted(call, both, || {
        let _halves = Halves::start(permit.allowed(), call, &sends, from, &receives);
        // SAFETY: both views are borrowed until this function returns, and both requests are
        // complete by then.
        let code = unsafe {
            ffi::MPI_Irecv(
                recv.pointer,
                incoming.count,
                incoming.datatype,
                from.rank,
                from.tag,
                comm,
                &mut receiving,
            )
        };
        if code != SUCCESS {
            return code;
        }
        let code = begin_send(call, to, &sends);
        if code != SUCCESS {
            wait::take_back(&mut receiving, ignore());
            return code;
        }
        let (buffer, count, datatype) = (send.pointer, outgoing.count, outgoing.datatype);
        // SAFETY: as above; where the send is abandoned, it reads a copy that stays allocated.
        let code = unsafe {
            if strict::is_on() {
                ffi::MPI_Issend(buffer, count, datatype, to.rank, to.tag, comm, &mut sending)
            } else {
                ffi::MPI_Isend(buffer, count, datatype, to.rank, to.tag, comm, &mut sending)
            }
        };
        if code != SUCCESS {
            wait::take_back(&mut receiving, ignore());
            return code;
        }
        let received = poll(&mut receiving, pointer, Kind::Receive);
        if received == ABANDONED {
            abandoned = true;
            return received;
        }
        came = received == SUCCESS;
        let sent = poll(&mut sending, ignore(), Kind::Send);
        abandoned = sent == ABANDONED;
        if received != SUCCESS { received } else { sent }
    });
    if abandoned {
        // MPI may read it for ever.
        std::mem::forget(copy);
    }
    if came && outcome.is_err() {
        // The error that is told is the one of the send.
        let _ = received(&half(call, from), &status, Target::UNKNOWN, Which::Now);
    }
    received_or_cut(&half(call, from), outcome, &status, recv.target(), Which::Now)?;
    Ok(status)
}

pub(crate) fn sendrecv_replace(
    call: &Call<'_>,
    view: ViewMut<'_>,
    to: Envelope,
    from: Envelope,
) -> Result<RawStatus> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let mut status = RawStatus::empty();
    let pointer = &raw mut status.0;
    let (sends, receives) = parts(&view.reborrow(), &view);
    let permit = permit(call)?;
    let outcome = noted(call, both, || {
        let _halves = Halves::start(permit.allowed(), call, &sends, from, &receives);
        let code = begin_send(call, to, &sends);
        if code != SUCCESS {
            return code;
        }
        // SAFETY: the view is lent until the call returns.
        unsafe {
            ffi::MPI_Sendrecv_replace(
                view.pointer,
                counted.count,
                counted.datatype,
                to.rank,
                to.tag,
                from.rank,
                from.tag,
                comm,
                pointer,
            )
        }
    });
    received_or_cut(&half(call, from), outcome, &status, view.target(), Which::Now)?;
    Ok(status)
}

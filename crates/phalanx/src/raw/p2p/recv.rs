//! Blocking receives.

use std::os::raw::c_void;

use phalanx_sys as ffi;

use super::{Envelope, RawStatus, identity, pass};
use crate::error::Result;
use crate::raw::wait::{self, Policy, policy, poll};
use crate::raw::{SUCCESS, ViewMut, gate_as, request, state, strict};
use crate::record::{Call, Kind, Name, What, no_name};

/// Receives into a view; the status is the caller's, so that it need not be copied.
#[inline(always)]
pub(crate) fn recv(
    call: &Call<'_>,
    view: ViewMut<'_>,
    from: Envelope,
    status: &mut RawStatus,
) -> Result<()> {
    if state::is_direct() {
        return recv_directly(call, view, from, status, true);
    }
    let (pointer, items, datatype, element) =
        (view.pointer, view.items, view.datatype, view.element);
    let item = view.item_bytes();
    recv_indirectly(&call.copy(), pointer, items, datatype, item, element, from, status)
}

#[inline(always)]
fn recv_directly(
    call: &Call<'_>,
    view: ViewMut<'_>,
    from: Envelope,
    status: &mut RawStatus,
    is_open: bool,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let what = What::of(Kind::Receive, view.bytes_in_all(), view.element);
    let pointer = &raw mut status.0;
    let outcome = pass(
        is_open,
        call,
        move || what,
        || {
            // SAFETY: the view lends `count` items of `datatype` until this function returns.
            unsafe { ffi::MPI_Recv(buffer, count, datatype, from.rank, from.tag, comm, pointer) }
        },
    );
    match outcome {
        Ok(()) => {
            if let Some(comm) = call.comm {
                comm.count_received(status.source(), status.tag());
            }
            Ok(())
        }
        Err(error) => received_or_cut(&call.copy(), Err(error), status, no_name, 0),
    }
}

#[cold]
#[inline(never)]
#[allow(clippy::too_many_arguments, reason = "the parts of a view")]
fn recv_indirectly(
    call: &Call<'_>,
    pointer: *mut c_void,
    items: usize,
    datatype: ffi::MPI_Datatype,
    item_bytes: usize,
    element: Name,
    from: Envelope,
    status: &mut RawStatus,
) -> Result<()> {
    // SAFETY: the view that the caller has taken apart.
    let view = unsafe { ViewMut::new(pointer, items, datatype, item_bytes, element) };
    wait::tell_thread();
    match policy() {
        Policy::Library => recv_directly(call, view, from, status, false),
        Policy::Poll => recv_polled(call, view, from, status),
    }
}

fn recv_polled(
    call: &Call<'_>,
    view: ViewMut<'_>,
    from: Envelope,
    status: &mut RawStatus,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let what = What::of(Kind::Receive, view.bytes_in_all(), view.element);
    let pointer = &raw mut status.0;
    let outcome = gate_as(
        call,
        || what,
        || {
            strict::delay();
            let mut request = request::null().raw;
            // SAFETY: the view lends `count` items of `datatype` until this function returns, and the
            // receive is complete by then.
            let code = unsafe {
                ffi::MPI_Irecv(buffer, count, datatype, from.rank, from.tag, comm, &mut request)
            };
            if code != SUCCESS { code } else { poll(&mut request, pointer, Kind::Receive) }
        },
    );
    received_or_cut(call, outcome, status, view.element, what.bytes as usize)
}

/// Counts a message that has been received. In strict mode it must hold what the receiver takes it for.
#[inline]
pub(in crate::raw) fn received(
    call: &Call<'_>,
    status: &RawStatus,
    element: Name,
    room: usize,
) -> Result<()> {
    if let Some(comm) = call.comm {
        comm.count_received(status.source(), status.tag());
        if strict::is_on() {
            return strict::check_message(&call.copy(), comm, status, element, room);
        }
    }
    Ok(())
}

/// The same where the call may have failed: a message that is cut off is received all the same.
#[inline]
pub(super) fn received_or_cut(
    call: &Call<'_>,
    outcome: Result<()>,
    status: &RawStatus,
    element: Name,
    room: usize,
) -> Result<()> {
    match outcome {
        Ok(()) => received(call, status, element, room),
        Err(error) => {
            if error.is_truncated() {
                // The error that is told is the one of the receive.
                let _ = received(&call.copy(), status, element, 0);
            }
            Err(error)
        }
    }
}

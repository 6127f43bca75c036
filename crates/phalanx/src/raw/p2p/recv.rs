//! Blocking receives.

use phalanx_sys as ffi;

use super::{Envelope, RawStatus, identity, pass};
use crate::error::Result;
use crate::raw::arrival::received_or_cut;
use crate::raw::mark::Start;
use crate::raw::notes::Which;
use crate::raw::wait::{self, Policy, policy, poll};
use crate::raw::{SUCCESS, ViewMut, delay, gate_as, request, state};
use crate::record::{Call, Kind, What};

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
    recv_indirectly(&call.copy(), view.moved(), from, status)
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
        // Where the path is open nobody compares.
        Ok(()) if is_open => {
            if let Some(comm) = call.comm {
                comm.count_received(status.source(), status.tag());
            }
            Start::of(&view).check(call, status)
        }
        outcome => received_or_cut(&call.copy(), outcome, status, view.target(), Which::Now),
    }
}

#[cold]
#[inline(never)]
fn recv_indirectly(
    call: &Call<'_>,
    view: ViewMut<'_>,
    from: Envelope,
    status: &mut RawStatus,
) -> Result<()> {
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
            delay::delay();
            let mut request = request::null().raw;
            // SAFETY: the view lends `count` items of `datatype` until this function returns, and the
            // receive is complete by then.
            let code = unsafe {
                ffi::MPI_Irecv(buffer, count, datatype, from.rank, from.tag, comm, &mut request)
            };
            if code != SUCCESS { code } else { poll(&mut request, pointer, Kind::Receive) }
        },
    );
    received_or_cut(call, outcome, status, view.target(), Which::Now)
}

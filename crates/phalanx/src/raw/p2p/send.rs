//! Blocking sends.

use std::os::raw::c_void;

use phalanx_sys as ffi;

use super::{Envelope, identity, pass};
use crate::error::Result;
use crate::raw::wait::{self, Policy, ignore, policy, poll};
use crate::raw::{SUCCESS, View, gate_as, request, state, strict};
use crate::record::{Call, Kind, Name, What};

/// The modes of a send (MPI-4.1, section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Standard,
    Synchronous,
    Buffered,
    Ready,
}

impl Mode {
    #[inline(always)]
    fn what(self, view: &View<'_>) -> impl FnOnce() -> What {
        let what = What::of(self.kind(), view.bytes_in_all(), view.element);
        move || what
    }

    #[inline(always)]
    pub(super) fn kind(self) -> Kind {
        match self {
            Mode::Standard | Mode::Ready => Kind::Send,
            Mode::Synchronous => Kind::SyncSend,
            Mode::Buffered => Kind::BufferedSend,
        }
    }
}

#[inline(always)]
pub(crate) fn send(call: &Call<'_>, mode: Mode, view: View<'_>, to: Envelope) -> Result<()> {
    if state::is_direct() {
        return send_directly(call, mode, view, to, true);
    }
    // In parts, so that the view need not be in memory where it is not passed on.
    let View { pointer, items, datatype, element, .. } = view;
    send_indirectly(&call.copy(), mode, pointer, items, datatype, view.item_bytes(), element, to)
}

#[inline(always)]
fn send_directly(
    call: &Call<'_>,
    mode: Mode,
    view: View<'_>,
    to: Envelope,
    is_open: bool,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    pass(is_open, call, mode.what(&view), || {
        if mode == Mode::Buffered {
            // SAFETY: as below.
            let code = unsafe { ffi::MPI_Bsend(buffer, count, datatype, to.rank, to.tag, comm) };
            // Where there was no room there is no message.
            if code == SUCCESS {
                count_sent(call, to);
            }
            return code;
        }
        count_sent(call, to);
        // SAFETY: the view borrows `count` items of `datatype` until this function returns.
        unsafe {
            match mode {
                Mode::Standard => ffi::MPI_Send(buffer, count, datatype, to.rank, to.tag, comm),
                Mode::Synchronous => ffi::MPI_Ssend(buffer, count, datatype, to.rank, to.tag, comm),
                Mode::Ready | Mode::Buffered => {
                    ffi::MPI_Rsend(buffer, count, datatype, to.rank, to.tag, comm)
                }
            }
        }
    })
}

#[cold]
#[inline(never)]
#[allow(clippy::too_many_arguments, reason = "the parts of a view")]
fn send_indirectly(
    call: &Call<'_>,
    mode: Mode,
    pointer: *const c_void,
    items: usize,
    datatype: ffi::MPI_Datatype,
    item_bytes: usize,
    element: Name,
    to: Envelope,
) -> Result<()> {
    // SAFETY: the view that the caller has taken apart.
    let view = unsafe { View::new(pointer, items, datatype, item_bytes, element) };
    wait::tell_thread();
    match policy() {
        Policy::Library => send_directly(call, mode, view, to, false),
        Policy::Poll if strict::is_on() => strict::send(call, mode, view, to),
        Policy::Poll => send_view(call, mode, view, to),
    }
}

/// A send that is started and then looked at until it is complete.
pub(in crate::raw) fn send_view(
    call: &Call<'_>,
    mode: Mode,
    view: View<'_>,
    to: Envelope,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let (rank, tag) = (to.rank, to.tag);
    gate_as(call, mode.what(&view), || {
        strict::delay();
        if mode == Mode::Buffered {
            // SAFETY: as below. It completes without the receiver: there is nothing to wait for.
            let code = unsafe { ffi::MPI_Bsend(buffer, count, datatype, rank, tag, comm) };
            if code == SUCCESS {
                count_sent(call, to);
            }
            return code;
        }
        count_sent(call, to);
        let mut request = request::null().raw;
        // SAFETY: the view borrows `count` items of `datatype` until this function returns, and the
        // request is complete by then.
        let code = unsafe {
            let request = &mut request;
            match mode {
                Mode::Standard => ffi::MPI_Isend(buffer, count, datatype, rank, tag, comm, request),
                Mode::Synchronous => {
                    ffi::MPI_Issend(buffer, count, datatype, rank, tag, comm, request)
                }
                Mode::Ready | Mode::Buffered => {
                    ffi::MPI_Irsend(buffer, count, datatype, rank, tag, comm, request)
                }
            }
        };
        if code != SUCCESS { code } else { poll(&mut request, ignore(), mode.kind()) }
    })
}

/// Counts a message before it is sent: it must not be received before it counts.
#[inline(always)]
pub(in crate::raw) fn count_sent(call: &Call<'_>, to: Envelope) {
    if let Some(comm) = call.comm {
        comm.count_sent(to.rank, to.tag);
    }
}

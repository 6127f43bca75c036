//! Blocking sends.

use std::os::raw::c_int;

use phalanx_sys as ffi;

use super::{Envelope, identity, pass};
use crate::error::{Error, Result};
use crate::raw::large::Counted;
use crate::raw::notes;
use crate::raw::strict::{self, copies};
use crate::raw::wait::{self, Policy, ignore, policy, poll};
use crate::raw::{SUCCESS, View, delay, gate_as, request, state};
use crate::record::{Call, Kind, What};

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
    pub(super) fn kind(self) -> Kind {
        match self {
            Mode::Standard | Mode::Ready => Kind::Send,
            Mode::Synchronous => Kind::SyncSend,
            Mode::Buffered => Kind::BufferedSend,
        }
    }

    /// The mode of a send that does not rely on buffers of the library.
    pub(super) fn unbuffered(self) -> Self {
        if self == Mode::Standard { Mode::Synchronous } else { self }
    }
}

#[inline(always)]
pub(crate) fn send(call: &Call<'_>, mode: Mode, view: View<'_>, to: Envelope) -> Result<()> {
    if state::is_direct() {
        return send_directly(call, mode, view, to, true);
    }
    send_indirectly(&call.copy(), mode, view.copy(), to)
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
    let what = What::of(mode.kind(), view.bytes_in_all(), view.element);
    pass(
        is_open,
        call,
        move || what,
        || {
            if mode == Mode::Buffered {
                return bsend(call, &view, &counted, to, &what);
            }
            if is_open {
                // Nobody compares where the path is open.
                count_sent(call, to);
            } else {
                let code = begin_send(call, to, &what);
                if code != SUCCESS {
                    return code;
                }
            }
            // SAFETY: the view borrows `count` items of `datatype` until this function returns.
            let code = unsafe {
                match mode {
                    Mode::Standard => ffi::MPI_Send(buffer, count, datatype, to.rank, to.tag, comm),
                    Mode::Synchronous => {
                        ffi::MPI_Ssend(buffer, count, datatype, to.rank, to.tag, comm)
                    }
                    Mode::Ready | Mode::Buffered => {
                        ffi::MPI_Rsend(buffer, count, datatype, to.rank, to.tag, comm)
                    }
                }
            };
            if code != SUCCESS {
                notes::not_sent(call, to.rank, to.tag);
            }
            code
        },
    )
}

#[cold]
#[inline(never)]
fn send_indirectly(call: &Call<'_>, mode: Mode, view: View<'_>, to: Envelope) -> Result<()> {
    wait::tell_thread();
    match policy() {
        Policy::Library => send_directly(call, mode, view, to, false),
        Policy::Poll if strict::is_on() => send_copy(call, mode, view, to),
        Policy::Poll => send_view(call, mode, view, to),
    }
}

/// A send of strict mode: synchronous, from a copy.
#[cold]
fn send_copy(call: &Call<'_>, mode: Mode, view: View<'_>, to: Envelope) -> Result<()> {
    let copy = copies::packed(call, &view)?;
    let outcome = send_view(call, mode.unbuffered(), View::copy_of(&copy, &view), to);
    if outcome.as_ref().is_err_and(Error::is_deadlock) {
        // MPI may read it for ever.
        std::mem::forget(copy);
    }
    outcome
}

/// A send that is started and then looked at until it is complete.
fn send_view(call: &Call<'_>, mode: Mode, view: View<'_>, to: Envelope) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let (rank, tag) = (to.rank, to.tag);
    let what = What::of(mode.kind(), view.bytes_in_all(), view.element);
    gate_as(
        call,
        || what,
        || {
            delay::delay();
            if mode == Mode::Buffered {
                return bsend(call, &view, &counted, to, &what);
            }
            let code = begin_send(call, to, &what);
            if code != SUCCESS {
                return code;
            }
            let mut request = request::null().raw;
            // SAFETY: the view borrows `count` items of `datatype` until this function returns, and the
            // request is complete by then.
            let code = unsafe {
                let request = &mut request;
                match mode {
                    Mode::Standard => {
                        ffi::MPI_Isend(buffer, count, datatype, rank, tag, comm, request)
                    }
                    Mode::Synchronous => {
                        ffi::MPI_Issend(buffer, count, datatype, rank, tag, comm, request)
                    }
                    Mode::Ready | Mode::Buffered => {
                        ffi::MPI_Irsend(buffer, count, datatype, rank, tag, comm, request)
                    }
                }
            };
            if code != SUCCESS {
                notes::not_sent(call, rank, tag);
                return code;
            }
            poll(&mut request, ignore(), mode.kind())
        },
    )
}

/// A buffered send, which completes without the receiver: there is nothing to wait for.
fn bsend(call: &Call<'_>, view: &View<'_>, counted: &Counted, to: Envelope, what: &What) -> c_int {
    let comm = identity(call);
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    // SAFETY: the view borrows `count` items of `datatype` until this function returns.
    let code = unsafe { ffi::MPI_Bsend(buffer, count, datatype, to.rank, to.tag, comm) };
    // Where there was no room there is no message.
    if code == SUCCESS { begin_send(call, to, what) } else { code }
}

/// Counts a message before it is sent, and says what it holds: it must not be received before it counts.
#[inline(always)]
pub(super) fn begin_send(call: &Call<'_>, to: Envelope, what: &What) -> c_int {
    let code = notes::sending(call, to.rank, to.tag, what);
    if code == SUCCESS {
        count_sent(call, to);
    }
    code
}

#[inline(always)]
fn count_sent(call: &Call<'_>, to: Envelope) {
    if let Some(comm) = call.comm {
        comm.count_sent(to.rank, to.tag);
    }
}

//! Point-to-point calls.

use std::mem::MaybeUninit;
use std::os::raw::{c_int, c_void};

use phalanx_sys as ffi;

use super::request::Live;
use super::wait::{self, Policy, blocking, ignore, policy, poll, until};
use super::{
    ABANDONED, SUCCESS, View, ViewMut, c_count, failure, gate, gate_as, look, noted, state, strict,
};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{self, Call, Kind, Name, Peer, What, no_name};

/// The modes of a send (MPI-4.1, section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Standard,
    Synchronous,
    Buffered,
    Ready,
}

/// A rank or tag as C wants it: `MPI_ANY_SOURCE`, `MPI_PROC_NULL` or `MPI_ANY_TAG` included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub rank: c_int,
    pub tag: c_int,
}

#[inline(always)]
pub(crate) fn any_source() -> c_int {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_ANY_SOURCE }
}

#[inline(always)]
pub(crate) fn any_tag() -> c_int {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_ANY_TAG }
}

#[inline(always)]
pub(crate) fn null_process() -> c_int {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_PROC_NULL }
}

/// What an MPI call said of a message.
#[derive(Clone, Copy)]
pub struct RawStatus(pub ffi::MPI_Status);

// SAFETY: a status is plain data.
unsafe impl Send for RawStatus {}

impl RawStatus {
    /// The status of no message.
    #[inline(always)]
    pub fn empty() -> Self {
        // SAFETY: a status is plain integers, for which zero is a value.
        RawStatus(unsafe { MaybeUninit::zeroed().assume_init() })
    }

    #[inline(always)]
    pub fn source(&self) -> c_int {
        self.0.MPI_SOURCE
    }

    #[inline(always)]
    pub fn tag(&self) -> c_int {
        self.0.MPI_TAG
    }

    /// Bytes of the message.
    #[inline(always)]
    pub fn bytes(&self, call: &Call<'_>) -> Result<usize> {
        // SAFETY: the status was filled by a completed call.
        let bytes = unsafe { ffi::phx_status_bytes(&self.0) };
        if bytes >= 0 { Ok(bytes as usize) } else { self.count_bytes(&call.copy()) }
    }

    /// The same for a library whose status is closed to us.
    #[cold]
    fn count_bytes(&self, call: &Call<'_>) -> Result<usize> {
        if !super::state::is_running() {
            return Err(Error::new(ErrorKind::State, call, "MPI is finalized already"));
        }
        let mut count: ffi::MPI_Count = 0;
        // SAFETY: the status was filled by a completed call. The function reads the status alone:
        // it may run on any thread that holds one.
        let code = unsafe { ffi::MPI_Get_elements_x(&self.0, ffi::phx_byte(), &mut count) };
        if code != SUCCESS {
            return Err(failure(call, code));
        }
        usize::try_from(count)
            .map_err(|_| Error::new(ErrorKind::TypeMismatch, call, "the length is undefined"))
    }

    pub fn was_cancelled(&self, call: &Call<'_>) -> Result<bool> {
        let mut flag = 0;
        gate(call, || {
            // SAFETY: the status was filled by a completed call.
            unsafe { ffi::MPI_Test_cancelled(&self.0, &mut flag) }
        })?;
        Ok(flag != 0)
    }
}

impl Mode {
    #[inline(always)]
    fn what(self, view: &View<'_>) -> impl FnOnce() -> What {
        let what = What::of(self.kind(), view.bytes_in_all(), view.element);
        move || what
    }

    #[inline(always)]
    fn kind(self) -> Kind {
        match self {
            Mode::Standard | Mode::Ready => Kind::Send,
            Mode::Synchronous => Kind::SyncSend,
            Mode::Buffered => Kind::BufferedSend,
        }
    }
}

/// The gate, or what is behind it where it is known to be open.
#[inline(always)]
fn pass(
    is_open: bool,
    call: &Call<'_>,
    what: impl FnOnce() -> What,
    f: impl FnOnce() -> c_int,
) -> Result<()> {
    if is_open { noted(call, what, f) } else { gate_as(call, what, f) }
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
pub(super) fn send_view(call: &Call<'_>, mode: Mode, view: View<'_>, to: Envelope) -> Result<()> {
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
        let mut request = super::request::null().raw;
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
pub(super) fn count_sent(call: &Call<'_>, to: Envelope) {
    if let Some(comm) = call.comm {
        comm.count_sent(to.rank, to.tag);
    }
}

/// Counts a message that has been received. In strict mode it must hold what the receiver takes it for.
#[inline]
pub(super) fn received(
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
fn received_or_cut(
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
            let mut request = super::request::null().raw;
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

/// A message that has been matched: nobody else can receive it.
pub struct Matched {
    message: ffi::MPI_Message,
    pub status: RawStatus,
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
    Ok(found.then_some(Matched { message, status }))
}

/// The same inside of a call that the gate has allowed.
pub(crate) fn try_match(call: &Call<'_>, from: Envelope) -> Result<Option<Matched>> {
    let comm = identity(call);
    let mut status = RawStatus::empty();
    // SAFETY: reading a constant of the C library.
    let mut message = unsafe { ffi::RSMPI_MESSAGE_NULL };
    let mut found = 0;
    // SAFETY: all three results are writable.
    let code = unsafe {
        let (rank, tag) = (from.rank, from.tag);
        ffi::MPI_Improbe(rank, tag, comm, &mut found, &mut message, &mut status.0)
    };
    if code != SUCCESS {
        return Err(failure(call, code));
    }
    Ok((found != 0).then_some(Matched { message, status }))
}

/// Starts to receive what was matched, inside of a call that the gate has allowed.
///
/// # Safety
/// As for [`irecv`].
pub(crate) unsafe fn start_matched(
    call: &Call<'_>,
    mut matched: Matched,
    view: ViewMut<'_>,
    request: &mut Live,
) -> Result<()> {
    let counted = view.counted(call)?;
    // SAFETY: the caller keeps the buffer until completion; the message is received once.
    let code = unsafe {
        ffi::MPI_Imrecv(
            view.pointer,
            counted.count,
            counted.datatype,
            &mut matched.message,
            &mut request.raw,
        )
    };
    if code != SUCCESS {
        return Err(failure(call, code));
    }
    note_matched(call, &matched, &view, request);
    Ok(())
}

fn note_matched(call: &Call<'_>, matched: &Matched, view: &ViewMut<'_>, request: &mut Live) {
    let envelope = Envelope { rank: matched.status.source(), tag: matched.status.tag() };
    let what = What::of(Kind::Receive, view.bytes_in_all(), view.element);
    request.started(&half(call, envelope), &what);
}

pub(crate) fn probe(call: &Call<'_>, from: Envelope) -> Result<Matched> {
    if policy() == Policy::Poll {
        strict::delay();
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
    Ok(Matched { message, status: RawStatus(unsafe { status.assume_init() }) })
}

/// Receives a message that was matched before.
pub(crate) fn mrecv(call: &Call<'_>, mut matched: Matched, view: ViewMut<'_>) -> Result<RawStatus> {
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let message = &raw mut matched.message;
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
    received_or_cut(call, outcome, &status, view.element, 0)?;
    Ok(status)
}

/// The receiving half of a call that does both.
#[inline]
fn half<'a>(call: &Call<'a>, from: Envelope) -> Call<'a> {
    let peer = match from.rank {
        rank if rank == any_source() => Peer::AnySource,
        rank if rank == null_process() => Peer::Null,
        rank => Peer::From(rank as usize),
    };
    call.peer(peer).tag((from.tag != any_tag()).then_some(from.tag))
}

/// What a call waits for that sends and receives at the same time.
struct Halves {
    sending: u16,
    receiving: u16,
}

impl Halves {
    fn start(call: &Call<'_>, send: &What, from: Envelope, recv: &What) -> Self {
        let halves = Halves {
            sending: record::pend(call, send),
            receiving: record::pend(&half(call, from), recv),
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
    let outcome = gate_as(call, both, || {
        let _halves = Halves::start(call, &sends, from, &receives);
        count_sent(call, to);
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
    received_or_cut(&half(call, from), outcome, &status, recv.element, recv.bytes_in_all())?;
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
    let copy = strict::copy_of(call, &send)?;
    let send = copy.as_deref().map_or(send, |copy| View::copy_of(copy, &send));
    let (sends, receives) = parts(&send, &recv);
    let (outgoing, incoming) = (send.counted(call)?, recv.counted(call)?);
    let (mut receiving, mut sending) = (super::request::null().raw, super::request::null().raw);
    let mut status = RawStatus::empty();
    let pointer = &raw mut status.0;
    let (mut abandoned, mut came) = (false, false);
    let outcome = gate_as(call, both, || {
        let _halves = Halves::start(call, &sends, from, &receives);
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
        count_sent(call, to);
        strict::announce(call, to, &sends);
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
            super::request::take_back(&mut receiving, ignore());
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
        let _ = received(&half(call, from), &status, recv.element, 0);
    }
    received_or_cut(&half(call, from), outcome, &status, recv.element, recv.bytes_in_all())?;
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
    let outcome = gate_as(call, both, || {
        let _halves = Halves::start(call, &sends, from, &receives);
        count_sent(call, to);
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
    received_or_cut(&half(call, from), outcome, &status, view.element, view.bytes_in_all())?;
    Ok(status)
}

/// Starts a send. The request is complete when the buffer may be used again.
///
/// # Safety
/// The viewed memory stays readable and unchanged until the request is complete.
#[inline(always)]
pub(crate) unsafe fn isend(
    call: &Call<'_>,
    mode: Mode,
    view: View<'_>,
    to: Envelope,
    request: &mut Live,
) -> Result<()> {
    if policy() == Policy::Poll && strict::is_on() {
        return strict::isend(&call.copy(), mode, view, to, request);
    }
    // SAFETY: the caller's promise.
    unsafe { isend_view(call, mode, view, to, request) }
}

/// # Safety
/// As for [`isend`].
#[inline(always)]
pub(super) unsafe fn isend_view(
    call: &Call<'_>,
    mode: Mode,
    view: View<'_>,
    to: Envelope,
    request: &mut Live,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let (rank, tag) = (to.rank, to.tag);
    let what = What::of(mode.kind(), view.bytes_in_all(), view.element);
    let raw = &mut request.raw;
    gate_as(
        call,
        || what,
        || {
            count_sent(call, to);
            // SAFETY: the caller keeps the buffer until completion.
            unsafe {
                match mode {
                    Mode::Standard => ffi::MPI_Isend(buffer, count, datatype, rank, tag, comm, raw),
                    Mode::Synchronous => {
                        ffi::MPI_Issend(buffer, count, datatype, rank, tag, comm, raw)
                    }
                    Mode::Buffered => {
                        ffi::MPI_Ibsend(buffer, count, datatype, rank, tag, comm, raw)
                    }
                    Mode::Ready => ffi::MPI_Irsend(buffer, count, datatype, rank, tag, comm, raw),
                }
            }
        },
    )?;
    request.started(call, &what);
    Ok(())
}

/// Starts a receive.
///
/// # Safety
/// The viewed memory stays writable, and nobody else uses it, until the request is complete.
#[inline(always)]
pub(crate) unsafe fn irecv(
    call: &Call<'_>,
    view: ViewMut<'_>,
    from: Envelope,
    request: &mut Live,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let raw = &mut request.raw;
    // SAFETY: the caller keeps the buffer until completion.
    gate(call, || unsafe {
        ffi::MPI_Irecv(buffer, count, datatype, from.rank, from.tag, comm, raw)
    })?;
    request.started(call, &What::of(Kind::Receive, view.bytes_in_all(), view.element));
    Ok(())
}

/// Starts to receive a message that was matched before.
///
/// # Safety
/// As for [`irecv`].
pub(crate) unsafe fn imrecv(
    call: &Call<'_>,
    mut matched: Matched,
    view: ViewMut<'_>,
    request: &mut Live,
) -> Result<()> {
    let counted = view.counted(call)?;
    let raw = &mut request.raw;
    // SAFETY: the caller keeps the buffer until completion; the message is received once.
    gate(call, || unsafe {
        ffi::MPI_Imrecv(view.pointer, counted.count, counted.datatype, &mut matched.message, raw)
    })?;
    note_matched(call, &matched, &view, request);
    Ok(())
}

/// Gives MPI memory for buffered sends. It must stay where it is until [`buffer_detach`].
///
/// # Safety
/// The memory is readable and writable until it is detached.
pub(crate) unsafe fn buffer_attach(call: &Call<'_>, buffer: *mut u8, length: usize) -> Result<()> {
    let length = c_count(call, "size of the buffer in bytes", length)?;
    // SAFETY: the caller keeps the memory.
    gate(call, || unsafe { ffi::MPI_Buffer_attach(buffer.cast(), length) })
}

/// Takes the memory for buffered sends back, when all messages in it have left.
pub(crate) fn buffer_detach(call: &Call<'_>) -> Result<()> {
    let mut address: *mut c_void = std::ptr::null_mut();
    let mut length = 0;
    gate(call, || {
        // SAFETY: both results are writable; the first argument is where to put a pointer.
        unsafe { ffi::MPI_Buffer_detach((&raw mut address).cast(), &mut length) }
    })
}

#[inline(always)]
pub(super) fn identity(call: &Call<'_>) -> ffi::MPI_Comm {
    match call.comm {
        Some(comm) => comm.handle,
        // A call of this room without a communicator is refused by MPI itself as invalid.
        // SAFETY: reading a constant of the C library.
        None => unsafe { ffi::RSMPI_COMM_NULL },
    }
}

//! Point-to-point calls.

use std::mem::MaybeUninit;
use std::os::raw::{c_int, c_void};

use phalanx_sys as ffi;

use super::wait::{Policy, blocking, ignore, policy, poll, until};
use super::{SUCCESS, View, ViewMut, c_count, failure, gate};
use crate::error::{Error, ErrorKind, Result};
use crate::record::Call;

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

#[inline(always)]
pub(crate) fn send(call: &Call<'_>, mode: Mode, view: View<'_>, to: Envelope) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let (rank, tag) = (to.rank, to.tag);
    // SAFETY (all arms): the view borrows `count` items of `datatype` until this function returns,
    // and each arm completes before it returns.
    match mode {
        Mode::Standard => blocking(
            call,
            // SAFETY: as above.
            move || unsafe { ffi::MPI_Send(buffer, count, datatype, rank, tag, comm) },
            // SAFETY: as above.
            move |r| unsafe { ffi::MPI_Isend(buffer, count, datatype, rank, tag, comm, r) },
            ignore,
        ),
        Mode::Synchronous => blocking(
            call,
            // SAFETY: as above.
            move || unsafe { ffi::MPI_Ssend(buffer, count, datatype, rank, tag, comm) },
            // SAFETY: as above.
            move |r| unsafe { ffi::MPI_Issend(buffer, count, datatype, rank, tag, comm, r) },
            ignore,
        ),
        // Completes without the receiver: there is nothing to wait for.
        Mode::Buffered => gate(call, || {
            // SAFETY: as above.
            unsafe { ffi::MPI_Bsend(buffer, count, datatype, rank, tag, comm) }
        }),
        Mode::Ready => blocking(
            call,
            // SAFETY: as above.
            move || unsafe { ffi::MPI_Rsend(buffer, count, datatype, rank, tag, comm) },
            // SAFETY: as above.
            move |r| unsafe { ffi::MPI_Irsend(buffer, count, datatype, rank, tag, comm, r) },
            ignore,
        ),
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
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let (rank, tag) = (from.rank, from.tag);
    let status = &raw mut status.0;
    blocking(
        call,
        // SAFETY: the view lends `count` items of `datatype` until this function returns, and the
        // receive is complete by then.
        move || unsafe { ffi::MPI_Recv(buffer, count, datatype, rank, tag, comm, status) },
        // SAFETY: as above.
        move |request| unsafe { ffi::MPI_Irecv(buffer, count, datatype, rank, tag, comm, request) },
        move || status,
    )
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
    // SAFETY: all three results are writable.
    gate(call, || unsafe {
        ffi::MPI_Improbe(from.rank, from.tag, comm, &mut found, &mut message, status.as_mut_ptr())
    })?;
    // SAFETY: zero is a valid status.
    let status = RawStatus(unsafe { status.assume_init() });
    Ok((found != 0).then_some(Matched { message, status }))
}

pub(crate) fn probe(call: &Call<'_>, from: Envelope) -> Result<Matched> {
    if policy() == Policy::Poll {
        return until(|| try_probe(call, from));
    }
    let comm = identity(call);
    let mut status = MaybeUninit::<ffi::MPI_Status>::zeroed();
    // SAFETY: reading a constant of the C library.
    let mut message = unsafe { ffi::RSMPI_MESSAGE_NULL };
    // SAFETY: both results are writable.
    gate(call, || unsafe {
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
    let mut status = RawStatus::empty();
    let pointer = &raw mut status.0;
    blocking(
        call,
        // SAFETY: the view lends `count` items of `datatype` until this function returns; the
        // message was matched and is received once.
        move || unsafe { ffi::MPI_Mrecv(buffer, count, datatype, message, pointer) },
        // SAFETY: as above.
        move |request| unsafe { ffi::MPI_Imrecv(buffer, count, datatype, message, request) },
        move || pointer,
    )?;
    Ok(status)
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
    let mut status = MaybeUninit::<ffi::MPI_Status>::zeroed();
    if policy() == Policy::Poll {
        return sendrecv_polled(call, send, to, recv, from);
    }
    // SAFETY: both views are borrowed until the call returns, and one of them mutably: they do not
    // overlap.
    gate(call, || unsafe {
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
            status.as_mut_ptr(),
        )
    })?;
    // SAFETY: zero is a valid status, and the call succeeded.
    Ok(RawStatus(unsafe { status.assume_init() }))
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
    let (outgoing, incoming) = (send.counted(call)?, recv.counted(call)?);
    let (mut receiving, mut sending) = (super::request::null(), super::request::null());
    let mut status = MaybeUninit::<ffi::MPI_Status>::zeroed();
    gate(call, || {
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
        // SAFETY: as above.
        let code = unsafe {
            ffi::MPI_Isend(
                send.pointer,
                outgoing.count,
                outgoing.datatype,
                to.rank,
                to.tag,
                comm,
                &mut sending,
            )
        };
        if code != SUCCESS {
            // SAFETY: the request is live. What cannot be cancelled completes below.
            unsafe { ffi::MPI_Cancel(&mut receiving) };
            poll(&mut receiving, ignore());
            return code;
        }
        let received = poll(&mut receiving, status.as_mut_ptr());
        let sent = poll(&mut sending, ignore());
        if received != SUCCESS { received } else { sent }
    })?;
    // SAFETY: zero is a valid status, and the call succeeded.
    Ok(RawStatus(unsafe { status.assume_init() }))
}

pub(crate) fn sendrecv_replace(
    call: &Call<'_>,
    view: ViewMut<'_>,
    to: Envelope,
    from: Envelope,
) -> Result<RawStatus> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let mut status = MaybeUninit::<ffi::MPI_Status>::zeroed();
    // SAFETY: the view is lent until the call returns.
    gate(call, || unsafe {
        ffi::MPI_Sendrecv_replace(
            view.pointer,
            counted.count,
            counted.datatype,
            to.rank,
            to.tag,
            from.rank,
            from.tag,
            comm,
            status.as_mut_ptr(),
        )
    })?;
    // SAFETY: zero is a valid status, and the call succeeded.
    Ok(RawStatus(unsafe { status.assume_init() }))
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
    request: &mut ffi::MPI_Request,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    let (rank, tag) = (to.rank, to.tag);
    // SAFETY: the caller keeps the buffer until completion.
    gate(call, || unsafe {
        match mode {
            Mode::Standard => ffi::MPI_Isend(buffer, count, datatype, rank, tag, comm, request),
            Mode::Synchronous => ffi::MPI_Issend(buffer, count, datatype, rank, tag, comm, request),
            Mode::Buffered => ffi::MPI_Ibsend(buffer, count, datatype, rank, tag, comm, request),
            Mode::Ready => ffi::MPI_Irsend(buffer, count, datatype, rank, tag, comm, request),
        }
    })
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
    request: &mut ffi::MPI_Request,
) -> Result<()> {
    let comm = identity(call);
    let counted = view.counted(call)?;
    let (buffer, count, datatype) = (view.pointer, counted.count, counted.datatype);
    // SAFETY: the caller keeps the buffer until completion.
    gate(call, || unsafe {
        ffi::MPI_Irecv(buffer, count, datatype, from.rank, from.tag, comm, request)
    })
}

/// Starts to receive a message that was matched before.
///
/// # Safety
/// As for [`irecv`].
pub(crate) unsafe fn imrecv(
    call: &Call<'_>,
    mut matched: Matched,
    view: ViewMut<'_>,
    request: &mut ffi::MPI_Request,
) -> Result<()> {
    let counted = view.counted(call)?;
    // SAFETY: the caller keeps the buffer until completion; the message is received once.
    gate(call, || unsafe {
        ffi::MPI_Imrecv(
            view.pointer,
            counted.count,
            counted.datatype,
            &mut matched.message,
            request,
        )
    })
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

//! From all to all.

use std::os::raw::{c_int, c_void};

use phalanx_sys as ffi;

use super::calls::call_pairs;
use super::{
    Form, Input, Layout, Type, block, check_layout, expect_items, free, invalid_length,
    not_as_announced, outgoing, size, source, target, what,
};
use crate::error::Result;
use crate::raw::view::pointer_of;
use crate::raw::{View, ViewMut};
use crate::record::{Call, Kind, What, no_name};

call_pairs! {
    call_barrier = MPI_Barrier | MPI_Ibarrier ();
    call_allgather = MPI_Allgather | MPI_Iallgather (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type);
    call_allgatherv = MPI_Allgatherv | MPI_Iallgatherv (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, counts: *const c_int, starts: *const c_int, recv_type: Type);
    call_alltoall = MPI_Alltoall | MPI_Ialltoall (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type);
    call_alltoallv = MPI_Alltoallv | MPI_Ialltoallv (
        send: *const c_void, send_counts: *const c_int, send_starts: *const c_int, send_type: Type,
        recv: *mut c_void, recv_counts: *const c_int, recv_starts: *const c_int, recv_type: Type);
}

pub(crate) fn barrier(call: &Call<'_>, form: Form<'_>) -> Result<()> {
    // SAFETY: no memory is involved.
    unsafe { call_barrier(call, form, What::of(Kind::Collective, 0, no_name)) }
}

#[inline]
pub(crate) fn allgather(
    call: &Call<'_>,
    form: Form<'_>,
    send: Input<'_>,
    recv: ViewMut<'_>,
) -> Result<()> {
    let each = block(call, "receive", recv.items)?;
    if let Some(items) = send.items() {
        expect_items(call, "receive", items * size(call), recv.items)?;
    }
    let incoming = recv.reborrow().first(each).counted(call)?;
    let outgoing = outgoing(call, &send)?;
    // SAFETY: the receive buffer holds a block for each rank.
    unsafe {
        call_allgather(
            call,
            form,
            what(Kind::Collective, &recv.reborrow().first(each)),
            send.pointer(),
            outgoing.count,
            outgoing.datatype,
            target(&recv),
            incoming.count,
            incoming.datatype,
        )
    }
}

pub(crate) fn allgatherv(
    call: &Call<'_>,
    form: Form<'_>,
    send: Input<'_>,
    recv: ViewMut<'_>,
    layout: Layout<'_>,
) -> Result<()> {
    check_layout(call, "receive", &layout, recv.items)?;
    let rank = call.comm.map_or(0, |comm| comm.rank);
    if let Some(items) = send.items()
        && items != layout.counts[rank] as usize
    {
        return Err(not_as_announced(call, layout.counts[rank] as usize, items));
    }
    let outgoing = outgoing(call, &send)?;
    // SAFETY: the layout lies within the receive buffer.
    unsafe {
        call_allgatherv(
            call,
            form,
            free(Kind::Collective, recv.element),
            send.pointer(),
            outgoing.count,
            outgoing.datatype,
            target(&recv),
            pointer_of(layout.counts),
            pointer_of(layout.starts),
            recv.datatype,
        )
    }
}

#[inline]
pub(crate) fn alltoall(
    call: &Call<'_>,
    form: Form<'_>,
    send: Input<'_>,
    recv: ViewMut<'_>,
) -> Result<()> {
    let each = block(call, "receive", recv.items)?;
    if let Some(items) = send.items() {
        expect_items(call, "receive", items, recv.items)?;
    }
    let incoming = recv.reborrow().first(each).counted(call)?;
    // SAFETY: both buffers hold a block for each rank. In place, the send arguments are not used.
    unsafe {
        call_alltoall(
            call,
            form,
            what(Kind::Collective, &recv.reborrow().first(each)),
            send.pointer(),
            incoming.count,
            incoming.datatype,
            target(&recv),
            incoming.count,
            incoming.datatype,
        )
    }
}

pub(crate) fn alltoallv(
    call: &Call<'_>,
    form: Form<'_>,
    send: View<'_>,
    send_layout: Layout<'_>,
    recv: ViewMut<'_>,
    recv_layout: Layout<'_>,
) -> Result<()> {
    check_layout(call, "send", &send_layout, send.items)?;
    check_layout(call, "receive", &recv_layout, recv.items)?;
    let rank = call.comm.map_or(0, |comm| comm.rank);
    let (to_self, from_self) = (send_layout.counts[rank], recv_layout.counts[rank]);
    if to_self != from_self {
        return Err(invalid_length(
            call,
            format!("this rank sends itself {to_self} items and expects {from_self}"),
        ));
    }
    // SAFETY: both layouts lie within their buffers.
    unsafe {
        call_alltoallv(
            call,
            form,
            free(Kind::Collective, recv.element),
            source(&send),
            pointer_of(send_layout.counts),
            pointer_of(send_layout.starts),
            send.datatype,
            target(&recv),
            pointer_of(recv_layout.counts),
            pointer_of(recv_layout.starts),
            recv.datatype,
        )
    }
}

//! From a root to all, or from all to a root.

use std::os::raw::{c_int, c_void};

use phalanx_sys as ffi;

use super::calls::call_pairs;
use super::{
    Form, Input, Layout, Type, block, check_layout, expect_items, free, given, invalid_length,
    is_root, not_as_announced, outgoing, size, source, target, what,
};
use crate::error::Result;
use crate::raw::view::pointer_of;
use crate::raw::{View, ViewMut, c_count};
use crate::record::{Call, Kind};

call_pairs! {
    call_bcast = MPI_Bcast | MPI_Ibcast (buffer: *mut c_void, count: c_int, kind: Type, root: c_int);
    call_gather = MPI_Gather | MPI_Igather (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type, root: c_int);
    call_gatherv = MPI_Gatherv | MPI_Igatherv (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, counts: *const c_int, starts: *const c_int, recv_type: Type, root: c_int);
    call_scatter = MPI_Scatter | MPI_Iscatter (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type, root: c_int);
    call_scatterv = MPI_Scatterv | MPI_Iscatterv (
        send: *const c_void, counts: *const c_int, starts: *const c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type, root: c_int);
}

#[inline(always)]
pub(crate) fn bcast(
    call: &Call<'_>,
    form: Form<'_>,
    buffer: ViewMut<'_>,
    root: usize,
) -> Result<()> {
    let counted = buffer.counted(call)?;
    // SAFETY: the view lends `items` items.
    unsafe {
        call_bcast(
            call,
            form,
            what(Kind::FromRoot, &buffer.reborrow()),
            target(&buffer),
            counted.count,
            counted.datatype,
            root as c_int,
        )
    }
}

/// Equal blocks to the root. `recv` is `Some` on the root alone and holds a block for each rank.
#[inline]
pub(crate) fn gather(
    call: &Call<'_>,
    form: Form<'_>,
    send: Input<'_>,
    recv: Option<ViewMut<'_>>,
    root: usize,
) -> Result<()> {
    let recv = at_root(call, "receive", recv, root)?;
    let each = if is_root(call, root) { block(call, "receive", recv.items)? } else { 0 };
    if let (true, Some(items)) = (is_root(call, root), send.items()) {
        expect_items(call, "receive", items * size(call), recv.items)?;
    }
    let incoming = recv.reborrow().first(each).counted(call)?;
    let outgoing = outgoing(call, &send)?;
    // SAFETY: on the root the receive buffer holds a block for each rank; elsewhere it is not used.
    unsafe {
        call_gather(
            call,
            form,
            given(Kind::ToRoot, &send, &recv.reborrow().first(each)),
            send.pointer(),
            outgoing.count,
            outgoing.datatype,
            target(&recv),
            incoming.count,
            incoming.datatype,
            root as c_int,
        )
    }
}

pub(crate) fn gatherv(
    call: &Call<'_>,
    form: Form<'_>,
    send: View<'_>,
    recv: Option<(ViewMut<'_>, Layout<'_>)>,
    root: usize,
) -> Result<()> {
    let (recv, layout) = match recv {
        Some((view, layout)) => (Some(view), layout),
        None => (None, Layout { counts: &[], starts: &[] }),
    };
    let recv = at_root(call, "receive", recv, root)?;
    if is_root(call, root) {
        check_layout(call, "receive", &layout, recv.items)?;
        let announced = layout.counts[root] as usize;
        if announced != send.items {
            return Err(not_as_announced(call, announced, send.items));
        }
    }
    let count = c_count(call, "number of items", send.items)?;
    // SAFETY: on the root the layout lies within the receive buffer; elsewhere it is not used.
    unsafe {
        call_gatherv(
            call,
            form,
            free(Kind::ToRoot, send.element),
            source(&send),
            count,
            send.datatype,
            target(&recv),
            pointer_of(layout.counts),
            pointer_of(layout.starts),
            recv.datatype,
            root as c_int,
        )
    }
}

/// Equal blocks from the root. `send` is `Some` on the root alone and holds a block for each rank.
#[inline]
pub(crate) fn scatter(
    call: &Call<'_>,
    form: Form<'_>,
    send: Option<View<'_>>,
    recv: ViewMut<'_>,
    root: usize,
) -> Result<()> {
    let send = given_at_root(call, send, root)?;
    let each = if is_root(call, root) { block(call, "send", send.items)? } else { 0 };
    if is_root(call, root) {
        expect_items(call, "send", recv.items * size(call), send.items)?;
    }
    let outgoing = send.first(each).counted(call)?;
    let incoming = recv.counted(call)?;
    // SAFETY: on the root the send buffer holds a block for each rank; elsewhere it is not used.
    unsafe {
        call_scatter(
            call,
            form,
            what(Kind::FromRoot, &recv.reborrow()),
            source(&send),
            outgoing.count,
            outgoing.datatype,
            target(&recv),
            incoming.count,
            incoming.datatype,
            root as c_int,
        )
    }
}

pub(crate) fn scatterv(
    call: &Call<'_>,
    form: Form<'_>,
    send: Option<(View<'_>, Layout<'_>)>,
    recv: ViewMut<'_>,
    root: usize,
) -> Result<()> {
    let (send, layout) = match send {
        Some((view, layout)) => (Some(view), layout),
        None => (None, Layout { counts: &[], starts: &[] }),
    };
    let send = given_at_root(call, send, root)?;
    if is_root(call, root) {
        check_layout(call, "send", &layout, send.items)?;
        expect_items(call, "receive", layout.counts[root] as usize, recv.items)?;
    }
    let count = c_count(call, "number of items", recv.items)?;
    // SAFETY: on the root the layout lies within the send buffer; elsewhere it is not used.
    unsafe {
        call_scatterv(
            call,
            form,
            free(Kind::FromRoot, recv.element),
            source(&send),
            pointer_of(layout.counts),
            pointer_of(layout.starts),
            send.datatype,
            target(&recv),
            count,
            recv.datatype,
            root as c_int,
        )
    }
}

#[inline]
pub(super) fn at_root<'a>(
    call: &Call<'_>,
    buffer: &str,
    view: Option<ViewMut<'a>>,
    root: usize,
) -> Result<ViewMut<'a>> {
    match (view, is_root(call, root)) {
        (Some(view), true) => Ok(view),
        (None, true) => Err(invalid_length(call, format!("the root must give a {buffer} buffer"))),
        (_, false) => Ok(ViewMut::empty()),
    }
}

#[inline]
fn given_at_root<'a>(call: &Call<'_>, view: Option<View<'a>>, root: usize) -> Result<View<'a>> {
    match (view, is_root(call, root)) {
        (Some(view), true) => Ok(view),
        (None, true) => Err(invalid_length(call, "the root must give what is scattered".into())),
        (_, false) => Ok(View::empty()),
    }
}

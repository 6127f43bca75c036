//! Reductions.

use std::os::raw::{c_int, c_void};

use phalanx_sys as ffi;

use super::calls::call_pairs;
use super::rooted::at_root;
use super::{
    Form, Input, Layout, Type, block, check_layout, expect_items, given, is_root, reducing, source,
    target,
};
use crate::error::Result;
use crate::raw::op::RawOp;
use crate::raw::{View, ViewMut, c_count};
use crate::record::{Call, FREE, Kind, What};

call_pairs! {
    call_reduce = MPI_Reduce | MPI_Ireduce (
        send: *const c_void, recv: *mut c_void, count: c_int, kind: Type, op: ffi::MPI_Op,
        root: c_int);
    call_allreduce = MPI_Allreduce | MPI_Iallreduce (
        send: *const c_void, recv: *mut c_void, count: c_int, kind: Type, op: ffi::MPI_Op);
    call_reduce_scatter = MPI_Reduce_scatter | MPI_Ireduce_scatter (
        send: *const c_void, recv: *mut c_void, counts: *const c_int, kind: Type, op: ffi::MPI_Op);
    call_reduce_scatter_block = MPI_Reduce_scatter_block | MPI_Ireduce_scatter_block (
        send: *const c_void, recv: *mut c_void, count: c_int, kind: Type, op: ffi::MPI_Op);
    call_scan = MPI_Scan | MPI_Iscan (
        send: *const c_void, recv: *mut c_void, count: c_int, kind: Type, op: ffi::MPI_Op);
    call_exscan = MPI_Exscan | MPI_Iexscan (
        send: *const c_void, recv: *mut c_void, count: c_int, kind: Type, op: ffi::MPI_Op);
}

#[inline]
pub(crate) fn reduce(
    call: &Call<'_>,
    form: Form<'_>,
    send: Input<'_>,
    recv: Option<ViewMut<'_>>,
    op: RawOp,
    root: usize,
) -> Result<()> {
    // Elsewhere than on the root there is no receive buffer, and the input is never in place.
    let recv = at_root(call, "receive", recv, root)?;
    let (items, kind) = match send {
        Input::View(view) => (view.items, view.datatype),
        Input::InPlace => (recv.items, recv.datatype),
    };
    if is_root(call, root) {
        expect_items(call, "receive", items, recv.items)?;
    }
    let count = c_count(call, "number of items to reduce", items)?;
    // SAFETY: both buffers hold `count` items; off the root the receive buffer is not used.
    unsafe {
        call_reduce(
            call,
            form,
            What { reduction: op.number(), ..given(Kind::ToRoot, &send, &recv.reborrow()) },
            send.pointer(),
            target(&recv),
            count,
            kind,
            op.0,
            root as c_int,
        )
    }
}

/// The three reductions whose arguments are alike: every rank gives and gets as many items.
#[derive(Clone, Copy)]
pub(crate) enum Everywhere {
    Allreduce,
    Scan,
    Exscan,
}

#[inline(always)]
pub(crate) fn reduce_everywhere(
    call: &Call<'_>,
    form: Form<'_>,
    which: Everywhere,
    send: Input<'_>,
    recv: ViewMut<'_>,
    op: RawOp,
) -> Result<()> {
    if let Some(items) = send.items() {
        expect_items(call, "receive", items, recv.items)?;
    }
    let count = c_count(call, "number of items to reduce", recv.items)?;
    let (input, output, kind) = (send.pointer(), target(&recv), recv.datatype);
    // SAFETY: both buffers hold `count` items.
    unsafe {
        match which {
            Everywhere::Allreduce => call_allreduce(
                call,
                form,
                reducing(Kind::Collective, &recv.reborrow(), op),
                input,
                output,
                count,
                kind,
                op.0,
            ),
            Everywhere::Scan => call_scan(
                call,
                form,
                reducing(Kind::Prefix, &recv.reborrow(), op),
                input,
                output,
                count,
                kind,
                op.0,
            ),
            Everywhere::Exscan => call_exscan(
                call,
                form,
                reducing(Kind::Prefix, &recv.reborrow(), op),
                input,
                output,
                count,
                kind,
                op.0,
            ),
        }
    }
}

pub(crate) fn reduce_scatter(
    call: &Call<'_>,
    form: Form<'_>,
    send: View<'_>,
    recv: ViewMut<'_>,
    counts: &[c_int],
    op: RawOp,
) -> Result<()> {
    let starts = vec![0; counts.len()];
    check_layout(call, "send", &Layout { counts, starts: &starts }, send.items)?;
    let total: usize = counts.iter().map(|&count| count as usize).sum();
    expect_items(call, "send", total, send.items)?;
    let rank = call.comm.map_or(0, |comm| comm.rank);
    expect_items(call, "receive", counts[rank] as usize, recv.items)?;
    // SAFETY: the send buffer holds the sum of the counts, the receive buffer this rank's.
    unsafe {
        call_reduce_scatter(
            call,
            form,
            What { bytes: FREE, ..reducing(Kind::Collective, &send, op) },
            source(&send),
            target(&recv),
            counts.as_ptr(),
            send.datatype,
            op.0,
        )
    }
}

pub(crate) fn reduce_scatter_block(
    call: &Call<'_>,
    form: Form<'_>,
    send: View<'_>,
    recv: ViewMut<'_>,
    op: RawOp,
) -> Result<()> {
    let each = block(call, "send", send.items)?;
    expect_items(call, "receive", each, recv.items)?;
    let count = c_count(call, "number of items to reduce", each)?;
    // SAFETY: the send buffer holds a block for each rank, the receive buffer one.
    unsafe {
        call_reduce_scatter_block(
            call,
            form,
            reducing(Kind::Collective, &recv.reborrow(), op),
            source(&send),
            target(&recv),
            count,
            send.datatype,
            op.0,
        )
    }
}

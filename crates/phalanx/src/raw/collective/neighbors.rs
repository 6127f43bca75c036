//! From and to the neighbours in a topology.

use std::os::raw::{c_int, c_void};

use phalanx_sys as ffi;

use super::calls::call_pairs;
use super::{BlockTable, Form, Type, expect_items, free, invalid_length, source, target};
use crate::error::Result;
use crate::raw::large::Counted;
use crate::raw::{View, ViewMut};
use crate::record::{Call, Kind, Name};

call_pairs! {
    call_allgather = MPI_Neighbor_allgather | MPI_Ineighbor_allgather (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type);
    call_alltoall = MPI_Neighbor_alltoall | MPI_Ineighbor_alltoall (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type);
    call_alltoallw = MPI_Neighbor_alltoallw | MPI_Ineighbor_alltoallw (
        send: *const c_void, send_counts: *const c_int, send_starts: *const ffi::MPI_Aint,
        send_types: *const Type, recv: *mut c_void, recv_counts: *const c_int,
        recv_starts: *const ffi::MPI_Aint, recv_types: *const Type);
}

/// How many blocks a rank receives, and sends.
#[derive(Clone, Copy)]
pub(crate) struct Degrees {
    pub sources: usize,
    pub destinations: usize,
}

/// The same block to every destination; one of the same length from every source.
pub(crate) fn neighbor_allgather(
    call: &Call<'_>,
    form: Form<'_>,
    send: View<'_>,
    recv: ViewMut<'_>,
    degrees: Degrees,
) -> Result<()> {
    expect_items(call, "receive", send.items.saturating_mul(degrees.sources), recv.items)?;
    let outgoing = send.counted(call)?;
    // The same count where there are no sources: see `neighbor_alltoall`.
    let incoming = Counted::new(call, send.items, recv.datatype)?;
    // SAFETY: the receive buffer holds a block for each source.
    unsafe {
        call_allgather(
            call,
            form,
            free(Kind::Neighbors, recv.element),
            source(&send),
            outgoing.count,
            outgoing.datatype,
            target(&recv),
            incoming.count,
            incoming.datatype,
        )
    }
}

/// A block of `each` items to every destination, and one from every source.
pub(crate) fn neighbor_alltoall(
    call: &Call<'_>,
    form: Form<'_>,
    send: View<'_>,
    recv: ViewMut<'_>,
    each: usize,
    degrees: Degrees,
) -> Result<()> {
    expect_items(call, "send", each.saturating_mul(degrees.destinations), send.items)?;
    expect_items(call, "receive", each.saturating_mul(degrees.sources), recv.items)?;
    // The same counts where there are no neighbours on a side: with a count of 0 for what it sends to
    // nobody, Open MPI 4.1 leaves the call without receiving anything.
    let outgoing = Counted::new(call, each, send.datatype)?;
    let incoming = Counted::new(call, each, recv.datatype)?;
    // SAFETY: both buffers hold a block for each neighbour.
    unsafe {
        call_alltoall(
            call,
            form,
            free(Kind::Neighbors, recv.element),
            source(&send),
            outgoing.count,
            outgoing.datatype,
            target(&recv),
            incoming.count,
            incoming.datatype,
        )
    }
}

pub(crate) fn neighbor_alltoallw(
    call: &Call<'_>,
    form: Form<'_>,
    send: &BlockTable,
    recv: &BlockTable,
    degrees: Degrees,
    element: Name,
) -> Result<()> {
    let sides = [("destination", send, degrees.destinations), ("source", recv, degrees.sources)];
    for (who, blocks, expected) in sides {
        if blocks.counts.len() != expected {
            let given = blocks.counts.len();
            return Err(invalid_length(
                call,
                format!("{given} blocks were given for {expected} {who}s"),
            ));
        }
    }
    // SAFETY: every block is a datatype that holds the absolute address of memory which the caller
    // lends; the arrays have one entry for each neighbour.
    unsafe {
        call_alltoallw(
            call,
            form,
            free(Kind::Neighbors, element),
            send.base,
            send.counts.as_ptr(),
            send.addresses.as_ptr(),
            send.types.as_ptr(),
            recv.base,
            recv.counts.as_ptr(),
            recv.addresses.as_ptr(),
            recv.types.as_ptr(),
        )
    }
}

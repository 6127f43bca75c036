//! Collective calls, blocking and non-blocking. Lengths are checked here, before the library that
//! would write past a short buffer is called.

mod blocks;
mod calls;
mod everywhere;
mod mismatch;
mod neighbors;
mod reduce;
mod refused;
mod rooted;

use std::os::raw::{c_int, c_void};

use phalanx_sys as ffi;

use super::op::RawOp;
use super::{SUCCESS, View, ViewMut, large};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Call, FREE, Kind, Name, What};
use crate::words::count;

pub(crate) use blocks::{BlockTable, RawBlock, alltoallw};
pub(crate) use calls::Form;
pub(crate) use everywhere::{allgather, allgatherv, alltoall, alltoallv, barrier};
pub(crate) use mismatch::explain;
pub(crate) use neighbors::{Degrees, neighbor_allgather, neighbor_alltoall, neighbor_alltoallw};
pub(crate) use reduce::{
    Everywhere, reduce, reduce_everywhere, reduce_scatter, reduce_scatter_block,
};
pub(crate) use refused::{refused, refused_later};
pub(crate) use rooted::{bcast, gather, gatherv, scatter, scatterv};

type Type = ffi::MPI_Datatype;

/// What a rank gives and gets: as much as all others.
#[inline(always)]
fn what(kind: Kind, block: &View<'_>) -> What {
    What::of(kind, block.bytes_in_all(), block.element)
}

/// The same where it may have given it in place.
#[inline(always)]
fn given(kind: Kind, send: &Input<'_>, recv: &View<'_>) -> What {
    match send {
        Input::View(view) => what(kind, view),
        Input::InPlace => what(kind, recv),
    }
}

/// What ranks give as much of as they like.
#[inline(always)]
fn free(kind: Kind, element: Name) -> What {
    What { bytes: FREE, ..What::of(kind, 0, element) }
}

#[inline(always)]
fn reducing(kind: Kind, block: &View<'_>, op: RawOp) -> What {
    What { reduction: op.number(), ..what(kind, block) }
}

/// What a rank contributes: memory of its own, or what lies in the receive buffer already.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    View(View<'a>),
    InPlace,
}

impl Input<'_> {
    /// A part of it.
    pub(crate) fn piece(&self, start: usize, items: usize) -> Self {
        match self {
            Input::View(view) => Input::View(view.piece(start, items)),
            Input::InPlace => Input::InPlace,
        }
    }

    #[inline]
    fn pointer(&self) -> *const c_void {
        match self {
            Input::View(view) => source(view),
            Input::InPlace => ffi::phx_in_place(),
        }
    }

    #[inline]
    fn items(&self) -> Option<usize> {
        match self {
            Input::View(view) => Some(view.items),
            Input::InPlace => None,
        }
    }
}

/// Where empty buffers lie for MPI: what is sent at the first, what is received at the second.
///
/// Rust's own pointer to no bytes is the number 1, and that is Open MPI's `MPI_IN_PLACE`. Two of them
/// are equal, which its non-blocking collectives take for `MPI_IN_PLACE` as well: a rank without
/// elements then does another operation than the others, and they wait for it for ever.
static NOWHERE: [u8; 2] = [0; 2];

#[inline(always)]
fn source(view: &View<'_>) -> *const c_void {
    if view.items == 0 { NOWHERE.as_ptr().cast() } else { view.pointer }
}

#[inline(always)]
fn target(view: &ViewMut<'_>) -> *mut c_void {
    // Nothing is written there, as there are no items.
    if view.items == 0 { NOWHERE[1..].as_ptr().cast_mut().cast() } else { view.pointer }
}

/// How many items each rank has, and where they start.
#[derive(Clone, Copy)]
pub(crate) struct Layout<'a> {
    pub counts: &'a [c_int],
    pub starts: &'a [c_int],
}

#[cold]
pub(crate) fn invalid_length(call: &Call<'_>, detail: String) -> Error {
    Error::new(ErrorKind::InvalidLength, call, detail)
}

/// The error of a rank that sends another number of items than the counts say.
#[cold]
pub(crate) fn not_as_announced(call: &Call<'_>, announced: usize, items: usize) -> Error {
    let detail = format!("the counts say {announced} items for this rank, it sends {items}");
    invalid_length(call, detail)
}

#[inline]
fn size(call: &Call<'_>) -> usize {
    call.comm.map_or(0, |comm| comm.size)
}

#[inline]
fn is_root(call: &Call<'_>, root: usize) -> bool {
    call.comm.is_some_and(|comm| comm.rank == root)
}

#[inline(always)]
fn expect_items(call: &Call<'_>, buffer: &str, expected: usize, actual: usize) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(wrong_items(&call.copy(), buffer, expected, actual))
}

#[cold]
pub(crate) fn wrong_items(call: &Call<'_>, buffer: &str, expected: usize, actual: usize) -> Error {
    let detail = format!("the {buffer} buffer must hold {expected} items and holds {actual}");
    invalid_length(call, detail)
}

/// Items of each rank's block in a buffer that holds one block for each rank.
#[inline]
pub(crate) fn block(call: &Call<'_>, buffer: &str, items: usize) -> Result<usize> {
    let ranks = size(call);
    if ranks == 0 || !items.is_multiple_of(ranks) {
        return Err(uneven(&call.copy(), buffer, items, ranks));
    }
    Ok(items / ranks)
}

#[cold]
fn uneven(call: &Call<'_>, buffer: &str, items: usize, ranks: usize) -> Error {
    let detail = format!(
        "the {buffer} buffer holds {items} items, which {} cannot share evenly",
        count(ranks, "rank")
    );
    invalid_length(call, detail)
}

/// Whether there is a block for each rank, and all lie within the buffer.
fn check_layout(call: &Call<'_>, buffer: &str, layout: &Layout<'_>, items: usize) -> Result<()> {
    let ranks = size(call);
    if layout.counts.len() != ranks || layout.starts.len() != ranks {
        return Err(invalid_length(
            call,
            format!("{} counts were given for {ranks} ranks", layout.counts.len()),
        ));
    }
    for (index, (&count, &start)) in layout.counts.iter().zip(layout.starts).enumerate() {
        let fits = count >= 0 && start >= 0 && start as usize + count as usize <= items;
        if !fits {
            return Err(invalid_length(
                call,
                format!(
                    "the {buffer} buffer holds {items} items, rank {index}'s {count} start at {start}"
                ),
            ));
        }
    }
    Ok(())
}

/// The count and type of an input, or nothing where it is in place.
#[inline]
fn outgoing(call: &Call<'_>, send: &Input<'_>) -> Result<large::Counted> {
    match send {
        Input::View(view) => view.counted(call),
        Input::InPlace => View::empty().counted(call),
    }
}

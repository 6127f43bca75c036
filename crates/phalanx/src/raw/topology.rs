//! Communicators with a topology.

use std::os::raw::c_int;

use phalanx_sys as ffi;

use super::{c_count, gate};
use crate::error::Result;
use crate::record::Call;

fn null() -> ffi::MPI_Comm {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_COMM_NULL }
}

/// Numbers as C wants them.
pub(crate) fn ints(call: &Call<'_>, what: &str, numbers: &[usize]) -> Result<Vec<c_int>> {
    numbers.iter().map(|&number| c_count(call, what, number)).collect()
}

fn flags(flags: &[bool]) -> Vec<c_int> {
    flags.iter().map(|&flag| c_int::from(flag)).collect()
}

/// Fills the dimensions that are 0.
pub(crate) fn dims_create(call: &Call<'_>, ranks: usize, dims: &[usize]) -> Result<Vec<usize>> {
    let ranks = c_count(call, "number of ranks", ranks)?;
    let count = c_count(call, "number of dimensions", dims.len())?;
    let mut made = ints(call, "a dimension", dims)?;
    // SAFETY: the array has `count` entries.
    gate(call, || unsafe { ffi::MPI_Dims_create(ranks, count, made.as_mut_ptr()) })?;
    Ok(made.into_iter().map(|dim| dim as usize).collect())
}

/// The null handle where this rank does not fit into the grid.
pub(crate) fn cart_create(
    call: &Call<'_>,
    comm: ffi::MPI_Comm,
    dims: &[usize],
    periods: &[bool],
    reorder: bool,
) -> Result<ffi::MPI_Comm> {
    let count = c_count(call, "number of dimensions", dims.len())?;
    let (dims, periods) = (ints(call, "a dimension", dims)?, flags(periods));
    let mut made = null();
    // SAFETY: both arrays have `count` entries, the communicator is live, the result is writable.
    gate(call, || unsafe {
        let (dims, periods) = (dims.as_ptr(), periods.as_ptr());
        ffi::MPI_Cart_create(comm, count, dims, periods, c_int::from(reorder), &mut made)
    })?;
    Ok(made)
}

/// The part of a grid that shares the coordinates of this rank in the dimensions that do not remain:
/// `remain` has an entry for each dimension of the grid.
pub(crate) fn cart_sub(
    call: &Call<'_>,
    comm: ffi::MPI_Comm,
    remain: &[bool],
) -> Result<ffi::MPI_Comm> {
    let remain = flags(remain);
    let mut made = null();
    // SAFETY: the array has an entry for each dimension, the communicator is live, the result is
    // writable.
    gate(call, || unsafe { ffi::MPI_Cart_sub(comm, remain.as_ptr(), &mut made) })?;
    Ok(made)
}

/// Ranks and weights of edges on one side. Without weights all are alike.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub ranks: &'a [usize],
    pub weights: Option<&'a [u32]>,
}

/// What MPI takes for weights, and the memory that it reads.
fn weights(call: &Call<'_>, weights: Option<&[u32]>) -> Result<(*const c_int, Vec<c_int>)> {
    let Some(weights) = weights else { return Ok((ffi::phx_unweighted(), Vec::new())) };
    // Never an address that MPI may take for one of its constants.
    let mut numbers = Vec::with_capacity(weights.len().max(1));
    for &weight in weights {
        numbers.push(c_count(call, "weight of an edge", weight as usize)?);
    }
    Ok((numbers.as_ptr(), numbers))
}

/// A graph of which each rank names its own neighbours.
pub(crate) fn graph_adjacent(
    call: &Call<'_>,
    comm: ffi::MPI_Comm,
    sources: Side<'_>,
    destinations: Side<'_>,
    reorder: bool,
) -> Result<ffi::MPI_Comm> {
    let incoming = ints(call, "a source", sources.ranks)?;
    let outgoing = ints(call, "a destination", destinations.ranks)?;
    let indegree = c_count(call, "number of sources", incoming.len())?;
    let outdegree = c_count(call, "number of destinations", outgoing.len())?;
    let (incoming_weights, _incoming) = weights(call, sources.weights)?;
    let (outgoing_weights, _outgoing) = weights(call, destinations.weights)?;
    let mut made = null();
    // SAFETY: the arrays have an entry for each edge, or the weights are the constant that says there
    // are none; the communicator is live, the result is writable.
    gate(call, || unsafe {
        ffi::MPI_Dist_graph_create_adjacent(
            comm,
            indegree,
            incoming.as_ptr(),
            incoming_weights,
            outdegree,
            outgoing.as_ptr(),
            outgoing_weights,
            ffi::RSMPI_INFO_NULL,
            c_int::from(may_reorder(reorder)),
            &mut made,
        )
    })?;
    Ok(made)
}

/// A graph of which each rank names any edges, as source, destination and weight.
pub(crate) fn graph_create(
    call: &Call<'_>,
    comm: ffi::MPI_Comm,
    edges: &[(usize, usize, u32)],
    reorder: bool,
) -> Result<ffi::MPI_Comm> {
    let column =
        |pick: fn(&(usize, usize, u32)) -> usize| edges.iter().map(pick).collect::<Vec<_>>();
    let sources = ints(call, "a source", &column(|edge| edge.0))?;
    let destinations = ints(call, "a destination", &column(|edge| edge.1))?;
    let numbers: Vec<u32> = edges.iter().map(|edge| edge.2).collect();
    let (pointer, _weights) = weights(call, Some(&numbers))?;
    let degrees = vec![1; edges.len()];
    let count = c_count(call, "number of edges", edges.len())?;
    let mut made = null();
    // SAFETY: each array has `count` entries: an edge is a source of degree 1; the communicator is
    // live, the result is writable.
    gate(call, || unsafe {
        ffi::MPI_Dist_graph_create(
            comm,
            count,
            sources.as_ptr(),
            degrees.as_ptr(),
            destinations.as_ptr(),
            pointer,
            ffi::RSMPI_INFO_NULL,
            c_int::from(may_reorder(reorder)),
            &mut made,
        )
    })?;
    Ok(made)
}

/// The neighbours of this rank with the weights of their edges, which are 1 where none were given:
/// sources, then destinations.
pub(crate) fn graph_neighbors(
    call: &Call<'_>,
    comm: ffi::MPI_Comm,
) -> Result<[Vec<(usize, u32)>; 2]> {
    let (mut indegree, mut outdegree, mut weighted) = (0, 0, 0);
    // SAFETY: the communicator is live and has a graph, the results are writable.
    gate(call, || unsafe {
        ffi::MPI_Dist_graph_neighbors_count(comm, &mut indegree, &mut outdegree, &mut weighted)
    })?;
    let room = |degree: c_int| vec![1; degree as usize + 1];
    let (mut sources, mut source_weights) = (room(indegree), room(indegree));
    let (mut destinations, mut destination_weights) = (room(outdegree), room(outdegree));
    let unweighted = ffi::phx_unweighted();
    let (into_sources, into_destinations) = if weighted != 0 {
        (source_weights.as_mut_ptr(), destination_weights.as_mut_ptr())
    } else {
        (unweighted, unweighted)
    };
    // SAFETY: the arrays have room for as many neighbours as the library has just announced.
    gate(call, || unsafe {
        ffi::MPI_Dist_graph_neighbors(
            comm,
            indegree,
            sources.as_mut_ptr(),
            into_sources,
            outdegree,
            destinations.as_mut_ptr(),
            into_destinations,
        )
    })?;
    let pairs = |ranks: Vec<c_int>, weights: Vec<c_int>, degree: c_int| {
        let pair = |(rank, weight): (c_int, c_int)| (rank as usize, weight as u32);
        ranks.into_iter().zip(weights).take(degree as usize).map(pair).collect()
    };
    Ok([
        pairs(sources, source_weights, indegree),
        pairs(destinations, destination_weights, outdegree),
    ])
}

/// Whether a graph may be made with ranks in another order. Open MPI's component for that (treematch, in 4.1)
/// ends the process where a host has more ranks than it knows cores of.
fn may_reorder(wanted: bool) -> bool {
    wanted && ffi::family() != ffi::Family::OpenMpi
}

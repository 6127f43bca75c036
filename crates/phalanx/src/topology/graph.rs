//! Graphs of ranks.

use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;

use phalanx_sys as ffi;

use super::neighborhood::Neighborhood;
use crate::comm::Comm;
use crate::datatype::{view_of, view_of_mut};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::collective::{self, Form, Input};
use crate::raw::topology::Side;
use crate::raw::{self};
use crate::record::{COMM_DUP, Call, GRAPH, GRAPH_EDGES, GRAPH_WEIGHTED, Operation};
use crate::words::count;

/// A communicator whose ranks are the nodes of a directed graph: each has sources, from which its
/// neighbourhood collectives receive, and destinations. Made by [`Comm::graph`],
/// [`Comm::graph_weighted`] and [`Comm::graph_from_edges`].
///
/// It derefs to [`Neighborhood`], and that to [`Comm`]. Two ranks may be joined by several edges; their
/// blocks then come in the order in which they were sent.
///
/// ```
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// // Everybody to rank 0.
/// let all: Vec<usize> = (0..world.size()).collect();
/// let sources = if world.rank() == 0 { &all[..] } else { &[] };
/// let star = world.graph(sources, &[0])?;
/// let gathered = star.neighbor_allgather(&world.rank())?;
/// assert_eq!(gathered.flat(), sources);
/// star.free()
/// # });
/// ```
#[derive(Clone)]
pub struct Graph {
    neighborhood: Neighborhood,
    edges: Arc<[Vec<Neighbor>; 2]>,
}

/// One side of an edge of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// The rank at the other end.
    pub rank: usize,
    /// What the edge was said to carry; 1 where nothing was said.
    pub weight: u32,
}

/// # Graphs of ranks
impl Comm {
    /// Makes the ranks nodes of a graph. Each names those that send to it, and those that it sends to;
    /// what one names as a destination names it as a source as often. Collective.
    ///
    /// # Errors
    /// On every rank: [`InvalidRank`](ErrorKind::InvalidRank) or, on the others,
    /// [`Mismatch`](ErrorKind::Mismatch) if a rank names one that does not exist, or if two ranks do not
    /// agree about an edge.
    ///
    /// MPI: `MPI_Dist_graph_create_adjacent`, MPI-4.1 section 8.5.4.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let (rank, size) = (world.rank(), world.size());
    /// let ring = world.graph(&[(rank + size - 1) % size], &[(rank + 1) % size])?;
    /// assert_eq!(ring.destinations()[0].rank, (rank + 1) % size);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn graph(&self, sources: &[usize], destinations: &[usize]) -> Result<Graph> {
        let sources = Side { ranks: sources, weights: None };
        let destinations = Side { ranks: destinations, weights: None };
        self.make_adjacent(&GRAPH, sources, destinations, false, Location::caller())
    }

    /// [`graph`](Comm::graph) with a weight for each edge, which tells the MPI library how much it will
    /// carry. With `reorder` the library may number the ranks anew (Open MPI is not asked to: it
    /// may end the process).
    ///
    /// # Errors
    /// As [`graph`](Comm::graph); [`Unsupported`](ErrorKind::Unsupported) for weights above `i32::MAX`.
    ///
    /// MPI: `MPI_Dist_graph_create_adjacent`, MPI-4.1 section 8.5.4.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let graph = world.graph_weighted(&[(me, 7)], &[(me, 7)], false)?;
    /// assert_eq!(graph.sources()[0].weight, 7);
    /// graph.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn graph_weighted(
        &self,
        sources: &[(usize, u32)],
        destinations: &[(usize, u32)],
        reorder: bool,
    ) -> Result<Graph> {
        let (ranks_in, weights_in): (Vec<_>, Vec<_>) = sources.iter().copied().unzip();
        let (ranks_out, weights_out): (Vec<_>, Vec<_>) = destinations.iter().copied().unzip();
        let sources = Side { ranks: &ranks_in, weights: Some(&weights_in) };
        let destinations = Side { ranks: &ranks_out, weights: Some(&weights_out) };
        self.make_adjacent(&GRAPH_WEIGHTED, sources, destinations, reorder, Location::caller())
    }

    fn make_adjacent(
        &self,
        operation: &'static Operation,
        sources: Side<'_>,
        destinations: Side<'_>,
        reorder: bool,
        location: &'static Location<'static>,
    ) -> Result<Graph> {
        let call = self.call(operation, location);
        let _permit = raw::permit(&call)?;
        let checked = self.check_adjacent(&call, sources, destinations)?;
        self.none_failed(&call, checked)?;
        let flag = [u64::from(reorder)];
        self.all_alike(&call, flag[0], "answer to whether ranks may be numbered anew")?;
        let made =
            raw::topology::graph_adjacent(&call, self.handle(), sources, destinations, reorder)?;
        Graph::adopt(operation, made, format!("{} (graph)", self.name()), location)
    }

    /// Whether all named ranks exist and name this one as often. The outer error is that of the
    /// communication, which all ranks take part in whatever they give.
    fn check_adjacent(
        &self,
        call: &Call<'_>,
        sources: Side<'_>,
        destinations: Side<'_>,
    ) -> Result<Result<()>> {
        let count = |side: Side<'_>| {
            let mut counts = vec![0_u64; self.size()];
            for &rank in side.ranks.iter().filter(|&&rank| rank < self.size()) {
                counts[rank] += 1;
            }
            counts
        };
        let (outgoing, incoming) = (count(destinations), count(sources));
        let mut announced = vec![0_u64; self.size()];
        let private = self.private_call(call.operation, call.location);
        let (send, recv) =
            (Input::View(view_of(call, &outgoing)?), view_of_mut(call, &mut announced)?);
        collective::alltoall(&private, Form::Blocking, send, recv)?;
        let ranks = sources.ranks.iter().chain(destinations.ranks).copied();
        if let Err(error) = self.check_nodes(call, ranks) {
            return Ok(Err(error));
        }
        for side in [sources, destinations] {
            for &weight in side.weights.unwrap_or_default() {
                if let Err(error) = raw::c_count(call, "weight of an edge", weight as usize) {
                    return Ok(Err(error));
                }
            }
        }
        let times =
            |number: u64| if number == 1 { "once".into() } else { format!("{number} times") };
        let differs = (0..self.size()).find(|&rank| announced[rank] != incoming[rank]);
        Ok(differs.map_or(Ok(()), |rank| {
            let detail = format!(
                "rank {rank} names this rank {} as a destination, this rank names it {} as a source",
                times(announced[rank]),
                times(incoming[rank])
            );
            Err(Error::new(ErrorKind::Mismatch, call, detail))
        }))
    }

    fn check_nodes(&self, call: &Call<'_>, mut ranks: impl Iterator<Item = usize>) -> Result<()> {
        let size = self.size();
        ranks.find(|&rank| rank >= size).map_or(Ok(()), |rank| {
            let detail =
                format!("an edge with rank {rank} in a communicator of {}", count(size, "rank"));
            Err(Error::new(ErrorKind::InvalidRank, call, detail))
        })
    }

    /// Makes the ranks nodes of a graph, of which each rank may name any edges: source, destination,
    /// weight. No edge needs to be named by a rank that it touches, and none twice. With `reorder` the
    /// library may number the ranks anew. Collective.
    ///
    /// The order of [`sources`](Graph::sources) and [`destinations`](Graph::destinations) is the
    /// library's.
    ///
    /// # Errors
    /// On every rank: [`InvalidRank`](ErrorKind::InvalidRank) or, on the others,
    /// [`Mismatch`](ErrorKind::Mismatch) if a rank names one that does not exist;
    /// [`Unsupported`](ErrorKind::Unsupported) for weights above `i32::MAX`.
    ///
    /// MPI: `MPI_Dist_graph_create`, MPI-4.1 section 8.5.4.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// // Rank 0 knows the whole graph: a chain.
    /// let chain: Vec<(usize, usize, u32)> =
    ///     (1..world.size()).map(|node| (node - 1, node, 1)).collect();
    /// let edges = if world.rank() == 0 { &chain[..] } else { &[] };
    /// let graph = world.graph_from_edges(edges, false)?;
    /// assert_eq!(graph.sources().len(), usize::from(world.rank() > 0));
    /// graph.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn graph_from_edges(&self, edges: &[(usize, usize, u32)], reorder: bool) -> Result<Graph> {
        let location = Location::caller();
        let call = self.call(&GRAPH_EDGES, location);
        let _permit = raw::permit(&call)?;
        let ends = edges.iter().flat_map(|&(source, destination, _)| [source, destination]);
        let checked = self.check_nodes(&call, ends).and_then(|()| {
            edges.iter().try_for_each(|&(_, _, weight)| {
                raw::c_count(&call, "weight of an edge", weight as usize).map(drop)
            })
        });
        self.none_failed(&call, checked)?;
        let flag = u64::from(reorder);
        self.all_alike(&call, flag, "answer to whether ranks may be numbered anew")?;
        let made = raw::topology::graph_create(&call, self.handle(), edges, reorder)?;
        Graph::adopt(&GRAPH_EDGES, made, format!("{} (graph)", self.name()), location)
    }
}

impl Graph {
    /// Makes a graph of a handle with the topology of one. Collective over it.
    fn adopt(
        operation: &'static Operation,
        handle: ffi::MPI_Comm,
        name: String,
        location: &'static Location<'static>,
    ) -> Result<Graph> {
        let comm = Comm::adopt(operation, handle, name, location)?;
        let call = comm.call(operation, location);
        let edges = raw::topology::graph_neighbors(&call, comm.handle())?;
        let edges = edges.map(|side| {
            side.into_iter().map(|(rank, weight)| Neighbor { rank, weight }).collect::<Vec<_>>()
        });
        let [sources, destinations] =
            [&edges[0], &edges[1]].map(|side| side.iter().map(|it| Some(it.rank)).collect());
        let call = Call::local(operation, location);
        let neighborhood = Neighborhood::of_graph(&call, comm, sources, destinations)?;
        Ok(Graph { neighborhood, edges: Arc::new(edges) })
    }

    /// The ranks from which the neighbourhood collectives receive, in their order.
    ///
    /// MPI: `MPI_Dist_graph_neighbors`, MPI-4.1 section 8.5.5.
    pub fn sources(&self) -> &[Neighbor] {
        &self.edges[0]
    }

    /// The ranks to which the neighbourhood collectives send, in their order.
    ///
    /// MPI: `MPI_Dist_graph_neighbors`, MPI-4.1 section 8.5.5.
    pub fn destinations(&self) -> &[Neighbor] {
        &self.edges[1]
    }

    /// The same graph in a new context. Collective.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Comm_dup`, MPI-4.1 section 7.4.2, which keeps the topology.
    #[track_caller]
    pub fn dup(&self) -> Result<Graph> {
        let location = Location::caller();
        let call = self.call(&COMM_DUP, location);
        let _permit = raw::permit(&call)?;
        let made = raw::comm::dup(&call, self.handle())?;
        Graph::adopt(&COMM_DUP, made, format!("{} (dup)", self.name()), location)
    }

    /// Gives the communicator back to the MPI library. Collective.
    ///
    /// # Errors
    /// [`InUse`](ErrorKind::InUse) if a clone or a request of it still exists here.
    ///
    /// MPI: `MPI_Comm_free`, MPI-4.1 section 7.4.3.
    #[track_caller]
    pub fn free(self) -> Result<()> {
        self.neighborhood.free()
    }
}

impl Deref for Graph {
    type Target = Neighborhood;

    fn deref(&self) -> &Neighborhood {
        &self.neighborhood
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [sources, destinations] = &*self.edges;
        write!(f, "Graph({:?}, from {sources:?}, to {destinations:?})", self.name())
    }
}

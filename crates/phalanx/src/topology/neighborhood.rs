//! The neighbours of a rank, and the communicator that their collectives go over.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;

use crate::comm::Comm;
use crate::error::Result;
use crate::raw;
use crate::raw::collective::{BlockTable, Degrees, Form, RawBlock, neighbor_alltoallw};
use crate::raw::topology::Side;
use crate::record::{Call, Name, Operation};

/// A communicator in which each rank has neighbours: what [`Cart`](crate::Cart) and
/// [`Graph`](crate::Graph) have in common. It derefs to [`Comm`].
///
/// In the collectives among neighbours (`neighbor_…`) each rank sends to its destinations and receives
/// from its sources. On a grid both are [`Cart::neighbors`](crate::Cart::neighbors), where nothing is
/// exchanged with one that does not exist: what is given for it is not looked at, and its block of a
/// result is empty.
///
/// ```
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let line = world.cart(&[0], &[false])?.expect("every rank fits");
/// let from_each = line.neighbor_allgather(&line.rank())?;
/// for (neighbor, block) in from_each.iter() {
///     assert_eq!(block, neighbor.as_slice()); // its rank, or nothing past the end
/// }
/// line.free()
/// # });
/// ```
#[derive(Clone)]
pub struct Neighborhood {
    comm: Comm,
    links: Arc<Links>,
}

/// Whom the collectives among neighbours reach.
struct Links {
    /// In their order; `None` past a closed end of a grid.
    sources: Arc<[Option<usize>]>,
    destinations: Arc<[Option<usize>]>,
    /// The same by rank.
    incoming: Edges,
    outgoing: Edges,
    /// A twin of the communicator where any two ranks have several edges: there they have one, and all
    /// blocks between them are one message.
    ///
    /// Whose block is whose there is left to the library, and Open MPI 4.1 gets it wrong in its
    /// non-blocking calls: on a periodic dimension of one or two ranks the block that was sent forwards
    /// arrives as the one that was sent backwards. In one message it is the order of the blocks that
    /// decides, which both sides know.
    twin: Option<Comm>,
    /// The first rank that receives from somebody and sends to nobody.
    receives_only: Option<usize>,
}

/// The ranks that are neighbours, and for each the indices at which it is one, in the order in which
/// blocks are sent.
pub(crate) struct Edges {
    ranks: Vec<usize>,
    indices: Vec<Vec<usize>>,
}

impl Edges {
    fn new(neighbors: &[Option<usize>], order: fn(usize) -> usize) -> Self {
        let mut edges = Edges { ranks: Vec::new(), indices: Vec::new() };
        let mut known = HashMap::new();
        for (index, rank) in neighbors.iter().enumerate() {
            let Some(rank) = *rank else { continue };
            let edge = *known.entry(rank).or_insert_with(|| {
                edges.ranks.push(rank);
                edges.indices.push(Vec::new());
                edges.ranks.len() - 1
            });
            edges.indices[edge].push(index);
        }
        for indices in &mut edges.indices {
            indices.sort_by_key(|&index| order(index));
        }
        edges
    }

    fn are_double(&self) -> bool {
        self.indices.iter().any(|indices| indices.len() > 1)
    }

    /// Each neighbour once, with the indices at which it is one.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[usize])> {
        self.ranks.iter().copied().zip(self.indices.iter().map(Vec::as_slice))
    }

    fn side(&self) -> Side<'_> {
        Side { ranks: &self.ranks, weights: None }
    }

    /// The places of blocks, those of a neighbour together.
    fn group(&self, parts: &[RawBlock]) -> impl Iterator<Item = Vec<RawBlock>> {
        self.indices.iter().map(|indices| indices.iter().map(|&index| parts[index]).collect())
    }
}

/// The index at which a block arrives on a grid that was sent at an index: forwards from behind.
fn across(index: usize) -> usize {
    index ^ 1
}

impl Neighborhood {
    /// The neighbourhood of a grid. `double` says, alike on all ranks, whether any rank has the same
    /// neighbour twice. Collective.
    pub(super) fn of_grid(
        call: &Call<'_>,
        comm: Comm,
        neighbors: Vec<Option<usize>>,
        double: bool,
    ) -> Result<Self> {
        let neighbors: Arc<[_]> = neighbors.into();
        let links = Links {
            incoming: Edges::new(&neighbors, across),
            outgoing: Edges::new(&neighbors, |index| index),
            sources: neighbors.clone(),
            destinations: neighbors,
            twin: None,
            receives_only: None,
        };
        Neighborhood::new(call, comm, links, double)
    }

    /// The neighbourhood of a graph. Collective.
    pub(super) fn of_graph(
        call: &Call<'_>,
        comm: Comm,
        sources: Vec<Option<usize>>,
        destinations: Vec<Option<usize>>,
    ) -> Result<Self> {
        let mut links = Links {
            incoming: Edges::new(&sources, |index| index),
            outgoing: Edges::new(&destinations, |index| index),
            sources: sources.into(),
            destinations: destinations.into(),
            twin: None,
            receives_only: None,
        };
        let double = links.incoming.are_double() || links.outgoing.are_double();
        let receives_only = !links.sources.is_empty() && links.destinations.is_empty();
        let receives_only = if receives_only { comm.rank() as u64 } else { u64::MAX };
        let [none_is_double, receives_only] =
            comm.smallest(call, [u64::from(!double), receives_only])?;
        links.receives_only = (receives_only != u64::MAX).then_some(receives_only as usize);
        Neighborhood::new(call, comm, links, none_is_double == 0)
    }

    fn new(call: &Call<'_>, comm: Comm, mut links: Links, double: bool) -> Result<Self> {
        let (incoming, outgoing) = (&links.incoming, &links.outgoing);
        let ranks = incoming.ranks.iter().chain(&outgoing.ranks);
        let mut neighbors: Vec<u32> = ranks.map(|&rank| rank as u32).collect();
        neighbors.sort_unstable();
        neighbors.dedup();
        if double {
            let (incoming, outgoing) = (incoming.side(), outgoing.side());
            let handle = comm.handle();
            let made = raw::topology::graph_adjacent(call, handle, incoming, outgoing, false)?;
            let twin = Comm::adopt(call.operation, made, comm.name(), call.location)?;
            twin.identity().set_neighbors(neighbors.clone());
            links.twin = Some(twin);
        }
        comm.identity().set_neighbors(neighbors);
        Ok(Neighborhood { comm, links: Arc::new(links) })
    }

    /// How many blocks this rank receives in a collective among neighbours, those of neighbours that do
    /// not exist included.
    ///
    /// MPI: `MPI_Dist_graph_neighbors_count`, MPI-4.1 section 8.5.5.
    pub fn indegree(&self) -> usize {
        self.links.sources.len()
    }

    /// How many blocks this rank gives, those for neighbours that do not exist included.
    ///
    /// MPI: `MPI_Dist_graph_neighbors_count`, MPI-4.1 section 8.5.5.
    pub fn outdegree(&self) -> usize {
        self.links.destinations.len()
    }

    pub(crate) fn sources(&self) -> &Arc<[Option<usize>]> {
        &self.links.sources
    }

    /// Whom this rank receives from, each once.
    pub(crate) fn incoming(&self) -> &Edges {
        &self.links.incoming
    }

    /// Whom this rank sends to, each once.
    pub(crate) fn outgoing(&self) -> &Edges {
        &self.links.outgoing
    }

    /// The first rank that receives without sending, if there is any.
    pub(super) fn receives_only(&self) -> Option<usize> {
        self.links.receives_only
    }

    pub(super) fn degrees(&self) -> Degrees {
        Degrees { sources: self.indegree(), destinations: self.outdegree() }
    }

    /// The communicator that the collectives among neighbours go over.
    pub(super) fn carrier(&self) -> &Comm {
        self.links.twin.as_ref().unwrap_or(&self.comm)
    }

    /// A collective among neighbours, for the gate.
    pub(super) fn neighbor_call(
        &self,
        operation: &'static Operation,
        location: &'static Location<'static>,
    ) -> Call<'_> {
        self.carrier().call(operation, location)
    }

    pub(super) fn is_merged(&self) -> bool {
        self.links.twin.is_some()
    }

    /// Whether no rank has neighbours because the grid has no dimensions; then MPI knows of no topology.
    pub(super) fn is_point(&self) -> bool {
        self.size() == 1 && self.indegree() == 0 && self.outdegree() == 0
    }

    /// A collective among neighbours of which every block is given by its place. The arrays of the call
    /// go into `arrays`, where MPI reads them until it is complete.
    pub(super) fn exchange_parts(
        &self,
        call: &Call<'_>,
        form: Form<'_>,
        arrays: &mut Option<(BlockTable, BlockTable)>,
        (sends, receives): (&[RawBlock], &[RawBlock]),
        element: Name,
    ) -> Result<()> {
        let degrees = self.degrees();
        let expected = [(sends.len(), degrees.destinations), (receives.len(), degrees.sources)];
        let complete = expected.iter().all(|(given, needed)| given == needed);
        if complete && self.is_point() {
            return Ok(());
        }
        // What is incomplete is refused below, where lengths are checked.
        let (blocks, degrees) = if complete && self.is_merged() {
            let Links { incoming, outgoing, .. } = &*self.links;
            let out = BlockTable::of_groups(call, outgoing.group(sends))?;
            let degrees =
                Degrees { sources: incoming.ranks.len(), destinations: outgoing.ranks.len() };
            ((out, BlockTable::of_groups(call, incoming.group(receives))?), degrees)
        } else {
            let out = BlockTable::at_addresses(call, sends.iter().copied())?;
            ((out, BlockTable::at_addresses(call, receives.iter().copied())?), degrees)
        };
        let (outgoing, incoming) = arrays.insert(blocks);
        neighbor_alltoallw(call, form, outgoing, incoming, degrees, element)
    }

    #[track_caller]
    pub(super) fn free(self) -> Result<()> {
        // What is refused is given back whole.
        let _permit = match self.comm.permit_to_free(Location::caller()) {
            Ok(permit) => permit,
            Err(error) => return Err(error.giving_back(Box::new(self.comm))),
        };
        // Where the links have other owners the communicator has, too, and says so.
        if let Ok(Links { twin: Some(twin), .. }) = Arc::try_unwrap(self.links) {
            twin.free()?;
        }
        self.comm.free()
    }
}

impl Deref for Neighborhood {
    type Target = Comm;

    fn deref(&self) -> &Comm {
        &self.comm
    }
}

impl fmt::Debug for Neighborhood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Links { sources, destinations, .. } = &*self.links;
        write!(f, "Neighborhood({:?}, from {sources:?}, to {destinations:?})", self.name())
    }
}

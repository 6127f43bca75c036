//! The neighbours of a rank, and the communicator that their collectives go over.

use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;

use crate::comm::Comm;
use crate::error::Result;
use crate::raw;
use crate::raw::collective::{Blocks, Degrees, Form, Part, neighbor_alltoallw};
use crate::raw::topology::Side;
use crate::record::{Call, Operation};

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
    merged: Option<Merged>,
    /// The first rank that receives from somebody and sends to nobody.
    deaf: Option<usize>,
}

/// A twin of the communicator, on which two ranks have one edge however many they have in truth, and
/// all blocks between them are one message.
///
/// Where there are several edges the libraries do not agree whose block is whose: on a periodic
/// dimension of two ranks the block that was sent forwards may arrive as the one that was sent backwards.
/// In one message it is the order of the blocks that decides, which both sides know.
struct Merged {
    comm: Comm,
    /// For each edge the indices of its blocks, in the order in which they are sent.
    sources: Vec<Vec<usize>>,
    destinations: Vec<Vec<usize>>,
}

/// The ranks that occur, and for each the indices at which it does, by the order of `key`.
fn merge(
    neighbors: &[Option<usize>],
    key: impl Fn(usize) -> usize,
) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut ranks: Vec<usize> = Vec::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, rank) in neighbors.iter().enumerate().filter_map(|(i, rank)| Some((i, (*rank)?))) {
        match ranks.iter().position(|&it| it == rank) {
            Some(group) => groups[group].push(index),
            None => {
                ranks.push(rank);
                groups.push(vec![index]);
            }
        }
    }
    for group in &mut groups {
        group.sort_by_key(|&index| key(index));
    }
    (ranks, groups)
}

/// The index at which a block arrives on a grid that was sent at an index: forwards from behind.
fn across(index: usize) -> usize {
    index ^ 1
}

fn has_double(neighbors: &[Option<usize>]) -> bool {
    let mut ranks: Vec<usize> = neighbors.iter().flatten().copied().collect();
    ranks.sort_unstable();
    ranks.windows(2).any(|pair| pair[0] == pair[1])
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
        Neighborhood::new(call, comm, neighbors.clone(), neighbors, double, None, across)
    }

    /// The neighbourhood of a graph. Collective.
    pub(super) fn of_graph(
        call: &Call<'_>,
        comm: Comm,
        sources: Vec<Option<usize>>,
        destinations: Vec<Option<usize>>,
    ) -> Result<Self> {
        let double = has_double(&sources) || has_double(&destinations);
        let deaf = !sources.is_empty() && destinations.is_empty();
        let deaf = if deaf { comm.rank() as u64 } else { u64::MAX };
        let [none_is_double, deaf] = comm.smallest(call, [u64::from(!double), deaf])?;
        let deaf = (deaf != u64::MAX).then_some(deaf as usize);
        let double = none_is_double == 0;
        Neighborhood::new(call, comm, sources.into(), destinations.into(), double, deaf, |it| it)
    }

    fn new(
        call: &Call<'_>,
        comm: Comm,
        sources: Arc<[Option<usize>]>,
        destinations: Arc<[Option<usize>]>,
        double: bool,
        deaf: Option<usize>,
        arrives: fn(usize) -> usize,
    ) -> Result<Self> {
        let mut neighbors: Vec<u32> =
            sources.iter().chain(&*destinations).flatten().map(|&rank| rank as u32).collect();
        neighbors.sort_unstable();
        neighbors.dedup();
        let merged = if double {
            let (ranks_in, groups_in) = merge(&sources, arrives);
            let (ranks_out, groups_out) = merge(&destinations, |index| index);
            let incoming = Side { ranks: &ranks_in, weights: None };
            let outgoing = Side { ranks: &ranks_out, weights: None };
            let handle = comm.handle();
            let made = raw::topology::graph_adjacent(call, handle, incoming, outgoing, false)?;
            let twin = Comm::adopt(call.operation, made, comm.name(), call.location)?;
            twin.identity().set_neighbors(neighbors.clone());
            Some(Merged { comm: twin, sources: groups_in, destinations: groups_out })
        } else {
            None
        };
        comm.identity().set_neighbors(neighbors);
        let links = Arc::new(Links { sources, destinations, merged, deaf });
        Ok(Neighborhood { comm, links })
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

    pub(crate) fn destinations(&self) -> &Arc<[Option<usize>]> {
        &self.links.destinations
    }

    /// The first rank that receives without sending, if there is any.
    pub(super) fn deaf(&self) -> Option<usize> {
        self.links.deaf
    }

    pub(super) fn degrees(&self) -> Degrees {
        Degrees { sources: self.indegree(), destinations: self.outdegree() }
    }

    /// The communicator that the collectives among neighbours go over.
    pub(super) fn carrier(&self) -> &Comm {
        self.links.merged.as_ref().map_or(&self.comm, |merged| &merged.comm)
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
        self.links.merged.is_some()
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
        arrays: &mut Option<(Blocks, Blocks)>,
        sends: &[Part],
        receives: &[Part],
    ) -> Result<()> {
        let degrees = self.degrees();
        let expected = [(sends.len(), degrees.destinations), (receives.len(), degrees.sources)];
        let complete = expected.iter().all(|(given, needed)| given == needed);
        if complete && self.is_point() {
            return Ok(());
        }
        let (blocks, degrees) = match &self.links.merged {
            Some(merged) if complete => {
                let group = |parts: &[Part], indices: &[usize]| -> Vec<Part> {
                    indices.iter().map(|&index| parts[index]).collect()
                };
                let out = merged.destinations.iter().map(|it| group(sends, it));
                let within = merged.sources.iter().map(|it| group(receives, it));
                let blocks = (Blocks::of_groups(call, out)?, Blocks::of_groups(call, within)?);
                let degrees = Degrees {
                    sources: merged.sources.len(),
                    destinations: merged.destinations.len(),
                };
                (blocks, degrees)
            }
            // What is wrong is said where it is checked.
            _ => {
                let out = Blocks::new(call, sends.iter().copied())?;
                ((out, Blocks::new(call, receives.iter().copied())?), degrees)
            }
        };
        let (outgoing, incoming) = arrays.insert(blocks);
        neighbor_alltoallw(call, form, outgoing, incoming, degrees)
    }

    #[track_caller]
    pub(super) fn free(self) -> Result<()> {
        // Where the links have other owners the communicator has, too, and says so.
        if let Ok(Links { merged: Some(merged), .. }) = Arc::try_unwrap(self.links) {
            merged.comm.free()?;
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

//! Code of the user's for two ranks, run for every pair of a graph.

use std::borrow::Borrow;
use std::panic::Location;

use crate::collective::PerRank;
use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Call, PAIRWISE};
use crate::words::count;

/// # Exchanges that cannot deadlock: with several ranks, one after another
impl Comm {
    /// Calls `f` once for each peer, on both ranks of every pair at the same time, in an order in which
    /// no two ranks can wait for each other. Returns the results in the order of the peers.
    /// Collective.
    ///
    /// `f` talks to its peer alone, in any way whose two sides fit: blocking and synchronous sends, many
    /// messages to and fro. Pairs without a rank in common run at the same time. A rank that is listed
    /// twice is met twice. Every rank learns the lists of all (8 bytes a peer).
    ///
    /// An `Err` of `f` is returned at once: no peer is met any more, and ranks that wait for this one
    /// go on waiting. [`run`](crate::run) ends the job if the program passes the error on, as it
    /// should: nobody but the program could answer what its peer still expects.
    ///
    /// # Errors
    /// On every rank, before `f` is called anywhere: [`InvalidRank`](ErrorKind::InvalidRank) if a rank
    /// lists itself or one that does not exist, [`Mismatch`](ErrorKind::Mismatch) if a rank lists one
    /// that does not list it. The error names the ranks.
    ///
    /// MPI: `MPI_Allgather` and `MPI_Allgatherv` of the lists.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let (rank, size) = (world.rank(), world.size());
    /// let neighbors: Vec<usize> = (0..size).filter(|&other| other.abs_diff(rank) == 1).collect();
    /// let values = world.pairwise(&neighbors, |peer| {
    ///     if rank < peer {
    ///         world.ssend(&rank, peer)?;
    ///         world.recv::<usize>(peer)
    ///     } else {
    ///         let value = world.recv::<usize>(peer)?;
    ///         world.ssend(&rank, peer)?;
    ///         Ok(value)
    ///     }
    /// })?;
    /// assert_eq!(values, neighbors);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn pairwise<I, R, F>(&self, peers: I, f: F) -> Result<Vec<R>>
    where
        I: IntoIterator,
        I::Item: Borrow<usize>,
        F: FnMut(usize) -> Result<R>,
    {
        let call = self.call(&PAIRWISE, Location::caller());
        let peers: Vec<usize> = peers.into_iter().map(|peer| *peer.borrow()).collect();
        let lists = self.allgatherv_at(&call, &peers)?;
        check(&call, &lists)?;
        let rounds = if all_meet_all(&lists) {
            peers.iter().map(|&peer| tournament(self.size(), self.rank(), peer)).collect()
        } else {
            colors(&lists, self.rank())
        };
        meet(&peers, &rounds, f)
    }

    /// [`pairwise`](Comm::pairwise) with all other ranks, in the rounds of a tournament. Returns the
    /// results in the order of the ranks. Collective.
    ///
    /// # Errors
    /// Those of `f`.
    ///
    /// MPI: nothing but what `f` calls.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut met = Vec::new();
    /// world.pairwise_all(|peer| {
    ///     met.push(world.sendrecv(&world.rank(), peer, peer)?);
    ///     Ok(())
    /// })?;
    /// assert_eq!(met.len(), world.size() - 1);
    /// # Ok(())
    /// # });
    /// ```
    pub fn pairwise_all<R, F>(&self, f: F) -> Result<Vec<R>>
    where
        F: FnMut(usize) -> Result<R>,
    {
        let (rank, size) = (self.rank(), self.size());
        let peers: Vec<usize> = (0..size).filter(|&peer| peer != rank).collect();
        let rounds: Vec<usize> = peers.iter().map(|&peer| tournament(size, rank, peer)).collect();
        meet(&peers, &rounds, f)
    }
}

/// Calls `f` for the peers in the order of their rounds.
fn meet<R>(
    peers: &[usize],
    rounds: &[usize],
    mut f: impl FnMut(usize) -> Result<R>,
) -> Result<Vec<R>> {
    let mut order: Vec<usize> = (0..peers.len()).collect();
    order.sort_by_key(|&place| rounds[place]);
    let mut results: Vec<Option<R>> = peers.iter().map(|_| None).collect();
    for place in order {
        results[place] = Some(f(peers[place])?);
    }
    Ok(results.into_iter().flatten().collect())
}

/// How often a rank stands in a sorted list.
fn times(sorted: &[usize], rank: usize) -> usize {
    sorted.partition_point(|&it| it <= rank) - sorted.partition_point(|&it| it < rank)
}

fn sorted(lists: &PerRank<usize>) -> Vec<Vec<usize>> {
    let sort = |list: &[usize]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    lists.iter().map(sort).collect()
}

/// Says what is wrong with the lists. All ranks have the same ones, and find the same.
fn check(call: &Call<'_>, lists: &PerRank<usize>) -> Result<()> {
    let size = lists.ranks();
    for (rank, list) in lists.iter().enumerate() {
        if let Some(peer) = list.iter().find(|&&peer| peer >= size) {
            let detail = format!(
                "rank {rank} lists rank {peer} of a communicator of {}",
                count(size, "rank")
            );
            return Err(Error::new(ErrorKind::InvalidRank, call, detail));
        }
        if list.contains(&rank) {
            let detail = format!("rank {rank} lists itself: a pair has two ranks");
            return Err(Error::new(ErrorKind::InvalidRank, call, detail));
        }
    }
    let sorted = sorted(lists);
    for (rank, list) in sorted.iter().enumerate() {
        for &peer in list {
            let (there, back) = (times(list, peer), times(&sorted[peer], rank));
            if there == back {
                continue;
            }
            let detail = if back == 0 {
                format!("rank {rank} lists rank {peer}, but rank {peer} does not list rank {rank}")
            } else {
                format!(
                    "rank {rank} lists rank {peer} {there} times, but rank {peer} lists rank {rank} \
                     {back} times"
                )
            };
            return Err(Error::new(ErrorKind::Mismatch, call, detail));
        }
    }
    Ok(())
}

fn all_meet_all(lists: &PerRank<usize>) -> bool {
    let others = lists.ranks() - 1;
    let once_each = |list: Vec<usize>| list.windows(2).all(|pair| pair[0] < pair[1]);
    lists.counts().iter().all(|&count| count == others) && sorted(lists).into_iter().all(once_each)
}

/// The round in which two ranks meet when all meet all: the circle method. With an odd number of ranks
/// one of them rests in each round.
fn tournament(size: usize, one: usize, other: usize) -> usize {
    let last = size.next_multiple_of(2) - 1;
    match (one == last, other == last) {
        (true, _) => 2 * other % last,
        (_, true) => 2 * one % last,
        _ => (one + other) % last,
    }
}

/// The rounds of the pairs of a rank, for each place of its list: a colour for each edge of the graph,
/// such that no two edges of a rank have the same. Each edge, in one order for all ranks, takes the
/// smallest colour that is free at both ends.
fn colors(lists: &PerRank<usize>, me: usize) -> Vec<usize> {
    let mut used = vec![Colors::default(); lists.ranks()];
    // Pairs of the same two ranks are found in the order of their colours.
    let mut mine: Vec<(usize, usize)> = Vec::new();
    for (rank, list) in sorted(lists).into_iter().enumerate() {
        for peer in list.into_iter().filter(|&peer| peer > rank) {
            let color = used[rank].first_free(&used[peer]);
            used[rank].insert(color);
            used[peer].insert(color);
            if rank == me {
                mine.push((peer, color));
            } else if peer == me {
                mine.push((rank, color));
            }
        }
    }
    let place = |&peer: &usize| {
        // The lists agree, so that there is one edge for each place.
        let edge = mine.iter().position(|&(other, _)| other == peer);
        edge.map_or(0, |edge| mine.remove(edge).1)
    };
    lists[me].iter().map(place).collect()
}

/// A set of colours, as bits.
#[derive(Clone, Default)]
struct Colors(Vec<u64>);

impl Colors {
    fn insert(&mut self, color: usize) {
        let word = color / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (color % 64);
    }

    /// The smallest colour that is in neither set.
    fn first_free(&self, other: &Colors) -> usize {
        let word = |set: &Colors, index| set.0.get(index).copied().unwrap_or(0);
        let mut index = 0;
        loop {
            let taken = word(self, index) | word(other, index);
            if taken != u64::MAX {
                return index * 64 + taken.trailing_ones() as usize;
            }
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn lists_of(size: usize, edges: &[(usize, usize)]) -> PerRank<usize> {
        let mut lists = vec![Vec::new(); size];
        for &(one, other) in edges {
            lists[one].push(other);
            lists[other].push(one);
        }
        PerRank::from(lists)
    }

    /// The rounds of all pairs as both sides see them.
    fn rounds(lists: &PerRank<usize>) -> Vec<Vec<(usize, usize)>> {
        let of = |rank: usize| {
            let peers = lists[rank].iter().copied();
            peers.zip(colors(lists, rank)).collect()
        };
        (0..lists.ranks()).map(of).collect()
    }

    #[test]
    fn both_sides_of_a_pair_find_the_same_round_and_no_rank_is_in_two_pairs_of_a_round() {
        let mut seed = 1_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        for size in 2..40 {
            let density = 1 + random(4);
            let mut edges = Vec::new();
            for one in 0..size {
                for other in one + 1..size {
                    if random(5) < density {
                        edges.extend(vec![(one, other); 1 + (random(10) == 0) as usize]);
                    }
                }
            }
            let lists = lists_of(size, &edges);
            let rounds = rounds(&lists);
            let degree = lists.counts().iter().copied().max().unwrap_or(0);
            for (rank, pairs) in rounds.iter().enumerate() {
                let distinct: BTreeSet<usize> = pairs.iter().map(|&(_, round)| round).collect();
                assert_eq!(distinct.len(), pairs.len(), "rank {rank} is twice in a round");
                for &(peer, round) in pairs {
                    assert!(rounds[peer].contains(&(rank, round)));
                    assert!(round < 2 * degree - 1);
                }
            }
        }
    }

    #[test]
    fn a_ring_and_a_line_need_as_many_rounds_as_they_must() {
        let line: Vec<(usize, usize)> = (0..100).map(|rank| (rank, rank + 1)).collect();
        let most =
            |rounds: Vec<Vec<(usize, usize)>>| rounds.into_iter().flatten().map(|it| it.1).max();
        assert_eq!(most(rounds(&lists_of(101, &line))), Some(1));
        let ring: Vec<(usize, usize)> = (0..7).map(|rank| (rank, (rank + 1) % 7)).collect();
        assert_eq!(most(rounds(&lists_of(7, &ring))), Some(2));
    }

    #[test]
    fn a_tournament_has_the_fewest_rounds_and_everybody_meets_everybody() {
        for size in 2..33_usize {
            let fewest = size.next_multiple_of(2) - 1;
            for one in 0..size {
                let others = (0..size).filter(|&other| other != one);
                let rounds: BTreeSet<usize> =
                    others.clone().map(|other| tournament(size, one, other)).collect();
                assert_eq!(rounds.len(), size - 1);
                assert!(rounds.iter().all(|&round| round < fewest));
                for other in others {
                    assert_eq!(tournament(size, one, other), tournament(size, other, one));
                }
            }
        }
    }
}

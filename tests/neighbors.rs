//! Collectives among neighbours on grids and graphs of many shapes, against a model that each rank
//! computes for itself; and what wrong use of them does.
//!
//! The hard cases are ranks that are joined more than once (a periodic dimension of one or two ranks, a
//! graph with several edges): whose block is whose must not depend on the library.

use phalanx::prelude::*;
use phalanx::{
    AnyPayload, AnyPayloadMut, Neighborhood, PerRank, Request, RequestSet, Strided, StridedMut,
};

/// What a rank knows of the others: for each source the rank, and the index that this rank has among
/// its destinations.
struct Model {
    sources: Vec<Option<(usize, usize)>>,
    destinations: Vec<Option<usize>>,
}

fn block(rank: usize, len: usize) -> Vec<u64> {
    (0..len).map(|i| (1000 * rank + i) as u64).collect()
}

/// What a rank gives at an index.
fn parcel(rank: usize, index: usize, len: usize) -> Vec<u64> {
    block(100 * rank + index + 1, len)
}

/// A length that depends on both ends.
fn length(rank: usize, index: usize) -> usize {
    match (rank + index) % 4 {
        0 => 0,
        1 => 3000,
        other => other + rank,
    }
}

const UNTOUCHED: u64 = 424_242;

/// All operations on elements, in all their forms.
fn check(hood: &Neighborhood, model: &Model) -> phalanx::Result<()> {
    let me = hood.rank();
    let (sources, outdegree) = (&model.sources, model.destinations.len());
    assert_eq!((hood.indegree(), hood.outdegree()), (sources.len(), outdegree));

    for len in [0, 1, 5, 3000] {
        let mine = block(me, len);
        let blocking = hood.neighbor_allgather(&mine)?;
        let started = hood.ineighbor_allgather(mine.clone())?.wait()?;
        let mut room = vec![UNTOUCHED; len * sources.len()];
        hood.neighbor_allgather_into(&mine, &mut room)?;
        assert_eq!(blocking, started);
        assert_eq!(blocking.len(), sources.len());
        for (index, source) in sources.iter().enumerate() {
            let expected = source.map_or(vec![], |(rank, _)| block(rank, len));
            assert_eq!(blocking[index], expected, "allgather from {source:?}");
            assert_eq!(blocking.neighbor(index), source.map(|(rank, _)| rank));
            let expected = source.map_or(vec![UNTOUCHED; len], |(rank, _)| block(rank, len));
            assert_eq!(room[index * len..(index + 1) * len], expected);
        }

        let mine: Vec<u64> = (0..outdegree).flat_map(|to| parcel(me, to, len)).collect();
        let mut room = vec![UNTOUCHED; len * sources.len()];
        hood.neighbor_alltoall_into(&mine, &mut room)?;
        for (index, source) in sources.iter().enumerate() {
            let expected = source.map_or(vec![UNTOUCHED; len], |(rank, at)| parcel(rank, at, len));
            assert_eq!(room[index * len..(index + 1) * len], expected, "alltoall from {source:?}");
        }
        match hood.neighbor_alltoall(&mine) {
            Ok(blocking) => {
                let started = hood.ineighbor_alltoall(mine)?.wait()?;
                assert_eq!(blocking, started);
                for (index, source) in sources.iter().enumerate() {
                    let expected = source.map_or(vec![], |(rank, at)| parcel(rank, at, len));
                    assert_eq!(blocking[index], expected, "alltoall from {source:?}");
                }
            }
            Err(error) => assert!(error.detail().contains("has sources and no destinations")),
        }
    }

    let uneven = |rank| length(rank, 0);
    let mine = block(me, uneven(me));
    let counts: Vec<usize> = sources.iter().map(|it| it.map_or(0, |it| uneven(it.0))).collect();
    let blocking = hood.neighbor_allgatherv(&mine)?;
    let started = hood.ineighbor_allgatherv(mine.clone(), counts.clone())?.wait()?;
    let mut room = vec![UNTOUCHED; counts.iter().sum()];
    hood.neighbor_allgatherv_into(&mine, &mut room, &counts)?;
    assert_eq!(blocking, started);
    assert_eq!(blocking.flat(), room);
    assert_eq!(blocking.counts(), counts);
    for (index, (neighbor, came)) in blocking.iter().enumerate() {
        let expected = neighbor.map_or(vec![], |rank| block(rank, uneven(rank)));
        assert_eq!(came, expected, "allgatherv from source {index}");
    }

    let blocks: Vec<Vec<u64>> = (0..outdegree).map(|to| parcel(me, to, length(me, to))).collect();
    let counts: Vec<usize> =
        sources.iter().map(|it| it.map_or(0, |(rank, at)| length(rank, at))).collect();
    let blocking = hood.neighbor_alltoallv(&blocks)?;
    let flat = PerRank::from(blocks.clone());
    let mut room = vec![UNTOUCHED; counts.iter().sum()];
    hood.neighbor_alltoallv_into(flat.flat(), flat.counts(), &mut room, &counts)?;
    assert_eq!(blocking, hood.ineighbor_alltoallv(flat, counts.clone())?.wait()?);
    assert_eq!((blocking.flat(), blocking.counts()), (&room[..], &counts[..]));
    for (index, source) in sources.iter().enumerate() {
        let expected = source.map_or(vec![], |(rank, at)| parcel(rank, at, length(rank, at)));
        assert_eq!(blocking[index], expected, "alltoallv from {source:?}");
    }

    let room = |source: &Option<(usize, usize)>| match *source {
        Some((rank, at)) => vec![UNTOUCHED; length(rank, at)],
        None => vec![UNTOUCHED; 3],
    };
    let came = hood.ineighbor_alltoallw(blocks, sources.iter().map(room).collect())?.wait()?;
    for (index, source) in sources.iter().enumerate() {
        let there = |(rank, at)| parcel(rank, at, length(rank, at));
        assert_eq!(came[index], source.map_or(vec![UNTOUCHED; 3], there), "from {source:?}");
    }
    check_patterns(hood, model)?;
    check_objects(hood, model)?;
    check_overlap(hood, model)
}

/// Columns into rows.
fn check_patterns(hood: &Neighborhood, model: &Model) -> phalanx::Result<()> {
    const ROWS: usize = 4;
    let outdegree = model.destinations.len();
    let matrix: Vec<f64> = (0..ROWS * outdegree).map(|i| (1000 * hood.rank() + i) as f64).collect();
    let columns = (0..outdegree)
        .map(|column| Strided::column(&matrix, outdegree, column))
        .collect::<phalanx::Result<Vec<_>>>()?;
    let indegree = model.sources.len();
    let mut target = vec![-1.0; ROWS * indegree];
    let mut rows: Vec<StridedMut<f64>> = Vec::new();
    for row in target.chunks_mut(ROWS) {
        rows.push(StridedMut::new(row, ROWS, 1, 1)?);
    }
    let sends: Vec<&dyn AnyPayload> = columns.iter().map(|it| it as &dyn AnyPayload).collect();
    let mut receives: Vec<&mut dyn AnyPayloadMut> =
        rows.iter_mut().map(|it| it as &mut dyn AnyPayloadMut).collect();
    hood.neighbor_alltoallw(&sends, &mut receives)?;
    drop(rows);
    // The width of the sender's matrix is its own affair.
    let degrees = hood.allgather(&outdegree)?;
    for (index, source) in model.sources.iter().enumerate() {
        let expected: Vec<f64> = (0..ROWS)
            .map(|row| {
                source.map_or(-1.0, |(rank, at)| (1000 * rank + row * degrees[rank] + at) as f64)
            })
            .collect();
        assert_eq!(target[index * ROWS..(index + 1) * ROWS], expected, "column from {source:?}");
    }
    Ok(())
}

fn check_objects(hood: &Neighborhood, model: &Model) -> phalanx::Result<()> {
    let me = hood.rank();
    let name = |rank: usize| "x".repeat(50_000 * (rank % 2)) + &format!("rank {rank}");
    let names: Vec<Option<String>> =
        model.sources.iter().map(|it| it.map(|(rank, _)| name(rank))).collect();
    assert_eq!(hood.neighbor_allgather_object(&name(me))?, names);
    assert_eq!(hood.ineighbor_allgather_object(&name(me))?.wait()?, names);

    let letter = |rank: usize, index: usize| (name(rank), Some(index));
    let mine: Vec<_> = (0..model.destinations.len()).map(|to| letter(me, to)).collect();
    let letters: Vec<_> =
        model.sources.iter().map(|it| it.map(|(rank, at)| letter(rank, at))).collect();
    assert_eq!(hood.neighbor_alltoall_object(&mine)?, letters);
    assert_eq!(hood.ineighbor_alltoall_object(&mine)?.wait()?, letters);
    Ok(())
}

/// Several in flight at once, completed in another order, beside messages of the user's.
fn check_overlap(hood: &Neighborhood, model: &Model) -> phalanx::Result<()> {
    let me = hood.rank();
    let mut all = RequestSet::new();
    for round in 0..4 {
        all.push(hood.ineighbor_allgather(block(me + round, 2))?);
    }
    let mine: Vec<u64> = (0..model.destinations.len()).flat_map(|to| parcel(me, to, 2)).collect();
    let mut room = vec![0; 2 * model.sources.len()];
    hood.neighbor_alltoall_into(&mine, &mut room)?;
    let objects: Request<_> = hood.ineighbor_allgather_object(&me)?;
    for (round, came) in all.wait_all()?.into_iter().enumerate() {
        for (index, source) in model.sources.iter().enumerate() {
            let expected = source.map_or(vec![], |(rank, _)| block(rank + round, 2));
            assert_eq!(came[index], expected, "round {round}");
        }
    }
    let ranks: Vec<_> = model.sources.iter().map(|it| it.map(|it| it.0)).collect();
    assert_eq!(objects.wait()?, ranks);
    Ok(())
}

fn shapes(ranks: usize) -> Vec<Vec<usize>> {
    match ranks {
        4 => vec![vec![4], vec![2, 2], vec![4, 1], vec![2, 1, 2]],
        6 => vec![vec![6], vec![3, 2], vec![1, 6], vec![2, 3, 1]],
        n => vec![vec![n], vec![n, 1], vec![1, n, 1]],
    }
}

#[phalanx::test(ranks = [1, 2, 3, 4, 6], timeout = "180s")]
fn neighbours_on_every_grid_get_what_was_meant_for_them(world: Comm) -> phalanx::Result<()> {
    for dims in shapes(world.size()) {
        for bits in 0..1 << dims.len() {
            let periods: Vec<bool> = (0..dims.len()).map(|bit| bits >> bit & 1 == 1).collect();
            let cart = world.cart(&dims, &periods)?.expect("every rank fits");
            // What the one before sends forwards comes here from behind: the other index of the pair.
            let sources = cart.neighbors().iter().enumerate();
            let model = Model {
                sources: sources.map(|(index, it)| it.map(|rank| (rank, index ^ 1))).collect(),
                destinations: cart.neighbors().to_vec(),
            };
            check(&cart, &model)?;
            cart.free()?;
        }
    }
    Ok(())
}

/// Numbers that look random and are the same on all ranks.
fn pseudo_random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % below
    }
}

/// The part of a rank in a graph that all know. Sources are listed in an order of their own.
fn model_of(edges: &[(usize, usize)], me: usize, shuffle: bool) -> Model {
    let of = |node: usize| -> Vec<usize> {
        edges.iter().filter(|it| it.0 == node).map(|it| it.1).collect()
    };
    let mut from: Vec<usize> = edges.iter().filter(|it| it.1 == me).map(|it| it.0).collect();
    if shuffle {
        from.sort_unstable_by_key(|rank| rank * 7 % 5);
    }
    let mut seen = vec![0; 64];
    let mut sources = Vec::new();
    for rank in from {
        // The first edge from there is the first of its destinations that is this rank.
        let here = |at: &usize| of(rank)[*at] == me;
        let at = (0..of(rank).len()).filter(here).nth(seen[rank]);
        sources.push(Some((rank, at.expect("an edge has two ends"))));
        seen[rank] += 1;
    }
    Model { sources, destinations: of(me).into_iter().map(Some).collect() }
}

#[phalanx::test(ranks = [1, 2, 3, 4, 6], timeout = "180s")]
fn nodes_of_any_graph_get_what_was_meant_for_them(world: Comm) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());
    for seed in 0..12 {
        let mut random = pseudo_random(seed + 1);
        // With loops, several edges between two nodes, and nodes without any.
        let edges: Vec<(usize, usize)> =
            (0..random(3 * n + 1)).map(|_| (random(n), random(n))).collect();
        let model = model_of(&edges, me, seed % 2 == 0);
        let sources: Vec<usize> = model.sources.iter().flatten().map(|it| it.0).collect();
        let destinations: Vec<usize> = model.destinations.iter().flatten().copied().collect();
        let graph = world.graph(&sources, &destinations)?;
        check(&graph, &model)?;
        graph.free()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn a_graph_from_edges_exchanges_in_the_order_that_it_says(world: Comm) -> phalanx::Result<()> {
    let n = world.size();
    // Rank 0 gives a graph in which every pair is joined at most once.
    let edges: Vec<_> =
        (0..n).flat_map(|a| (0..n).filter(move |&b| a != b).map(move |b| (a, b, 1))).collect();
    let given = if world.rank() == 0 { &edges[..] } else { &[] };
    let graph = world.graph_from_edges(given, false)?;
    let to: Vec<usize> = graph.destinations().iter().map(|it| it.rank).collect();
    let came =
        graph.neighbor_alltoall(&to.iter().map(|to| 10 * world.rank() + to).collect::<Vec<_>>())?;
    for (source, (neighbor, block)) in graph.sources().iter().zip(came.iter()) {
        assert_eq!(neighbor, Some(source.rank));
        assert_eq!(block, [10 * source.rank + world.rank()]);
    }
    graph.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn blocks_that_do_not_fit_are_errors_before_anything_is_sent(world: Comm) -> phalanx::Result<()> {
    for periodic in [false, true] {
        let cart = world.cart(&[0, 1], &[periodic, periodic])?.expect("every rank fits");
        let mut room = [0; 7];
        let errors = [
            cart.neighbor_allgather_into(&[1, 2], &mut room).unwrap_err(),
            cart.neighbor_alltoall(&[1; 7]).unwrap_err(),
            cart.neighbor_alltoall_into(&[1; 4], &mut room).unwrap_err(),
            cart.neighbor_alltoallv(&vec![vec![1]; 3]).unwrap_err(),
            cart.neighbor_alltoallv_into(&[1; 4], &[1; 4], &mut room, &[1; 4]).unwrap_err(),
            cart.neighbor_alltoallv_into(&[1; 4], &[1; 4], &mut room, &[7; 1]).unwrap_err(),
            cart.neighbor_allgatherv_into(&[1], &mut room, &[2; 4]).unwrap_err(),
            cart.neighbor_allgatherv_into(&[1], &mut room, &[usize::MAX; 4]).unwrap_err(),
            cart.ineighbor_alltoall([1; 5]).unwrap_err(),
            cart.ineighbor_allgatherv([1; 5], vec![1; 3]).unwrap_err(),
            cart.ineighbor_alltoallv(PerRank::from(vec![vec![1]]), vec![1; 4]).unwrap_err(),
            cart.neighbor_alltoallw(&[&1], &mut []).unwrap_err(),
            cart.ineighbor_alltoallw(vec![1; 4], vec![1; 3]).unwrap_err(),
        ];
        for error in errors {
            assert!(error.is_invalid_length(), "{error}");
            assert_eq!(error.mpi_class(), None, "MPI was called: {error}");
            assert!(error.operation().contains("neighbor_"), "{error}");
            assert!(error.location().file().ends_with("neighbors.rs"), "{error}");
            assert_eq!(error.communicator(), Some(&cart.name()[..]));
        }
        // The next one works.
        assert_eq!(cart.neighbor_allgather(&1)?.len(), 4);
        cart.free()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [2, 3, 4])]
fn a_rank_that_cannot_give_its_objects_tells_its_neighbours(world: Comm) -> phalanx::Result<()> {
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    let blamed = ring.rank() == 0;
    let values = vec![7_u8; if blamed { 1 } else { 2 }];
    let outcome = ring.neighbor_alltoall_object(&values);
    let near = ring.neighbors().contains(&Some(0));
    match outcome {
        Err(error) if blamed => assert!(error.is_invalid_length(), "{error}"),
        Err(error) => assert!(near && error.is_mismatch(), "{error}"),
        Ok(values) => assert!(!near && !blamed && values == [Some(7), Some(7)]),
    }
    let values = ring.neighbor_alltoall_object(&[1, 2])?;
    assert_eq!(values, [Some(2), Some(1)]);
    ring.free()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn requests_among_neighbours_may_be_dropped_while_pending(world: Comm) -> phalanx::Result<()> {
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    for _ in 0..20 {
        drop(ring.ineighbor_alltoall(vec![1; 2000])?);
    }
    let came = ring.neighbor_allgather(&ring.rank())?;
    assert_eq!(came.len(), 2);
    world.barrier()
}

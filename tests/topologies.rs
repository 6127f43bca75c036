//! Grids and graphs of ranks: their shape, held against what the MPI library says of them, and what
//! wrong use of them does.

use mpi::ffi;
use phalanx::prelude::*;
use phalanx::{Cart, Graph, Neighbor, ShiftRanks, dims_create};

/// Every shape whose ranks are exactly these, of one to three dimensions.
fn shapes(ranks: usize) -> Vec<Vec<usize>> {
    let divisors = |of: usize| (1..=of).filter(move |it| of.is_multiple_of(*it));
    let mut shapes = vec![vec![ranks]];
    for first in divisors(ranks) {
        shapes.push(vec![first, ranks / first]);
        for second in divisors(ranks / first) {
            shapes.push(vec![first, second, ranks / first / second]);
        }
    }
    shapes
}

/// Every choice of so many answers.
fn choices(number: usize) -> Vec<Vec<bool>> {
    (0..1 << number).map(|bits| (0..number).map(|bit| bits >> bit & 1 == 1).collect()).collect()
}

fn rank_or_null(rank: i32) -> Option<usize> {
    usize::try_from(rank).ok()
}

/// Holds all that a grid says against the library.
fn check(cart: &Cart, dims: &[usize], periods: &[bool]) -> phalanx::Result<()> {
    let n = dims.len();
    let (mut said_dims, mut said_periods, mut said_coords) = (vec![0; n], vec![0; n], vec![0; n]);
    // SAFETY: the communicator is live and each array has an entry for each dimension.
    let code = unsafe {
        let (dims, periods) = (said_dims.as_mut_ptr(), said_periods.as_mut_ptr());
        ffi::MPI_Cart_get(cart.as_raw(), n as i32, dims, periods, said_coords.as_mut_ptr())
    };
    assert_eq!(code, 0);
    let as_c = |numbers: &[usize]| numbers.iter().map(|&it| it as i32).collect::<Vec<_>>();
    assert_eq!((cart.dims(), cart.periods()), (dims, periods));
    assert_eq!((as_c(cart.dims()), as_c(cart.coords())), (said_dims, said_coords));
    assert_eq!(cart.periods().iter().map(|&it| i32::from(it)).collect::<Vec<_>>(), said_periods);

    for rank in 0..cart.size() {
        let mut coords = vec![0; n];
        // SAFETY: as above.
        unsafe {
            ffi::MPI_Cart_coords(cart.as_raw(), rank as i32, n as i32, coords.as_mut_ptr());
        }
        let ours = cart.coords_of(rank)?;
        assert_eq!(as_c(&ours), coords);
        let back: Vec<isize> = ours.iter().map(|&it| it as isize).collect();
        assert_eq!(cart.rank_of(&back)?, Some(rank));
    }
    for dimension in 0..n {
        for displacement in [-7, -2, -1, 0, 1, 2, 3, 6] {
            let (mut source, mut destination) = (0, 0);
            // SAFETY: both results are writable.
            unsafe {
                let (from, to) = (&mut source, &mut destination);
                ffi::MPI_Cart_shift(cart.as_raw(), dimension as i32, displacement, from, to);
            }
            let said = ShiftRanks { to: rank_or_null(destination), from: rank_or_null(source) };
            assert_eq!(cart.shift_ranks(dimension, displacement as isize)?, said, "{cart:?}");
        }
        let ShiftRanks { to, from } = cart.shift_ranks(dimension, 1)?;
        assert_eq!(cart.neighbors()[2 * dimension..2 * dimension + 2], [from, to]);
    }
    assert_eq!(cart.neighbors().len(), 2 * n);
    assert_eq!((cart.indegree(), cart.outdegree()), (2 * n, 2 * n));
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 6])]
fn a_grid_of_any_shape_is_what_the_library_says_of_it(world: Comm) -> phalanx::Result<()> {
    for dims in shapes(world.size()) {
        for periods in choices(dims.len()) {
            let cart = world.cart(&dims, &periods)?.expect("every rank fits");
            check(&cart, &dims, &periods)?;
            assert_eq!(cart.rank(), world.rank(), "nobody asked for another order");
            cart.free()?;
        }
    }
    let cart = world.cart_reorder(&[0, 0], &[true, false])?.expect("every rank fits");
    check(&cart, &dims_create(world.size(), &[0, 0])?, &[true, false])?;
    let twin = cart.dup()?;
    check(&twin, cart.dims(), cart.periods())?;
    twin.free()?;
    cart.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4, 6])]
fn messages_travel_on_a_grid_as_on_any_communicator(world: Comm) -> phalanx::Result<()> {
    let cart = world.cart(&[0], &[false])?.expect("every rank fits");
    let ShiftRanks { to, from } = cart.shift_ranks(0, 1)?;
    let mut received = usize::MAX;
    let got = cart.sendrecv_into(&cart.rank(), to, &mut received, from)?;
    // The method of all communicators moves data around the ring of ranks, as on any other.
    assert_eq!(cart.shift(&cart.rank(), -1)?, (cart.rank() + 1) % cart.size());
    let before = cart.rank().checked_sub(1);
    assert_eq!((got.source, got.len), (before, usize::from(before.is_some())));
    assert_eq!(received, before.unwrap_or(usize::MAX));
    // The null process takes a message and gives an empty one.
    cart.send(&1.0, cart.rank_of(&[-1])?)?;
    assert!(cart.recv::<Vec<f64>>(None)?.is_empty());
    assert_eq!(cart.allreduce(&1, Sum)?, cart.size());
    let as_comm: &Comm = &cart;
    assert_eq!(as_comm.size(), world.size());
    cart.free()
}

#[phalanx::test(ranks = [1, 3, 4, 6])]
fn ranks_that_do_not_fit_into_a_grid_are_in_none(world: Comm) -> phalanx::Result<()> {
    let fitting = world.size() / 2 * 2;
    let dims = [fitting.max(2) / 2, if fitting == 0 { 1 } else { 2 }];
    let cart = world.cart(&dims, &[true, true])?;
    assert_eq!(cart.is_some(), world.rank() < dims[0] * dims[1]);
    if let Some(cart) = cart {
        check(&cart, &dims, &[true, true])?;
        cart.free()?;
    }
    assert_eq!(world.allreduce(&1, Sum)?, world.size());
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 4, 6])]
fn a_sub_grid_holds_the_ranks_that_share_the_other_coordinates(world: Comm) -> phalanx::Result<()> {
    let cart = world.cart(&[0, 0, 0], &[false, true, true])?.expect("every rank fits");
    for remain in choices(3) {
        let part = cart.sub(&remain)?;
        let kept: Vec<usize> = (0..3).filter(|&it| remain[it]).collect();
        let dims: Vec<usize> = kept.iter().map(|&it| cart.dims()[it]).collect();
        let periods: Vec<bool> = kept.iter().map(|&it| cart.periods()[it]).collect();
        let coords: Vec<usize> = kept.iter().map(|&it| cart.coords()[it]).collect();
        assert_eq!(
            (part.dims(), part.periods(), part.coords()),
            (&dims[..], &periods[..], &coords[..])
        );
        assert_eq!(part.size(), dims.iter().product::<usize>());
        if !dims.is_empty() {
            check(&part, &dims, &periods)?;
        }
        let members = part.allgather(&cart.rank())?;
        for (rank, &member) in members.iter().enumerate() {
            let theirs = cart.coords_of(member)?;
            let expected = part.coords_of(rank)?;
            assert_eq!(kept.iter().map(|&it| theirs[it]).collect::<Vec<_>>(), expected);
            let shared = (0..3).filter(|&it| !remain[it]);
            assert!(shared.into_iter().all(|it| theirs[it] == cart.coords()[it]));
        }
        // A point has no neighbours, and its collectives end at once.
        let from_each = part.neighbor_allgather(&7)?;
        assert_eq!(from_each.len(), 2 * dims.len());
        assert_eq!(
            part.ineighbor_alltoall(vec![1; 2 * dims.len()])?.wait()?.len(),
            from_each.len()
        );
        part.free()?;
    }
    cart.free()
}

#[phalanx::test(ranks = [1, 3, 4])]
fn coordinates_wrap_around_where_periodic_and_are_nobody_where_closed(
    world: Comm,
) -> phalanx::Result<()> {
    let n = world.size() as isize;
    let cart = world.cart(&[1, 0], &[true, false])?.expect("every rank fits");
    assert_eq!(cart.rank_of(&[0, n - 1])?, Some(world.size() - 1));
    assert_eq!(cart.rank_of(&[isize::MIN, 0])?, Some(0));
    assert_eq!(cart.rank_of(&[isize::MAX, 0])?, Some(0));
    for outside in [-1, n, isize::MIN, isize::MAX] {
        assert_eq!(cart.rank_of(&[0, outside])?, None);
    }
    let me = Some(cart.rank());
    assert_eq!(cart.shift_ranks(0, isize::MIN)?, ShiftRanks { to: me, from: me });
    assert_eq!(cart.shift_ranks(1, isize::MIN)?, ShiftRanks { to: None, from: None });
    assert_eq!(cart.rank_at_offset(&[5, 0])?, Some(cart.rank()));
    assert_eq!(cart.rank_at_offset(&[0, n])?, None);
    cart.free()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn wrong_questions_to_a_grid_are_errors(world: Comm) -> phalanx::Result<()> {
    let cart = world.cart(&[0, 1], &[false, true])?.expect("every rank fits");
    let error = cart.rank_of(&[0]).unwrap_err();
    assert!(error.is_invalid_length(), "{error}");
    assert!(error.detail().contains("1 coordinates were given for 2 dimensions"), "{error}");
    assert!(cart.rank_at_offset(&[0, 0, 0]).unwrap_err().is_invalid_length());
    assert!(cart.coords_of(world.size()).unwrap_err().is_invalid_rank());
    let error = cart.shift_ranks(2, 1).unwrap_err();
    assert!(error.is_invalid_length() && error.location().file().ends_with("topologies.rs"));
    assert!(cart.sub(&[true]).unwrap_err().is_invalid_length());
    cart.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn a_grid_that_cannot_be_is_an_error_on_every_rank(world: Comm) -> phalanx::Result<()> {
    let n = world.size();
    let too_large = world.cart(&[n, 2], &[false, false]).unwrap_err();
    assert!(too_large.is_invalid_length(), "{too_large}");
    let needed = format!("a grid of {n} × 2 needs {} ranks, the communicator has {n}", 2 * n);
    assert!(too_large.detail().starts_with(&needed), "{too_large}");
    let wrong = [
        world.cart(&[], &[]),
        world.cart(&[n], &[]),
        world.cart(&[n + 1, 0], &[false, false]),
        world.cart(&[usize::MAX, usize::MAX], &[false, false]),
        world.cart(&[usize::MAX, 0], &[false, true]),
    ];
    for cart in wrong {
        let error = cart.unwrap_err();
        assert!(error.is_invalid_length(), "{error}");
        assert_eq!(error.mpi_class(), None, "MPI was called: {error}");
    }
    assert_eq!(world.allreduce(&1, Sum)?, n);
    Ok(())
}

#[phalanx::test(ranks = [2, 3, 4])]
fn ranks_that_ask_for_other_grids_all_hear_of_it(world: Comm) -> phalanx::Result<()> {
    let n = world.size();
    let differs = world.rank() == n - 1;
    let dims = if differs { [1, n] } else { [n, 1] };
    assert!(world.cart(&dims, &[false, false]).unwrap_err().is_mismatch());
    assert!(world.cart(&[n], &[differs]).unwrap_err().is_mismatch());
    let more: &[usize] = if differs { &[n, 1] } else { &[n] };
    assert!(world.cart(more, &vec![true; more.len()]).unwrap_err().is_mismatch());
    let line = world.cart(&[n], &[true])?.expect("every rank fits");
    assert!(line.sub(&[differs]).unwrap_err().is_mismatch());
    line.free()
}

#[phalanx::test(ranks = [1])]
fn dims_create_shares_ranks_evenly_and_keeps_what_is_fixed(_world: Comm) -> phalanx::Result<()> {
    assert_eq!(dims_create(6, &[0, 0])?, [3, 2]);
    assert_eq!(dims_create(7, &[0, 0])?, [7, 1]);
    assert_eq!(dims_create(8, &[0, 0, 0])?, [2, 2, 2]);
    assert_eq!(dims_create(6, &[0, 3, 0])?, [2, 3, 1]);
    assert_eq!(dims_create(6, &[6])?, [6]);
    for (ranks, dims) in [
        (0, &[0][..]),
        (6, &[]),
        (6, &[4, 0]),
        (6, &[5]),
        (6, &[2]),
        (usize::MAX, &[usize::MAX, 7]),
    ] {
        let error = dims_create(ranks, dims).unwrap_err();
        assert!(error.is_invalid_length(), "{ranks} {dims:?}: {error}");
        assert_eq!(error.operation(), "dims_create");
    }
    Ok(())
}

fn nodes(side: &[Neighbor]) -> Vec<(usize, u32)> {
    side.iter().map(|it| (it.rank, it.weight)).collect()
}

#[phalanx::test(ranks = [1, 2, 3, 4, 6])]
fn a_graph_says_the_edges_that_were_given(world: Comm) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());
    let everybody: Vec<usize> = (0..n).rev().collect();
    let complete = world.graph(&everybody, &everybody)?;
    let expected: Vec<(usize, u32)> = everybody.iter().map(|&rank| (rank, 1)).collect();
    assert_eq!(nodes(complete.sources()), expected);
    assert_eq!(nodes(complete.destinations()), expected);
    let twin: Graph = complete.dup()?;
    assert_eq!(nodes(twin.sources()), expected);
    twin.free()?;
    complete.free()?;

    let (left, right) = ((me + n - 1) % n, (me + 1) % n);
    let ring = world.graph_weighted(&[(left, left as u32)], &[(right, me as u32)], false)?;
    assert_eq!(nodes(ring.sources()), [(left, left as u32)]);
    assert_eq!(nodes(ring.destinations()), [(right, me as u32)]);
    ring.free()?;

    let alone = world.graph(&[], &[])?;
    assert_eq!((alone.indegree(), alone.outdegree()), (0, 0));
    assert_eq!(alone.allreduce(&1, Sum)?, n);
    assert!(alone.neighbor_allgather(&1)?.flat().is_empty());
    alone.free()?;
    // An edge without weight in a graph of weights.
    let none = world.graph_weighted(&[], &[], false)?;
    assert!(none.sources().is_empty());
    none.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4, 6])]
fn a_graph_may_be_given_by_ranks_that_it_does_not_touch(world: Comm) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());
    // Every rank gives the edges out of the next but one.
    let node = (me + 2) % n;
    let edges: Vec<_> = (0..node).map(|to| (node, to, (10 * node + to) as u32)).collect();
    for reorder in [false, true] {
        let graph = world.graph_from_edges(&edges, reorder)?;
        let me = graph.rank();
        let mut sources = nodes(graph.sources());
        sources.sort_unstable();
        let expected: Vec<_> = (me + 1..n).map(|from| (from, (10 * from + me) as u32)).collect();
        assert_eq!(sources, expected);
        let mut destinations = nodes(graph.destinations());
        destinations.sort_unstable();
        let expected: Vec<_> = (0..me).map(|to| (to, (10 * me + to) as u32)).collect();
        assert_eq!(destinations, expected);
        graph.free()?;
    }
    let empty = world.graph_from_edges(&[], false)?;
    assert!(empty.sources().is_empty() && empty.destinations().is_empty());
    empty.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn edges_that_cannot_be_are_an_error_on_every_rank(world: Comm) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());
    let blamed = n - 1;
    let expect = |error: phalanx::Error| {
        let own = me == blamed;
        assert!(if own { error.is_invalid_rank() } else { error.is_mismatch() }, "{error}");
        assert_eq!(error.mpi_class(), None, "MPI was called: {error}");
        assert!(own || error.detail().contains(&format!("rank {blamed}")), "{error}");
    };
    let wrong: &[usize] = if me == blamed { &[n] } else { &[] };
    expect(world.graph(wrong, &[]).unwrap_err());
    expect(world.graph(&[], wrong).unwrap_err());
    let wrong: &[(usize, usize, u32)] = if me == blamed { &[(0, n, 1)] } else { &[] };
    expect(world.graph_from_edges(wrong, false).unwrap_err());
    let heavy: &[(usize, usize, u32)] = if me == blamed { &[(0, 0, u32::MAX)] } else { &[] };
    let error = world.graph_from_edges(heavy, false).unwrap_err();
    assert!(if me == blamed { error.is_unsupported() } else { error.is_mismatch() }, "{error}");
    assert_eq!(world.allreduce(&1, Sum)?, n);
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn an_edge_that_only_one_side_knows_is_an_error_on_every_rank(world: Comm) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());
    // Everybody sends to rank 0, which knows of one edge less.
    let sources: Vec<usize> = if me == 0 { (0..n - 1).collect() } else { Vec::new() };
    let error = world.graph(&sources, &[0]).unwrap_err();
    assert!(error.is_mismatch(), "{error}");
    if me == 0 {
        let text = format!(
            "rank {} names this rank once as a destination, this rank names it 0 times as a source",
            n - 1
        );
        assert_eq!(error.detail(), text);
    }
    // Twice here, once there.
    let (left, right) = ((me + n - 1) % n, (me + 1) % n);
    let error = world.graph(&[left], &[right, right]).unwrap_err();
    assert!(error.is_mismatch(), "{error}");
    if n > 1 {
        let error = world.graph_weighted(&[], &[], me == 0).unwrap_err();
        assert!(error.is_mismatch(), "{error}");
    }
    assert_eq!(world.allreduce(&1, Sum)?, n);
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 4])]
fn a_topology_in_use_is_not_freed(world: Comm) -> phalanx::Result<()> {
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    let clone = ring.clone();
    assert!(ring.free().unwrap_err().is_in_use());
    let request = clone.ineighbor_allgather(1)?;
    request.wait()?;
    clone.free()?;
    // Made and freed more often than a library has contexts.
    for _ in 0..300 {
        world.cart(&[0, 0], &[true, true])?.expect("every rank fits").free()?;
    }
    Ok(())
}

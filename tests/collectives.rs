//! Every collective that moves elements, in every form, against a model that each rank computes for
//! itself; and what wrong use of them does.

use std::fmt::Debug;

use phalanx::prelude::*;
use phalanx::{AnyPayload, AnyPayloadMut, PerRank, RequestSet, Result, Strided, StridedMut};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Particle {
    position: [f64; 2],
    id: u32,
    flags: [u8; 4],
}

/// Elements that can be told apart by a number.
trait Sample: Element + PartialEq + Debug {
    fn sample(number: usize) -> Self;
}

impl Sample for u8 {
    fn sample(number: usize) -> Self {
        (number * 31 % 251) as u8
    }
}

impl Sample for f64 {
    fn sample(number: usize) -> Self {
        number as f64 + 0.25
    }
}

impl Sample for u128 {
    fn sample(number: usize) -> Self {
        (number as u128) << 70 | number as u128
    }
}

impl Sample for [i16; 3] {
    fn sample(number: usize) -> Self {
        [number as i16, (number as i16).wrapping_neg(), 7]
    }
}

impl Sample for Particle {
    fn sample(number: usize) -> Self {
        let flags = [number as u8, 1, 2, 3];
        Particle { position: [number as f64, -1.5], id: number as u32, flags }
    }
}

/// Calls a check for each kind of element.
macro_rules! for_each_kind {
    ($check:ident($($argument:expr),*)) => {{
        $check::<u8>($($argument),*)?;
        $check::<f64>($($argument),*)?;
        $check::<u128>($($argument),*)?;
        $check::<[i16; 3]>($($argument),*)?;
        $check::<Particle>($($argument),*)?;
    }};
}

/// Lengths of blocks: none, one, a few, and more than a library sends in one piece.
const LENGTHS: [usize; 4] = [0, 1, 7, 3000];

/// The block of `rank`, or the one from `rank` to another when that is part of the number.
fn block<T: Sample>(rank: usize, len: usize) -> Vec<T> {
    (0..len).map(|i| T::sample(1000 * rank + i)).collect()
}

/// The blocks of all ranks, each of the length that is asked for.
fn blocks<T: Sample>(ranks: usize, len: impl Fn(usize) -> usize) -> Vec<T> {
    (0..ranks).flat_map(|rank| block(rank, len(rank))).collect()
}

/// The block that goes from one rank to another.
fn parcel<T: Sample>(from: usize, to: usize, len: usize) -> Vec<T> {
    block(10 * from + to + 1, len)
}

fn nothing<T: Sample>(len: usize) -> Vec<T> {
    vec![T::sample(424_242); len]
}

/// Uneven lengths of blocks, by shape: rising, falling, holes, one rank alone, nobody.
const SHAPES: usize = 5;

fn uneven(shape: usize, rank: usize, ranks: usize) -> usize {
    match shape {
        0 => rank,
        1 => 3 * (ranks - rank),
        2 if rank.is_multiple_of(2) => 500,
        3 if rank == ranks - 1 => 4,
        _ => 0,
    }
}

fn uneven_counts(shape: usize, ranks: usize) -> Vec<usize> {
    (0..ranks).map(|rank| uneven(shape, rank, ranks)).collect()
}

/// What a communicator must still be able to do after an error.
#[track_caller]
fn assert_usable(world: &Comm) {
    let sum = world.allreduce(&world.rank(), Sum).unwrap();
    assert_eq!(sum, world.size() * (world.size() - 1) / 2);
}

/// A check that every rank leaves with the same kind of error, and that nothing was sent.
macro_rules! assert_refused {
    ($world:expr, $predicate:ident, $call:expr) => {{
        let error = $call.err().unwrap_or_else(|| panic!("no error: {}", stringify!($call)));
        assert!(error.$predicate(), "{error}");
        assert_eq!(error.mpi_class(), None, "MPI was called: {error}");
        assert_eq!(error.communicator(), Some("world"), "{error}");
        assert_eq!(error.rank(), Some($world.rank()), "{error}");
        assert!(error.location().file().ends_with("collectives.rs"), "{error}");
        assert_usable(&$world);
    }};
}

fn check_bcast<T: Sample>(world: &Comm, len: usize) -> Result<()> {
    for root in 0..world.size() {
        let expected = block::<T>(root, len);
        let start = || if world.rank() == root { expected.clone() } else { nothing(len) };

        let mut buffer = start();
        world.bcast(&mut buffer[..], root)?;
        assert_eq!(buffer, expected, "bcast of {len} from {root}");

        // Nobody else knows the length.
        let data = if world.rank() == root { expected.clone() } else { nothing(root) };
        assert_eq!(world.bcast_vec(data, root)?, expected, "bcast_vec of {len} from {root}");

        let buffer = world.ibcast(start(), root)?.wait()?;
        assert_eq!(buffer, expected, "ibcast of {len} from {root}");

        let mut pair = [T::sample(len + world.rank()), T::sample(world.rank())];
        world.bcast(&mut pair, root)?;
        assert_eq!(pair, [T::sample(len + root), T::sample(root)], "an array from {root}");
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn bcast_gives_every_rank_what_the_root_has(world: Comm) -> Result<()> {
    for len in LENGTHS {
        for_each_kind!(check_bcast(&world, len));
    }
    let mut one = Particle::sample(world.rank());
    world.bcast(&mut one, world.size() - 1)?;
    assert_eq!(one, Particle::sample(world.size() - 1));
    Ok(())
}

fn check_gather<T: Sample>(world: &Comm, len: usize) -> Result<()> {
    let (ranks, me) = (world.size(), world.rank());
    let mine = block::<T>(me, len);
    let expected = blocks::<T>(ranks, |_| len);
    for root in 0..ranks {
        let is_root = me == root;
        let wanted = is_root.then(|| expected.clone());
        assert_eq!(world.gather(&mine, root)?, wanted, "gather of {len} at {root}");
        assert_eq!(world.igather(mine.clone(), root)?.wait()?, wanted);
        assert_eq!(
            world.gather(&[T::sample(me)], root)?,
            is_root.then(|| (0..ranks).map(T::sample).collect())
        );

        let mut all = nothing::<T>(ranks * len);
        world.gather_into(&mine, is_root.then_some(&mut all[..]), root)?;
        assert_eq!(all, wanted.clone().unwrap_or(nothing(ranks * len)), "gather_into at {root}");

        let mut all = nothing::<T>(ranks * len);
        all[root * len..(root + 1) * len].copy_from_slice(&block(root, len));
        let data = if is_root { nothing::<T>(3) } else { mine.clone() };
        world.gather_in_place(&data, is_root.then_some(&mut all[..]), root)?;
        if is_root {
            assert_eq!(all, expected, "gather_in_place at {root}");
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn gather_puts_equal_blocks_in_the_order_of_the_ranks_at_every_root(world: Comm) -> Result<()> {
    for len in LENGTHS {
        for_each_kind!(check_gather(&world, len));
    }
    let all = world.gather(&Particle::sample(world.rank()), 0)?;
    let expected = (0..world.size()).map(Particle::sample).collect();
    assert_eq!(all, (world.rank() == 0).then_some(expected));
    Ok(())
}

fn check_gatherv<T: Sample>(world: &Comm, shape: usize) -> Result<()> {
    let (ranks, me) = (world.size(), world.rank());
    let counts = uneven_counts(shape, ranks);
    let mine = block::<T>(me, counts[me]);
    let expected = blocks::<T>(ranks, |rank| counts[rank]);
    for root in 0..ranks {
        let is_root = me == root;
        let gathered = world.gatherv(&mine, root)?;
        assert_eq!(gathered.is_some(), is_root);
        if let Some(all) = gathered {
            assert_eq!(all.counts(), counts, "gatherv at {root}");
            assert_eq!(all.ranks(), ranks);
            for rank in 0..ranks {
                assert_eq!(all[rank], block::<T>(rank, counts[rank]));
            }
            assert_eq!(all.get(ranks), None);
            assert_eq!(all.into_flat(), expected);
        }

        let mut all = nothing::<T>(expected.len());
        let room = is_root.then_some((&mut all[..], &counts[..]));
        world.gatherv_into(&mine, room, root)?;
        assert_eq!(all, if is_root { expected.clone() } else { nothing(expected.len()) });

        let known = is_root.then(|| counts.clone());
        let gathered = world.igatherv(mine.clone(), known, root)?.wait()?;
        assert_eq!(gathered.map(PerRank::into_flat), is_root.then(|| expected.clone()));
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn gatherv_takes_blocks_of_any_length_with_and_without_counts(world: Comm) -> Result<()> {
    for shape in 0..SHAPES {
        for_each_kind!(check_gatherv(&world, shape));
    }
    Ok(())
}

fn check_scatter<T: Sample>(world: &Comm, len: usize) -> Result<()> {
    let (ranks, me) = (world.size(), world.rank());
    let whole = blocks::<T>(ranks, |_| len);
    let mine = block::<T>(me, len);
    for root in 0..ranks {
        let given = (me == root).then_some(&whole);
        assert_eq!(world.scatter(given, root)?, mine, "scatter of {len} from {root}");

        let mut part = nothing::<T>(len);
        world.scatter_into(given.map(|whole| &whole[..]), &mut part, root)?;
        assert_eq!(part, mine, "scatter_into of {len} from {root}");

        let part = world.iscatter(given.cloned(), len, root)?.wait()?;
        assert_eq!(part, mine, "iscatter of {len} from {root}");
    }
    // What other ranks than the root give is not looked at.
    let junk = nothing::<T>(if me == 0 { ranks * len } else { ranks * len + 1 });
    let given = if me == 0 { &whole } else { &junk };
    assert_eq!(world.scatter(Some(given), 0)?, mine);
    Ok(())
}

fn check_scatterv<T: Sample>(world: &Comm, shape: usize) -> Result<()> {
    let (ranks, me) = (world.size(), world.rank());
    let counts = uneven_counts(shape, ranks);
    let flat = blocks::<T>(ranks, |rank| counts[rank]);
    let nested: Vec<Vec<T>> = (0..ranks).map(|rank| block(rank, counts[rank])).collect();
    let per_rank = PerRank::from(nested.clone());
    let mine = block::<T>(me, counts[me]);
    for root in 0..ranks {
        let is_root = me == root;
        assert_eq!(world.scatterv(is_root.then_some(&nested), root)?, mine, "scatterv");
        assert_eq!(world.scatterv(is_root.then_some(&per_rank), root)?, mine);
        let pair = (&flat[..], &counts[..]);
        assert_eq!(world.scatterv(is_root.then_some(&pair), root)?, mine);

        let mut part = nothing::<T>(counts[me]);
        world.scatterv_into(is_root.then_some(pair), &mut part, root)?;
        assert_eq!(part, mine, "scatterv_into");

        let given = is_root.then(|| per_rank.clone());
        assert_eq!(world.iscatterv(given, counts[me], root)?.wait()?, mine, "iscatterv");
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn scatter_gives_every_rank_its_block_from_every_root(world: Comm) -> Result<()> {
    for len in LENGTHS {
        for_each_kind!(check_scatter(&world, len));
    }
    for shape in 0..SHAPES {
        for_each_kind!(check_scatterv(&world, shape));
    }
    Ok(())
}

fn check_allgather<T: Sample>(world: &Comm, len: usize) -> Result<()> {
    let (ranks, me) = (world.size(), world.rank());
    let mine = block::<T>(me, len);
    let expected = blocks::<T>(ranks, |_| len);
    assert_eq!(world.allgather(&mine)?, expected, "allgather of {len}");
    assert_eq!(world.allgather(&[T::sample(me)])?, (0..ranks).map(T::sample).collect::<Vec<_>>());
    assert_eq!(world.iallgather(mine.clone())?.wait()?, expected, "iallgather of {len}");

    let mut all = nothing::<T>(ranks * len);
    world.allgather_into(&mine, &mut all)?;
    assert_eq!(all, expected, "allgather_into of {len}");

    let mut all = nothing::<T>(ranks * len);
    all[me * len..(me + 1) * len].copy_from_slice(&mine);
    world.allgather_in_place(&mut all)?;
    assert_eq!(all, expected, "allgather_in_place of {len}");
    Ok(())
}

fn check_allgatherv<T: Sample>(world: &Comm, shape: usize) -> Result<()> {
    let (ranks, me) = (world.size(), world.rank());
    let counts = uneven_counts(shape, ranks);
    let mine = block::<T>(me, counts[me]);
    let expected = blocks::<T>(ranks, |rank| counts[rank]);

    let all = world.allgatherv(&mine)?;
    assert_eq!((all.counts(), all.flat()), (&counts[..], &expected[..]), "allgatherv");
    let vecs = all.into_vecs();
    assert_eq!(vecs.len(), ranks);
    assert!((0..ranks).all(|rank| vecs[rank] == block::<T>(rank, counts[rank])));

    let mut all = nothing::<T>(expected.len());
    world.allgatherv_into(&mine, &mut all, &counts)?;
    assert_eq!(all, expected, "allgatherv_into");

    let all = world.iallgatherv(mine, counts.clone())?.wait()?;
    assert_eq!((all.counts(), all.flat()), (&counts[..], &expected[..]), "iallgatherv");
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn allgather_gives_everybody_the_blocks_of_all(world: Comm) -> Result<()> {
    for len in LENGTHS {
        for_each_kind!(check_allgather(&world, len));
    }
    assert_eq!(world.allgather(&world.rank())?, (0..world.size()).collect::<Vec<_>>());
    for shape in 0..SHAPES {
        for_each_kind!(check_allgatherv(&world, shape));
    }
    Ok(())
}

fn check_alltoall<T: Sample>(world: &Comm, len: usize) -> Result<()> {
    let (ranks, me) = (world.size(), world.rank());
    let outgoing: Vec<T> = (0..ranks).flat_map(|to| parcel(me, to, len)).collect();
    let expected: Vec<T> = (0..ranks).flat_map(|from| parcel(from, me, len)).collect();
    assert_eq!(world.alltoall(&outgoing)?, expected, "alltoall of {len}");
    assert_eq!(world.ialltoall(outgoing.clone())?.wait()?, expected, "ialltoall of {len}");

    let mut received = nothing::<T>(ranks * len);
    world.alltoall_into(&outgoing, &mut received)?;
    assert_eq!(received, expected, "alltoall_into of {len}");

    let mut data = outgoing;
    world.alltoall_in_place(&mut data)?;
    assert_eq!(data, expected, "alltoall_in_place of {len}");
    Ok(())
}

fn check_alltoallv<T: Sample>(world: &Comm, len: impl Fn(usize, usize) -> usize) -> Result<()> {
    let (ranks, me) = (world.size(), world.rank());
    let nested: Vec<Vec<T>> = (0..ranks).map(|to| parcel(me, to, len(me, to))).collect();
    let outgoing: Vec<usize> = nested.iter().map(Vec::len).collect();
    let incoming: Vec<usize> = (0..ranks).map(|from| len(from, me)).collect();
    let expected: Vec<T> = (0..ranks).flat_map(|from| parcel(from, me, incoming[from])).collect();
    let flat = nested.concat();

    let inbox = world.alltoallv(&nested)?;
    assert_eq!((inbox.counts(), inbox.flat()), (&incoming[..], &expected[..]), "alltoallv");
    assert_eq!(inbox.iter().len(), ranks);
    assert_eq!(world.alltoallv(&PerRank::from(nested.clone()))?.into_flat(), expected);
    assert_eq!(world.alltoallv(&(&flat[..], &outgoing[..]))?.into_flat(), expected);

    let mut received = nothing::<T>(expected.len());
    world.alltoallv_into(&flat, &outgoing, &mut received, &incoming)?;
    assert_eq!(received, expected, "alltoallv_into");

    let inbox = world.ialltoallv(PerRank::from(nested), incoming.clone())?.wait()?;
    assert_eq!((inbox.counts(), inbox.flat()), (&incoming[..], &expected[..]), "ialltoallv");
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn alltoall_takes_a_block_from_every_rank_to_every_rank(world: Comm) -> Result<()> {
    for len in LENGTHS {
        for_each_kind!(check_alltoall(&world, len));
    }
    let ranks = world.size();
    for_each_kind!(check_alltoallv(&world, |from, to| from * 3 + to));
    for_each_kind!(check_alltoallv(&world, |from, to| if from == to { 600 } else { 0 }));
    for_each_kind!(check_alltoallv(&world, |from, to| 700 * usize::from((from + 1) % ranks == to)));
    for_each_kind!(check_alltoallv(&world, |_, _| 0));
    // Only rank 1 has something: a rank without elements is not to do another operation.
    for_each_kind!(check_alltoallv(&world, |from, to| if from == 1 && to < 2 {
        to + 1
    } else {
        0
    }));
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn alltoallw_transposes_a_matrix_through_strided_views(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let number = |row: usize, column: usize, rank: usize| 100 * rank + 10 * row + column;
    let matrix: Vec<usize> = (0..n * n).map(|i| number(i / n, i % n, me)).collect();

    // Column `to` goes to that rank, which has a row for it.
    let columns = (0..n).map(|to| Strided::column(&matrix, n, to)).collect::<Result<Vec<_>>>()?;
    let mut rows = vec![vec![0; n]; n];
    let sends: Vec<&dyn AnyPayload> = columns.iter().map(|it| it as &dyn AnyPayload).collect();
    let mut receives: Vec<&mut dyn AnyPayloadMut> =
        rows.iter_mut().map(|it| it as &mut dyn AnyPayloadMut).collect();
    world.alltoallw(&sends, &mut receives)?;
    for (from, row) in rows.iter().enumerate() {
        let expected: Vec<usize> = (0..n).map(|i| number(i, me, from)).collect();
        assert_eq!(*row, expected, "from {from}");
    }

    // And back: rows go out whole, and arrive as columns of one matrix.
    let mut square = vec![0; n * n];
    let mut cells: Vec<usize> = vec![0; n * n];
    {
        // One view at a time may borrow the matrix, so each rank fills a matrix of its own.
        let mut squares = vec![square.clone(); n];
        let mut views = squares
            .iter_mut()
            .enumerate()
            .map(|(from, matrix)| StridedMut::column(matrix, n, from))
            .collect::<Result<Vec<_>>>()?;
        let sends: Vec<&dyn AnyPayload> = rows.iter().map(|it| it as &dyn AnyPayload).collect();
        let mut receives: Vec<&mut dyn AnyPayloadMut> =
            views.iter_mut().map(|it| it as &mut dyn AnyPayloadMut).collect();
        world.alltoallw(&sends, &mut receives)?;
        drop(views);
        for filled in &squares {
            square.iter_mut().zip(filled).for_each(|(sum, it)| *sum += it);
        }
        cells.copy_from_slice(&square);
    }
    // Rank `from` held column `from` of this rank's matrix.
    assert_eq!(cells, matrix);
    Ok(())
}

#[phalanx::test(ranks = [1, 3, 4])]
fn alltoallw_moves_blocks_of_different_types_and_empty_ones(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    // To even ranks go particles, to odd ones bytes, to itself nothing.
    let particles: Vec<Vec<Particle>> = (0..n).map(|to| parcel(me, to, 2 + to)).collect();
    let bytes: Vec<Vec<u8>> = (0..n).map(|to| parcel(me, to, 5 * me)).collect();
    let none: [f64; 0] = [];
    let sends: Vec<&dyn AnyPayload> = (0..n)
        .map(|to| match to {
            _ if to == me => &none as &dyn AnyPayload,
            _ if to % 2 == 0 => &particles[to],
            _ => &bytes[to],
        })
        .collect();
    if me % 2 == 0 {
        let mut inbox: Vec<Vec<Particle>> =
            (0..n).map(|from| nothing(if from == me { 0 } else { 2 + me })).collect();
        let mut receives: Vec<&mut dyn AnyPayloadMut> =
            inbox.iter_mut().map(|it| it as &mut dyn AnyPayloadMut).collect();
        world.alltoallw(&sends, &mut receives)?;
        for from in (0..n).filter(|&from| from != me) {
            assert_eq!(inbox[from], parcel::<Particle>(from, me, 2 + me));
        }
    } else {
        let mut inbox: Vec<Vec<u8>> =
            (0..n).map(|from| nothing(if from == me { 0 } else { 5 * from })).collect();
        let mut receives: Vec<&mut dyn AnyPayloadMut> =
            inbox.iter_mut().map(|it| it as &mut dyn AnyPayloadMut).collect();
        world.alltoallw(&sends, &mut receives)?;
        for from in (0..n).filter(|&from| from != me) {
            assert_eq!(inbox[from], parcel::<u8>(from, me, 5 * from));
        }
    }

    let outgoing: Vec<Vec<f64>> = (0..n).map(|to| parcel(me, to, me + to)).collect();
    let room: Vec<Vec<f64>> = (0..n).map(|from| nothing(from + me)).collect();
    let received = world.ialltoallw(outgoing, room)?.wait()?;
    for (from, block) in received.iter().enumerate() {
        assert_eq!(*block, parcel::<f64>(from, me, from + me));
    }

    assert_refused!(world, is_invalid_length, world.alltoallw(&[], &mut []));
    assert_refused!(world, is_invalid_length, world.ialltoallw(vec![1; n + 1], vec![1; n + 1]));
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 4, 7])]
fn nobody_leaves_a_barrier_before_all_have_come(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    for late in 0..n {
        if me == late {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let come = now();
        if late % 2 == 0 {
            world.barrier()?;
        } else {
            world.ibarrier()?.wait()?;
        }
        let left = now();
        let last = world.allreduce(&come, Max)?;
        assert!(left >= last, "rank {me} left {} ns early, rank {late} was late", last - left);
    }
    let mut barrier = world.ibarrier()?;
    while barrier.test()?.is_none() {
        std::thread::yield_now();
    }
    let barriers: RequestSet<()> = (0..3).map(|_| world.ibarrier()).collect::<Result<_>>()?;
    assert_eq!(barriers.wait_all()?.len(), 3);
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 7])]
fn nonblocking_collectives_overlap_and_complete_in_any_order(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let (last, big) = (n - 1, 20_000);
    let bcast = world.ibcast(if me == last { block::<f64>(1, big) } else { nothing(big) }, last)?;
    let gather = world.igather(block::<u8>(me, 9), 0)?;
    let sum = world.iallreduce(me, Sum)?;
    let scatter = world.iscatter((me == 0).then(|| blocks::<u128>(n, |_| 4)), 4, 0)?;
    let barrier = world.ibarrier()?;
    let alltoall =
        world.ialltoall((0..n).flat_map(|to| parcel::<f64>(me, to, 5)).collect::<Vec<_>>())?;
    let all = world.iallgatherv(block::<Particle>(me, me), (0..n).collect())?;

    // In another order than they were started, and in a different one on odd ranks.
    let expected: Vec<f64> = (0..n).flat_map(|from| parcel(from, me, 5)).collect();
    if me % 2 == 0 {
        assert_eq!(alltoall.wait()?, expected);
        assert_eq!(all.wait()?.into_flat(), blocks::<Particle>(n, |rank| rank));
        barrier.wait()?;
        assert_eq!(sum.wait()?, n * (n - 1) / 2);
        assert_eq!(bcast.wait()?, block::<f64>(1, big));
    } else {
        assert_eq!(bcast.wait()?, block::<f64>(1, big));
        barrier.wait()?;
        assert_eq!(all.wait()?.into_flat(), blocks::<Particle>(n, |rank| rank));
        assert_eq!(sum.wait()?, n * (n - 1) / 2);
        assert_eq!(alltoall.wait()?, expected);
    }
    // A blocking one on the same communicator in between.
    assert_usable(&world);
    assert_eq!(scatter.wait()?, block::<u128>(me, 4));
    assert_eq!(gather.wait()?, (me == 0).then(|| blocks::<u8>(n, |_| 9)));

    // Several of a kind in a set, with every rank as a root once.
    let mut set = RequestSet::new();
    for root in 0..n {
        let data = if me == root { block::<u8>(root, 100) } else { nothing(100) };
        assert_eq!(set.push(world.ibcast(data, root)?), root);
    }
    let mut seen = vec![false; n];
    while let Some((root, data)) = set.wait_any()? {
        assert_eq!(data, block::<u8>(root, 100));
        assert!(!std::mem::replace(&mut seen[root], true));
    }
    assert!(seen.iter().all(|&seen| seen));

    let set: RequestSet<Vec<f64>> =
        (0..5).map(|len| world.iallgather(block::<f64>(me, len))).collect::<Result<_>>()?;
    for (len, all) in set.wait_all()?.into_iter().enumerate() {
        assert_eq!(all, blocks::<f64>(n, |_| len));
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 4])]
fn a_root_that_does_not_exist_is_an_error_before_the_call(world: Comm) {
    let n = world.size();
    for root in [n, n + 7, usize::MAX] {
        let one = &1_u8;
        let pair = Some((&[0_u8][..], &[1][..]));
        let nested = vec![vec![0_u8]; n];
        assert_refused!(world, is_invalid_root, world.bcast(&mut [1_u8], root));
        assert_refused!(world, is_invalid_root, world.bcast_vec(vec![1_u8], root));
        assert_refused!(world, is_invalid_root, world.ibcast(vec![1_u8], root));
        assert_refused!(world, is_invalid_root, world.gather(one, root));
        assert_refused!(world, is_invalid_root, world.gather_into(one, None, root));
        assert_refused!(world, is_invalid_root, world.gather_in_place(one, None, root));
        assert_refused!(world, is_invalid_root, world.igather(1_u8, root));
        assert_refused!(world, is_invalid_root, world.gatherv(one, root));
        assert_refused!(world, is_invalid_root, world.gatherv_into(one, None, root));
        assert_refused!(world, is_invalid_root, world.igatherv(1_u8, None, root));
        assert_refused!(world, is_invalid_root, world.scatter(Some(one), root));
        assert_refused!(world, is_invalid_root, world.scatter_into(Some(&[1]), &mut [1_u8], root));
        assert_refused!(world, is_invalid_root, world.iscatter(Some(vec![1_u8]), 1, root));
        assert_refused!(world, is_invalid_root, world.scatterv(Some(&nested), root));
        assert_refused!(world, is_invalid_root, world.scatterv_into(pair, &mut [1], root));
        assert_refused!(
            world,
            is_invalid_root,
            world.iscatterv(Some(PerRank::from(nested.clone())), 1, root)
        );
        assert_refused!(world, is_invalid_root, world.reduce(one, Sum, root));
        assert_refused!(world, is_invalid_root, world.reduce_into(&[1], None, Sum, root));
        assert_refused!(world, is_invalid_root, world.reduce_in_place(&mut [1], Sum, root));
        assert_refused!(world, is_invalid_root, world.ireduce(1_u8, Sum, root));
    }
    let error = world.bcast(&mut [1_u8], n).unwrap_err();
    assert_eq!((error.operation(), error.peer()), ("bcast", Some(n)));
    assert_eq!(error.mpi_function(), "MPI_Bcast");
    let text = error.to_string();
    assert!(text.contains("bcast") && text.contains(&format!("root {n}")), "{text}");
    assert!(text.contains("`world`") && text.contains("collectives.rs"), "{text}");
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn a_buffer_of_the_wrong_length_is_an_error(world: Comm) {
    let n = world.size();
    let (two, wrong) = (&[1_i32, 2][..], &mut vec![0_i32; 2 * n + 1][..]);
    let (short, long) = (&mut vec![0_i32; 2 * n - 1][..], &mut vec![0_i32; 3 * n][..]);
    assert_refused!(world, is_invalid_length, world.allgather_into(two, wrong));
    assert_refused!(world, is_invalid_length, world.allgather_into(two, short));
    assert_refused!(world, is_invalid_length, world.allgather_into(two, long));
    assert_refused!(world, is_invalid_length, world.alltoall_into(&vec![1; 2 * n], short));
    assert_refused!(world, is_invalid_length, world.alltoall_into(&vec![1; 2 * n], long));
    assert_refused!(world, is_invalid_length, world.allreduce_into(two, &mut [0], Sum));
    assert_refused!(world, is_invalid_length, world.allreduce_into(two, &mut [0; 3], Sum));
    assert_refused!(
        world,
        is_invalid_length,
        world.reduce_scatter_block_into(&vec![1; 2 * n], &mut [0], Sum)
    );

    // What only the root checks, on a rank alone: the root takes part in spite of most mistakes.
    {
        let (world, n) = (world.self_comm().expect("MPI runs"), 1);
        let (mut wrong, mut short, mut long) = ([0_i32; 3], [0_i32; 1], [0_i32; 4]);
        let (wrong, short, long) = (&mut wrong[..], &mut short[..], &mut long[..]);
        for buffer in [&mut *wrong, &mut *short, &mut *long] {
            let error = world.gather_into(two, Some(buffer), 0).unwrap_err();
            assert!(error.is_invalid_length() && error.mpi_class().is_none(), "{error}");
        }
        let errors = [
            world.gather_into(two, None, 0),
            world.gather_in_place(two, None, 0),
            world.gatherv_into(two, None, 0),
            world.gatherv_into(two, Some((&mut *short, &vec![2; n])), 0),
            world.gatherv_into(two, Some((&mut vec![0; 2 * n], &vec![2; n + 1])), 0),
            world.gatherv_into(two, Some((&mut vec![0; n], &vec![1; n])), 0),
            world.scatter_into(None, &mut [0; 2], 0),
            world.scatter_into(Some(&*wrong), &mut [0; 2], 0),
            world.scatter_into(Some(&*long), &mut [0; 2], 0),
            world.scatterv_into(None, &mut [0; 2], 0),
            world.scatterv_into(Some((&*short, &vec![2; n])), &mut [0; 2], 0),
            world.scatterv_into(Some((&vec![0; 2 * n], &vec![2; n])), &mut [0; 3], 0),
            world.reduce_into(two, None, Sum, 0),
            world.reduce_into(two, Some(&mut [0]), Sum, 0),
            world.iscatter(None::<Vec<i32>>, 2, 0).map(|_| ()),
            world.iscatterv(None::<PerRank<i32>>, 2, 0).map(|_| ()),
            world.iscatter(Some(vec![0; 2 * n + 1]), 2, 0).map(|_| ()),
            world.igatherv(vec![1, 2], None, 0).map(|_| ()),
            world.igatherv(vec![1, 2], Some(vec![1; n]), 0).map(|_| ()),
            world.igatherv(vec![1, 2], Some(vec![2; n + 1]), 0).map(|_| ()),
        ];
        for (which, result) in errors.into_iter().enumerate() {
            let error = result.expect_err(&format!("call {which} went through"));
            assert!(error.is_invalid_length() && error.mpi_class().is_none(), "{which}: {error}");
        }
    }
    assert_usable(&world);
}

#[phalanx::test(ranks = [2, 3, 4])]
fn what_the_ranks_cannot_share_evenly_is_an_error_on_every_rank(world: Comm) {
    let (n, me) = (world.size(), world.rank());
    let odd = vec![1_i32; n + 1];
    assert_refused!(world, is_invalid_length, world.alltoall(&odd));
    assert_refused!(world, is_invalid_length, world.alltoall_into(&odd, &mut vec![0; n + 1]));
    assert_refused!(world, is_invalid_length, world.alltoall_in_place(&mut odd.clone()));
    assert_refused!(world, is_invalid_length, world.ialltoall(odd.clone()));
    assert_refused!(world, is_invalid_length, world.allgather_in_place(&mut odd.clone()));
    assert_refused!(world, is_invalid_length, world.reduce_scatter_block(&odd, Sum));
    assert_refused!(world, is_invalid_length, world.ireduce_scatter_block(odd.clone(), Sum));
    // Only the root knows here; it tells the others.
    for root in 0..n {
        assert_refused!(
            world,
            is_invalid_length,
            world.scatter((me == root).then_some(&odd), root)
        );
        assert_refused!(world, is_invalid_length, world.scatter(None::<&Vec<i32>>, root));
    }
    // An array is an element: three of them are not nine numbers that could be shared.
    let arrays = vec![[0_u8; 6]; n + 1];
    assert_refused!(world, is_invalid_length, world.scatter((me == 0).then_some(&arrays), 0));
    assert_refused!(world, is_invalid_length, world.alltoall(&arrays));
}

#[phalanx::test(ranks = [1, 2, 4])]
fn blocks_and_counts_that_do_not_fit_are_an_error_on_every_rank(world: Comm) {
    let (n, me) = (world.size(), world.rank());
    let flat = vec![1_u16; 2 * n];
    let (good, more) = (vec![2; n], vec![3; n]);
    let (few, many) = (vec![2; n - 1], vec![2; n + 1]);
    let huge = vec![usize::MAX; n];
    let mut room = vec![0_u16; 2 * n];
    for counts in [&more, &few, &many, &huge] {
        let pair = (&flat[..], &counts[..]);
        assert_refused!(world, is_invalid_length, world.alltoallv(&pair));
        assert_refused!(
            world,
            is_invalid_length,
            world.alltoallv_into(&flat, counts, &mut room, &good)
        );
        assert_refused!(
            world,
            is_invalid_length,
            world.alltoallv_into(&flat, &good, &mut room, counts)
        );
        assert_refused!(
            world,
            is_invalid_length,
            world.allgatherv_into(&[1_u16, 2][..], &mut room, counts)
        );
        assert_refused!(world, is_invalid_length, world.reduce_scatter(&flat, counts, Sum));
        assert_refused!(
            world,
            is_invalid_length,
            world.reduce_scatter_into(&flat, &mut [0, 0], counts, Sum)
        );
        assert_refused!(world, is_invalid_length, world.ireduce_scatter(flat.clone(), counts, Sum));
        for root in 0..n {
            let given = (me == root).then_some(&pair);
            assert_refused!(world, is_invalid_length, world.scatterv(given, root));
        }
    }
    assert_refused!(world, is_invalid_length, world.alltoallv(&vec![vec![1_u16]; n + 1]));
    assert_refused!(world, is_invalid_length, world.scatterv(None::<&PerRank<u8>>, 0));
    assert_refused!(
        world,
        is_invalid_length,
        world.scatterv(Some(&vec![vec![1_u8]; n + 1]), n - 1)
    );
    assert_refused!(world, is_invalid_length, world.iallgatherv(vec![1_u8; 2], few.clone()));
    assert_refused!(world, is_invalid_length, world.iallgatherv(vec![1_u8; 3], good.clone()));
    assert_refused!(
        world,
        is_invalid_length,
        world.ialltoallv(PerRank::from(vec![vec![1_u8]; n + 1]), good.clone())
    );
    assert_refused!(
        world,
        is_invalid_length,
        world.ialltoallv(PerRank::from(vec![vec![1_u8]; n]), many.clone())
    );
    // What a rank has for itself is what it expects from itself.
    let ones = vec![1_u8; n];
    assert_refused!(
        world,
        is_invalid_length,
        world.alltoallv_into(&ones, &vec![1; n], &mut vec![0; 2 * n], &good)
    );
    // The own block has another length than the counts say.
    assert_refused!(
        world,
        is_invalid_length,
        world.allgatherv_into(&[1_u16][..], &mut room, &good)
    );
}

#[phalanx::test(ranks = [2, 3, 4])]
fn a_bcast_into_a_short_buffer_is_an_error_there_and_the_next_one_works(world: Comm) {
    let last = world.size() - 1;
    let mut buffer = if world.rank() == last { vec![9_u8; 2] } else { vec![9; 5] };
    if world.rank() == 0 {
        buffer.fill(7);
    }
    let result = world.bcast(&mut buffer, 0);
    if world.rank() == last {
        let error = result.unwrap_err();
        assert!(error.is_truncated() || error.is_library(), "{error}");
        assert!(error.mpi_class().is_some() && error.mpi_text().is_some(), "{error}");
        assert_eq!(error.operation(), "bcast");
    } else {
        assert_eq!(buffer, [7; 5]);
        result.unwrap();
    }
    world.barrier().unwrap();
    assert_usable(&world);
    let mut again = [world.rank(); 3];
    world.bcast(&mut again, 0).unwrap();
    assert_eq!(again, [0; 3]);
}

#[phalanx::test(ranks = [1, 3])]
fn per_rank_blocks_are_cut_from_flat_data_only_where_the_counts_add_up(world: Comm) {
    assert!(PerRank::from_flat(vec![1, 2, 3], vec![1, 1]).is_none());
    assert!(PerRank::from_flat(vec![1, 2, 3], vec![usize::MAX, 4]).is_none());
    let blocks = PerRank::from_flat(vec![1, 2, 3], vec![1, 0, 2]).unwrap();
    assert_eq!((&blocks[0], &blocks[1], &blocks[2]), (&[1][..], &[][..], &[2, 3][..]));
    assert_eq!(blocks, PerRank::from(vec![vec![1], vec![], vec![2, 3]]));
    assert_usable(&world);
}

/// Random numbers of elements that are the same on every rank, and in every run.
fn random_counts(cases: u32, cells: usize) -> impl Iterator<Item = Vec<usize>> {
    let count = prop_oneof![3 => Just(0_usize), 5 => 1..20_usize, 1 => 500..2000_usize];
    let strategy = proptest::collection::vec(count, cells);
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    (0..cases).map(move |_| strategy.new_tree(&mut runner).unwrap().current())
}

#[phalanx::test(ranks = [2, 3, 4, 5])]
fn any_counts_arrive_in_every_form_with_a_length_for_each_rank(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    for (case, table) in random_counts(24, n * n).enumerate() {
        check_alltoallv::<[i16; 3]>(&world, |from, to| table[from * n + to])?;

        let (counts, root) = (&table[..n], case % n);
        let mine = block::<f64>(me, counts[me]);
        let flat = blocks::<f64>(n, |rank| counts[rank]);
        let all = world.allgatherv(&mine)?;
        assert_eq!((all.counts(), all.flat()), (counts, &flat[..]), "case {case}: {counts:?}");
        let at_root = world.gatherv(&mine, root)?.map(PerRank::into_flat);
        assert_eq!(at_root, (me == root).then(|| flat.clone()), "case {case}: {counts:?}");
        let part = world.scatterv((me == root).then_some(&(&flat[..], counts)), root)?;
        assert_eq!(part, mine, "case {case}: {counts:?}");

        let ones = vec![1_u32; counts.iter().sum()];
        let sums = world.reduce_scatter(&ones, counts, Sum)?;
        assert_eq!(sums, vec![n as u32; counts[me]], "case {case}: {counts:?}");
    }
    Ok(())
}

//! Elements of no size: any number of them is a message of 0 bytes, and every operation takes them.

use std::fmt::Debug;
use std::marker::PhantomData;

use phalanx::prelude::*;
use phalanx::{AnyPayload, AnyPayloadMut, PerRank, RequestSet, SingleElement, Strided, StridedMut};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Element)]
#[repr(C)]
struct Empty {
    nothing: [u8; 0],
    marker: (),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Element)]
#[repr(C)]
struct Unit;

#[derive(Clone, Copy, Debug, Default, PartialEq, Element)]
#[repr(C)]
struct Marker<T> {
    nothing: [T; 0],
    more: [[T; 0]; 5],
}

fn neighbors(world: &Comm) -> (usize, usize) {
    let (rank, size) = (world.rank(), world.size());
    ((rank + 1) % size, (rank + size - 1) % size)
}

/// Point-to-point operations, among ranks in a ring.
fn messages<T>(world: &Comm) -> phalanx::Result<()>
where
    T: Element + Default + Debug + PartialEq,
{
    let (right, left) = neighbors(world);
    for len in [0, 1, 3] {
        let mine = vec![T::default(); len];

        // Nothing says how long it was: it is empty.
        let sent = world.isend(mine.clone(), right)?;
        assert_eq!(world.recv::<Vec<T>>(left)?, []);
        sent.wait()?;
        let sent = world.isend(mine.clone(), right)?;
        assert_eq!(world.recv::<Box<[T]>>(left)?.len(), 0);
        sent.wait()?;
        let sent = world.isend(mine.clone(), right)?;
        let message = world.probe(left)?;
        assert_eq!((message.bytes()?, message.len::<T>()?), (0, 0));
        assert_eq!(message.recv::<Vec<T>>()?, []);
        sent.wait()?;

        // The receiver knows how long it is.
        let sent = world.isend(mine.clone(), right)?;
        assert_eq!(world.recv::<[T; 3]>(left)?, [T::default(); 3]);
        sent.wait()?;
        let sent = world.isend(mine.clone(), right)?;
        let mut buffer = [T::default(); 2];
        let got = world.recv_into(&mut buffer, left)?;
        assert_eq!((got.source, got.len), (Some(left), 0));
        sent.wait()?;
        let sent = world.isend(mine.clone(), right)?;
        let (buffer, got) = world.irecv_into(vec![T::default(); 7], left)?.wait()?;
        assert_eq!((buffer.len(), got.len), (7, 0));
        sent.wait()?;
        assert_eq!(world.sendrecv(&mine, right, left)?, mine);
        let mut buffer = mine.clone();
        world.sendrecv_replace(&mut buffer, right, left)?;
        assert_eq!(buffer, mine);

        // What cannot deadlock.
        assert_eq!(world.shift(&mine, 1)?, mine);
        let received = world.shift_open(&mine, 1)?;
        assert_eq!(received, (world.rank() > 0).then(|| mine.clone()));
        let peer = Some(world.rank() ^ 1).filter(|&peer| peer < world.size());
        world.swap(&mut buffer, peer)?;
        let (mut room, mut vec) = ([T::default(); 4], vec![T::default()]);
        let got = world.exchange(|x| {
            x.recv(&mut room, from(left).tag(1));
            x.recv_vec(&mut vec, from(left).tag(2));
            x.send(&mine, to(right).tag(1));
            x.send(&mine, to(right).tag(2));
        })?;
        assert_eq!((got.len(), got[0].len, vec.len()), (2, 0, 0));
        let inbox = world.sparse_exchange(vec![(right, mine.clone())])?;
        assert_eq!(inbox.len(), 1);

        // Patterns.
        let plane = vec![T::default(); 4 * len];
        let columns = Strided::new(&plane, len, 1, 4)?;
        let mut target = vec![T::default(); 4 * len];
        let mut rows = StridedMut::new(&mut target, len, 1, 3)?;
        let got = world.sendrecv_into(&columns, right, &mut rows, left)?;
        assert_eq!(got.len, 0);
    }
    let mut sent = RequestSet::new();
    for tag in 0..3 {
        sent.push(world.isend([T::default(); 5], to(right).tag(tag))?);
    }
    for tag in (0..3).rev() {
        assert_eq!(world.recv::<Vec<T>>(from(left).tag(tag))?.len(), 0);
    }
    sent.wait_all()?;
    let (mine, mut room) = ([T::default(); 2], [T::default(); 2]);
    world.scope(|s| {
        s.isend(&mine, to(right).tag(4))?;
        s.irecv_into(&mut room, from(left).tag(4))?.wait().map(drop)
    })
}

/// An element that is no array is a message by itself.
fn single<T>(world: &Comm) -> phalanx::Result<()>
where
    T: SingleElement + Default + Debug + PartialEq,
{
    let (right, left) = neighbors(world);
    let one = T::default();
    let sent = world.isend(one, right)?;
    assert_eq!(world.recv::<T>(left)?, one);
    sent.wait()?;
    let sent = world.isend(one, right)?;
    assert_eq!(world.probe(left)?.recv::<T>()?, one);
    sent.wait()?;
    assert_eq!(world.sendrecv(&one, right, left)?, one);
    assert_eq!(world.shift(&one, -1)?, one);
    assert_eq!(world.allgather(&one)?, vec![one; world.size()]);
    assert_eq!(world.allreduce(&one, op(|a: T, _| a))?, one);
    let mut value = one;
    world.bcast(&mut value, world.size() - 1)?;
    world.barrier()
}

/// Collectives return as many elements as for any other type.
fn collectives<T>(world: &Comm) -> phalanx::Result<()>
where
    T: Element + Default + Debug + PartialEq,
{
    let (rank, size) = (world.rank(), world.size());
    let root = size - 1;
    for len in [0, 1, 3] {
        let mine = vec![T::default(); len];
        let all = vec![T::default(); len * size];
        let on_root = |data: &Vec<T>| (rank == root).then(|| data.clone());
        world.bcast(&mut mine.clone(), root)?;
        assert_eq!(world.bcast_vec(mine.clone(), root)?, mine);
        assert_eq!(world.gather(&mine, root)?, on_root(&all));
        assert_eq!(world.allgather(&mine)?, all);
        assert_eq!(world.scatter(on_root(&all).as_deref(), root)?, mine);
        assert_eq!(world.alltoall(&all)?, all);
        assert_eq!(world.iallgather(mine.clone())?.wait()?, all);
        assert_eq!(world.igather(mine.clone(), root)?.wait()?, on_root(&all));
        assert_eq!(world.iscatter(on_root(&all), len, root)?.wait()?, mine);
        assert_eq!(world.ialltoall(all.clone())?.wait()?, all);
        assert_eq!(world.ibcast(mine.clone(), root)?.wait()?, mine);

        // A different number on each rank.
        let blocks: Vec<Vec<T>> = (0..size).map(|peer| vec![T::default(); len * peer]).collect();
        let counts: Vec<usize> = (0..size).map(|peer| len * peer).collect();
        let gathered = world.gatherv(&blocks[rank], root)?;
        assert_eq!(gathered.map(|it| it.counts().to_vec()), (rank == root).then(|| counts.clone()));
        assert_eq!(world.allgatherv(&blocks[rank])?, PerRank::from(blocks.clone()));
        let share = world.scatterv((rank == root).then_some(&blocks[..]), root)?;
        assert_eq!(share, blocks[rank]);
        let received = world.alltoallv(&blocks)?;
        assert_eq!(received.counts(), vec![len * rank; size]);
        let sends: Vec<&dyn AnyPayload> = blocks.iter().map(|it| it as &dyn AnyPayload).collect();
        let mut room = vec![vec![T::default(); len * rank]; size];
        let mut receives: Vec<&mut dyn AnyPayloadMut> =
            room.iter_mut().map(|it| it as &mut dyn AnyPayloadMut).collect();
        world.alltoallw(&sends, &mut receives)?;

        // Reductions with closures, which see whole elements.
        let first = || op(|a: T, _: T| a);
        assert_eq!(world.allreduce(&mine, first())?, mine);
        assert_eq!(world.reduce(&mine, first().commutative(), root)?, on_root(&mine));
        assert_eq!(world.scan(&mine, first())?, mine);
        world.exscan(&mine, first())?;
        assert_eq!(world.iallreduce(mine.clone(), first())?.wait()?, mine);
        assert_eq!(world.iscan(mine.clone(), first())?.wait()?, mine);
        assert_eq!(world.reduce_scatter_block(&all, first())?, mine);
        let parts: Vec<T> = blocks.concat();
        assert_eq!(world.reduce_scatter(&parts, &counts, first())?, blocks[rank]);
    }
    Ok(())
}

/// Grids, graphs and ghost cells.
fn neighborhoods<T>(world: &Comm) -> phalanx::Result<()>
where
    T: Element + Default + Debug + PartialEq,
{
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    let mine = [T::default(); 2];
    assert_eq!(ring.neighbor_allgather(&mine)?.iter().count(), 2);
    assert_eq!(ring.neighbor_alltoall(&[T::default(); 4])?.iter().count(), 2);
    ring.neighbor_alltoallv(&vec![vec![T::default()], vec![T::default(); 2]])?;
    let halo = ring.halo::<T>(&[3], &[1])?;
    halo.exchange(&mut vec![T::default(); halo.len()])?;
    drop(halo);
    ring.free()
}

fn everywhere<T>(world: &Comm) -> phalanx::Result<()>
where
    T: Element + Default + Debug + PartialEq,
{
    assert_eq!(size_of::<T>(), 0);
    messages::<T>(world)?;
    collectives::<T>(world)?;
    neighborhoods::<T>(world)
}

#[phalanx::test(ranks = [1, 2, 3, 4], timeout = "120s")]
fn every_operation_takes_elements_of_no_size(world: Comm) -> phalanx::Result<()> {
    everywhere::<()>(&world)?;
    everywhere::<[f64; 0]>(&world)?;
    everywhere::<Empty>(&world)?;
    everywhere::<PhantomData<u8>>(&world)
}

#[phalanx::test(ranks = [1, 2, 3], timeout = "120s")]
fn structs_and_nested_arrays_of_no_size_are_alike(world: Comm) -> phalanx::Result<()> {
    messages::<[[Unit; 4]; 0]>(&world)?;
    messages::<[Empty; 3]>(&world)?;
    messages::<Marker<f64>>(&world)?;
    collectives::<[Marker<u16>; 2]>(&world)?;
    single::<Unit>(&world)?;
    single::<Empty>(&world)?;
    single::<Marker<u128>>(&world)
}

#[phalanx::test(ranks = [2, 3], strict)]
fn strict_mode_takes_them_as_well(world: Comm) -> phalanx::Result<()> {
    messages::<()>(&world)?;
    single::<Empty>(&world)?;
    collectives::<Empty>(&world)
}

/// No elements of any size are a message of 0 bytes, too.
#[phalanx::test(ranks = [1, 2, 3, 4], timeout = "120s")]
fn every_operation_takes_no_elements_and_none_on_some_ranks(world: Comm) -> phalanx::Result<()> {
    collectives::<f64>(&world)?;
    neighborhoods::<u16>(&world)?;
    let (rank, size) = (world.rank(), world.size());
    let (right, left) = neighbors(&world);
    let none: Vec<f64> = Vec::new();

    assert_eq!(world.allreduce(&none, Sum)?, none);
    assert_eq!(world.reduce(&none, Max, size - 1)?, (rank == size - 1).then(Vec::new));
    assert_eq!(world.scan(&none, Product)?, none);
    world.exscan(&none, Sum)?;
    assert_eq!(world.iallreduce(none.clone(), Min)?.wait()?, none);
    world.ireduce(none.clone(), Sum, 0)?.wait()?;
    world.iexscan(none.clone(), Sum)?.wait()?;
    assert_eq!(world.reduce_scatter(&none, &vec![0; size], Sum)?, none);
    assert_eq!(world.ireduce_scatter(none.clone(), &vec![0; size], Sum)?.wait()?, none);
    assert_eq!(world.reduce_scatter_block(&none, Sum)?, none);
    assert_eq!(world.ireduce_scatter_block(none.clone(), Sum)?.wait()?, none);
    assert!(world.sparse_exchange(Vec::<(usize, Vec<f64>)>::new())?.is_empty());
    assert!(world.exchange(|_| {})?.is_empty());
    let sent = world.isend(none.clone(), right)?;
    assert_eq!(world.recv::<Vec<f64>>(left)?, none);
    sent.wait()?;
    assert_eq!(world.shift_object(&String::new(), 1)?, "");
    assert_eq!(world.allgather_object(&Vec::<u8>::new())?, vec![Vec::<u8>::new(); size]);

    // The root of a broadcast has nothing, whatever the others pass.
    let given = if rank == size - 1 { Vec::new() } else { vec![1.0] };
    assert_eq!(world.bcast_vec(given, size - 1)?, none);

    // One rank alone has something.
    for who in 0..size {
        let mine = if rank == who { vec![who as f64; 3] } else { Vec::new() };
        assert_eq!(world.allgatherv(&mine)?.flat(), [who as f64; 3]);
        let all = world.gatherv(&mine, (who + 1) % size)?;
        assert!(all.is_none_or(|all| all.flat() == [who as f64; 3]));
        let blocks: Vec<Vec<f64>> =
            (0..size).map(|peer| vec![peer as f64; if peer == who { 2 } else { 0 }]).collect();
        let share = world.scatterv((rank == 0).then_some(&blocks[..]), 0)?;
        assert_eq!(share, blocks[rank]);
        let received = world.alltoallv(&blocks)?;
        assert_eq!(received.flat().len(), if rank == who { 2 * size } else { 0 });
        let mut counts = vec![0; size];
        counts[who] = 4;
        assert_eq!(world.reduce_scatter(&[1.0; 4], &counts, Sum)?.len(), counts[rank]);
    }
    Ok(())
}

/// Built-in operations reduce numbers, and arrays of them: also arrays of none.
#[phalanx::test(ranks = [1, 2, 3])]
fn sums_of_arrays_of_nothing_are_such_arrays(world: Comm) -> phalanx::Result<()> {
    let mine = [[0.0_f64; 0]; 3];
    assert_eq!(world.allreduce(&mine, Sum)?, mine);
    assert_eq!(world.scan(&mine, Max)?, mine);
    assert_eq!(world.iallreduce(vec![[0_u8; 0]; 2], BitOr)?.wait()?.len(), 2);
    assert_eq!(world.reduce_scatter_block(&vec![[0_i32; 0]; world.size()], Sum)?.len(), 1);
    Ok(())
}

/// A struct that has fields of no size among others is like one without them.
#[phalanx::test(ranks = [1, 2, 3])]
fn fields_of_no_size_take_no_room(world: Comm) -> phalanx::Result<()> {
    #[derive(Clone, Copy, Debug, PartialEq, Element)]
    #[repr(C)]
    struct Tagged<U> {
        before: (),
        value: f64,
        unit: PhantomData<U>,
        after: [u64; 0],
    }
    let at = |rank: usize| Tagged {
        before: (),
        value: rank as f64,
        unit: PhantomData::<Unit>,
        after: [],
    };
    let (right, left) = neighbors(&world);
    assert_eq!(size_of_val(&at(0)), 8);
    assert_eq!(world.sendrecv(&at(world.rank()), right, left)?, at(left));
    assert_eq!(world.allgather(&at(world.rank()))?, (0..world.size()).map(at).collect::<Vec<_>>());
    Ok(())
}

/// Inside an object their number is part of the value.
#[phalanx::test(ranks = [1, 2, 3])]
fn a_field_that_is_sent_plain_keeps_its_length(world: Comm) -> phalanx::Result<()> {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Value {
        #[serde(with = "phalanx::plain")]
        units: Vec<Unit>,
        #[serde(with = "phalanx::plain")]
        numbers: Vec<u16>,
    }
    let value = |rank: usize| Value { units: vec![Unit; 3 + rank], numbers: vec![7; rank] };
    assert_eq!(
        world.allgather_object(&value(world.rank()))?,
        (0..world.size()).map(value).collect::<Vec<_>>()
    );
    let (_, left) = neighbors(&world);
    assert_eq!(world.shift_object(&value(world.rank()), 1)?, value(left));
    Ok(())
}

#[phalanx::test(ranks = [2])]
fn what_is_not_empty_is_refused_where_nothing_is_expected(world: Comm) -> phalanx::Result<()> {
    let other = 1 - world.rank();
    let sent = world.isend([1_u8, 2], other)?;
    let error = world.recv::<Vec<()>>(other).expect_err("two bytes are no number of nothings");
    assert!(error.is_type_mismatch(), "{error}");
    sent.wait()?;
    let sent = world.isend([1_u8, 2], other)?;
    let error = world.recv::<Unit>(other).expect_err("two bytes do not fit into nothing");
    assert!(error.is_truncated(), "{error}");
    sent.wait()?;
    let sent = world.isend(vec![[0_u64; 0]; 4], other)?;
    assert_eq!(world.recv::<Vec<u64>>(other)?, []);
    sent.wait()?;
    Ok(())
}

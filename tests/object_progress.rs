//! Non-blocking collectives of objects make progress by themselves: a rank that has started one and then sits
//! in a blocking call of the library is needed by nobody.

use phalanx::prelude::*;
use phalanx::{Request, Result};

/// A value whose message is small, or so long that no library sends it before it is received.
fn text(rank: usize, large: bool) -> String {
    let letter = char::from(b'a' + rank as u8).to_string();
    if large { letter.repeat((1 << 20) + rank) } else { letter }
}

fn texts(size: usize, large: bool) -> Vec<String> {
    (0..size).map(|rank| text(rank, large)).collect()
}

/// Everybody starts; one waits in a barrier until all others have their results.
fn with_one_in_a_barrier<R: PartialEq>(
    world: &Comm,
    in_barrier: usize,
    expected: R,
    request: Request<R>,
) -> Result<()> {
    if world.rank() == in_barrier {
        world.barrier()?;
        assert!(request.wait()? == expected);
    } else {
        assert!(request.wait()? == expected);
        world.barrier()?;
    }
    Ok(())
}

fn every_operation(world: &Comm, large: bool) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let mine = || text(rank, large);
    let longest = |a: String, b: String| if b.len() > a.len() { b } else { a };
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    for in_barrier in 0..size {
        for root in [0, size - 1] {
            let value = (rank == root).then(mine);
            let request = world.ibcast_object(value, root)?;
            with_one_in_a_barrier(world, in_barrier, text(root, large), request)?;
            let request = world.igather_object(mine(), root)?;
            let all = (rank == root).then(|| texts(size, large));
            with_one_in_a_barrier(world, in_barrier, all, request)?;
            let request =
                world.iscatter_object((rank == root).then(|| texts(size, large)), root)?;
            with_one_in_a_barrier(world, in_barrier, mine(), request)?;
            let request = world.ireduce_object(mine(), longest, root)?;
            let last = (rank == root).then(|| text(if large { size - 1 } else { 0 }, large));
            with_one_in_a_barrier(world, in_barrier, last, request)?;
        }
        let request = world.iallgather_object(mine())?;
        with_one_in_a_barrier(world, in_barrier, texts(size, large), request)?;
        let request = world.ialltoall_object(vec![mine(); size])?;
        with_one_in_a_barrier(world, in_barrier, texts(size, large), request)?;
        let request = world.iallreduce_object(mine(), longest)?;
        let last = text(if large { size - 1 } else { 0 }, large);
        with_one_in_a_barrier(world, in_barrier, last, request)?;
        let neighbors = ring.neighbors().iter().map(|it| it.map(|rank| text(rank, large)));
        let neighbors: Vec<_> = neighbors.collect();
        let request = ring.ineighbor_allgather_object(&mine())?;
        with_one_in_a_barrier(world, in_barrier, neighbors.clone(), request)?;
        let request = ring.ineighbor_alltoall_object(&[mine(), mine()])?;
        with_one_in_a_barrier(world, in_barrier, neighbors, request)?;
    }
    ring.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4], env("PHALANX_WAIT" = "library"))]
fn a_rank_in_a_blocking_call_of_the_library_is_needed_by_nobody(world: Comm) -> Result<()> {
    every_operation(&world, false)?;
    every_operation(&world, true)
}

#[phalanx::test(ranks = [2, 3, 5], env("PHALANX_WAIT" = "poll"))]
fn a_rank_that_waits_in_our_own_way_is_needed_by_nobody(world: Comm) -> Result<()> {
    every_operation(&world, false)?;
    every_operation(&world, true)
}

#[phalanx::test(ranks = 3, env("PHALANX_WATCH" = "strict"))]
fn strict_mode_makes_no_difference(world: Comm) -> Result<()> {
    every_operation(&world, true)
}

#[phalanx::test(ranks = [2, 3], env("PHALANX_WAIT" = "library"))]
fn a_root_is_done_before_the_others_begin(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for round in 0..4 {
        if rank == 0 {
            let value = text(round, true);
            assert!(world.ibcast_object(Some(value), 0)?.wait()? == text(round, true));
            let own = world.iscatter_object(Some(texts(size, true)), 0)?.wait()?;
            assert!(own == text(0, true));
            (1..size).try_for_each(|other| world.send(&round, other))?;
        } else {
            assert_eq!(world.recv::<usize>(0)?, round);
            assert!(world.ibcast_object(None::<String>, 0)?.wait()? == text(round, true));
            assert!(world.iscatter_object(None::<Vec<String>>, 0)?.wait()? == text(rank, true));
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn a_communicator_may_be_freed_while_its_last_messages_are_on_their_way(world: Comm) -> Result<()> {
    for round in 0..3 {
        let copy = world.dup()?;
        let request = copy.ibcast_object((world.rank() == 0).then(|| text(round, true)), 0)?;
        assert!(request.wait()? == text(round, true));
        copy.free()?;
    }
    Ok(())
}

//! Communicators and groups: how they are made, compared, named and freed, and how they live beside
//! those of rsmpi and of C.

use std::os::raw::c_int;

use mpi::collective::SystemOperation;
use mpi::traits::{
    AsRaw as _, Communicator as _, CommunicatorCollectives as _, Destination as _, Source as _,
};
use phalanx::prelude::*;
use phalanx::{Comparison, RequestSet, Result};

/// The ranks of a communicator of which this process is one, by their ranks in the world.
fn members(comm: &Comm, world: &Comm) -> Result<Vec<usize>> {
    comm.allgather(&world.rank())
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn a_duplicate_has_the_same_ranks_and_messages_of_its_own(world: Comm) -> Result<()> {
    let copy = world.dup()?;
    assert_eq!((copy.rank(), copy.size()), (world.rank(), world.size()));
    assert_eq!(world.compare(&copy)?, Comparison::Congruent);
    assert_eq!(world.compare(&world.clone())?, Comparison::Identical);

    // The same peer and tag on three communicators: each message meets its own receive, in an order
    // that a single context could not give.
    let other = copy.dup()?;
    let (next, last) =
        ((world.rank() + 1) % world.size(), (world.rank() + world.size() - 1) % world.size());
    let sends: RequestSet<u32> = [(&world, 1_u32), (&copy, 2), (&other, 3)]
        .into_iter()
        .map(|(comm, number)| comm.isend(number, to(next).tag(5)))
        .collect::<Result<_>>()?;
    assert_eq!(other.recv::<u32>(from(last).tag(5))?, 3);
    assert_eq!(copy.recv::<u32>(any())?, 2);
    assert!(copy.try_probe(any())?.is_none() && other.try_probe(any())?.is_none());
    assert_eq!(world.recv::<u32>(from(last).tag(5))?, 1);
    sends.wait_all()?;

    // Collectives on two of them at a time do not meet either.
    let (sum, one) = (copy.iallreduce(10, Sum)?, world.iallreduce(1, Sum)?);
    assert_eq!(other.allreduce(&100, Sum)?, 100 * world.size() as i32);
    assert_eq!((one.wait()?, sum.wait()?), (world.size() as i32, 10 * world.size() as i32));
    other.free()?;
    copy.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn split_makes_one_communicator_a_color_ordered_by_key(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let color = (me % 2) as u32;
    let half = world.split(Some(color), 0)?.expect("every rank has a color");
    assert_eq!(
        members(&half, &world)?,
        (0..n).filter(|rank| rank % 2 == me % 2).collect::<Vec<_>>()
    );

    // Keys turn the order round, negative ones too; equal keys keep the old order.
    let reversed = world.split(Some(7), -(me as i32))?.expect("every rank has a color");
    assert_eq!(members(&reversed, &world)?, (0..n).rev().collect::<Vec<_>>());
    assert_eq!(reversed.rank(), n - 1 - me);
    let likeness = if n == 1 { Comparison::Congruent } else { Comparison::Similar };
    assert_eq!(world.compare(&reversed)?, likeness);
    let first_last = world.split(Some(0), i32::from(me == 0))?.expect("every rank has a color");
    assert_eq!(members(&first_last, &world)?, (1..n).chain([0]).collect::<Vec<_>>());

    // Without a color a rank takes part and becomes a member of nothing.
    let others = world.split((me != 0).then_some(3), 0)?;
    assert_eq!(others.is_some(), me != 0);
    if let Some(others) = others {
        assert_eq!((others.rank(), others.size()), (me - 1, n - 1));
        assert_eq!(world.compare(&others)?, Comparison::Unequal);
        assert_eq!(others.translate_ranks(&[0], &world)?, [Some(1)]);
        assert_eq!(world.translate_ranks(&[0, me], &others)?, [None, Some(me - 1)]);
        others.free()?;
    }
    assert!(world.split(None, 0)?.is_none());

    // A split of a split, and a color that is too large.
    let alone = half.split(Some(me as u32), 0)?.expect("every rank has a color");
    assert_eq!((alone.rank(), alone.size()), (0, 1));
    assert!(world.split(Some(u32::MAX), 0).is_err_and(|error| error.is_unsupported()));
    for comm in [alone, half, reversed, first_last] {
        comm.free()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 3])]
fn ranks_of_one_node_are_together_and_self_is_alone(world: Comm) -> Result<()> {
    let node = world.split_by_node()?;
    let hosts = world.allgather_object(&phalanx::processor_name()?)?;
    let here = |&rank: &usize| hosts[rank] == hosts[world.rank()];
    assert_eq!(members(&node, &world)?, (0..world.size()).filter(here).collect::<Vec<_>>());
    node.free()?;

    for alone in [world.self_comm()?, phalanx::self_().expect("MPI runs")] {
        assert_eq!((alone.rank(), alone.size(), alone.name().as_str()), (0, 1, "self"));
        let sending = alone.isend(vec![1, 2], 0)?;
        assert_eq!(alone.recv::<Vec<i32>>(0)?, [1, 2]);
        sending.wait()?;
        assert_eq!(alone.allreduce(&world.rank(), Sum)?, world.rank());
        assert_eq!(alone.alltoallv(&vec![vec![4_u8; 3]])?.into_flat(), [4; 3]);
        assert!(alone.send(&1, 1).is_err_and(|error| error.is_invalid_rank()));
    }
    let copy = world.self_comm()?.dup()?;
    assert_eq!(world.self_comm()?.compare(&copy)?, Comparison::Congruent);
    copy.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn groups_are_ordered_sets_with_an_algebra(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let all = world.group()?;
    assert_eq!((all.size()?, all.rank()?), (n, Some(me)));
    let even: Vec<usize> = (0..n).step_by(2).collect();
    let evens = all.include(&even)?;
    let odds = all.exclude(&even)?;
    assert_eq!((evens.size()?, odds.size()?), (n.div_ceil(2), n / 2));
    assert_eq!(evens.rank()?, (me % 2 == 0).then_some(me / 2));

    let none = evens.intersection(&odds)?;
    assert_eq!((none.size()?, none.rank()?), (0, None));
    let both = odds.union(&evens)?;
    let order: Vec<Option<usize>> = (1..n).step_by(2).chain((0..n).step_by(2)).map(Some).collect();
    let numbers: Vec<usize> = (0..n).collect();
    assert_eq!(both.translate_ranks(&numbers, &all)?, order, "a union keeps the order");
    assert_eq!(all.difference(&odds)?.compare(&evens)?, Comparison::Identical);
    let likeness = if n == 1 { Comparison::Identical } else { Comparison::Similar };
    assert_eq!(both.compare(&all)?, likeness);
    assert_eq!(all.intersection(&all)?.compare(&all)?, Comparison::Identical);
    if n > 1 {
        assert_eq!(evens.compare(&odds)?, Comparison::Unequal);
        assert_eq!(all.translate_ranks(&[0, 1], &odds)?, [None, Some(0)]);
    }
    assert_eq!(all.include(&[])?.size()?, 0);
    assert_eq!(all.exclude(&[])?.compare(&all)?, Comparison::Identical);
    assert_eq!(all.translate_ranks(&[], &evens)?, []);

    for wrong in [vec![n], vec![0, 0], vec![0, usize::MAX]] {
        assert!(all.include(&wrong).is_err_and(|error| error.is_invalid_rank()), "{wrong:?}");
        assert!(all.exclude(&wrong).is_err_and(|error| error.is_invalid_rank()), "{wrong:?}");
    }
    assert!(all.translate_ranks(&[n], &evens).is_err_and(|error| error.is_invalid_rank()));
    assert!(world.translate_ranks(&[n], &world).is_err_and(|error| error.is_invalid_rank()));
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn communicators_are_made_of_groups_by_all_or_by_the_members(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    // In the order of the group.
    let backwards: Vec<usize> = (0..n).rev().collect();
    let turned = world.create(&world.group()?.include(&backwards)?)?.expect("all are members");
    assert_eq!(members(&turned, &world)?, backwards);
    turned.free()?;

    let but_first = world.group()?.exclude(&[0])?;
    let created = world.create(&but_first)?;
    assert_eq!(created.is_some(), me > 0);
    // Only the members call this one; the first goes on alone.
    if let Some(created) = created {
        let grouped = world.create_group(&but_first, 3)?;
        assert_eq!(grouped.compare(&created)?, Comparison::Congruent);
        assert_eq!(grouped.allreduce(&1, Sum)? as usize, n - 1);
        grouped.free()?;
        created.free()?;
    } else {
        let error = world.create_group(&but_first, 0).unwrap_err();
        assert!(error.is_invalid_rank() && error.mpi_class().is_none(), "{error}");
        let alone = world.create_group(&world.group()?.include(&[0])?, 0)?;
        assert_eq!((alone.rank(), alone.size()), (0, 1));
        alone.free()?;
    }
    let tag = phalanx::tag_upper_bound();
    let all = world.group()?;
    assert!(world.create_group(&all, -1).is_err_and(|error| error.is_invalid_tag()));
    if let Some(tag) = tag.checked_add(1) {
        assert!(world.create_group(&all, tag).is_err_and(|error| error.is_invalid_tag()));
    }
    let nobody = world.create(&all.include(&[])?)?;
    assert!(nobody.is_none());
    world.barrier()
}

#[phalanx::test(ranks = [1, 2])]
fn names_are_inherited_changed_and_part_of_every_error(world: Comm) -> Result<()> {
    assert_eq!(world.name(), "world");
    let copy = world.dup()?;
    assert!(copy.name().contains("world"), "{}", copy.name());
    copy.set_name("rows of the grid")?;
    assert_eq!(
        (copy.name(), copy.clone().name()),
        ("rows of the grid".into(), "rows of the grid".into())
    );
    assert_eq!(world.name(), "world");
    let error = copy.send(&1, copy.size()).unwrap_err();
    assert_eq!(error.communicator(), Some("rows of the grid"));
    assert!(error.to_string().contains("`rows of the grid`"), "{error}");
    assert!(format!("{copy:?}").contains("rows of the grid"));

    // MPI may cut names; a long one, an empty one and one that is not ASCII do no harm.
    for name in ["x".repeat(5000), String::new(), "Gitter 7 – ä".to_owned()] {
        copy.set_name(&name)?;
        assert_eq!(copy.name(), name);
        copy.barrier()?;
    }
    // An error outlives its communicator.
    copy.set_name("gone")?;
    let error = copy.recv::<u8>(copy.size()).unwrap_err();
    copy.free()?;
    assert_eq!(error.communicator(), Some("gone"));
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 4])]
fn a_communicator_that_is_used_elsewhere_is_not_freed(world: Comm) -> Result<()> {
    let copy = world.dup()?;
    let clone = copy.clone();
    let error = copy.free().unwrap_err();
    assert!(error.is_in_use(), "{error}");
    assert!(error.mpi_class().is_none() && error.to_string().contains('1'), "{error}");
    // The error gives it back: it is an owner until then.
    drop(error.into_comm().expect("the communicator"));
    // It goes on working, and a request of it holds it too.
    assert_eq!(clone.allreduce(&1, Sum)? as usize, world.size());
    let pending = clone.ibarrier()?;
    let again = clone.clone();
    assert!(again.free().is_err_and(|error| error.is_in_use()));
    pending.wait()?;
    clone.free()?;

    // Made, freed and made again, more often than there are contexts.
    for _ in 0..100 {
        world.dup()?.free()?;
    }
    // What is only dropped is released at the end.
    drop(world.dup()?);
    assert!(world.free().is_err_and(|error| error.is_in_use()), "the library has the world too");
    phalanx::world().expect("MPI runs").barrier()
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn communicators_of_rsmpi_are_guests_and_phalanx_is_a_guest_of_theirs(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let theirs = mpi::topology::SimpleCommunicator::world();
    let ours = Comm::from_rsmpi(&theirs)?;
    assert_eq!((ours.rank(), ours.size()), (theirs.rank() as usize, n));
    assert_eq!(ours.allreduce(&1, Sum)? as usize, n);

    // The same peer and tag: messages of a guest and of its duplicate do not meet.
    let (next, last) = ((me + 1) % n, (me + n - 1) % n);
    let sending = ours.isend(7_i32, to(next).tag(1))?;
    mpi::request::scope(|scope| {
        let request =
            theirs.process_at_rank(next as c_int).immediate_send_with_tag(scope, &8_i32, 1);
        let (number, _) = theirs.process_at_rank(last as c_int).receive_with_tag::<i32>(1);
        assert_eq!(number, 8);
        request.wait();
    });
    assert_eq!(ours.recv::<i32>(from(last).tag(1))?, 7);
    sending.wait()?;
    ours.free()?;
    theirs.barrier();

    // The other direction: rsmpi owns a duplicate of ours, and frees it.
    let half = world.split(Some((me % 2) as u32), 0)?.expect("every rank has a color");
    let theirs = half.to_rsmpi()?;
    assert_eq!((theirs.rank() as usize, theirs.size() as usize), (half.rank(), half.size()));
    let mut sum = 0_u64;
    theirs.all_reduce_into(&(me as u64), &mut sum, SystemOperation::sum());
    assert_eq!(sum, half.allreduce(&(me as u64), Sum)?);
    drop(theirs);
    assert_eq!(half.allreduce(&1, Sum)? as usize, half.size());
    half.free()
}

/// A struct of rsmpi's own derive, in the same program as ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, mpi::traits::Equivalence)]
struct Theirs {
    weight: f64,
    id: u32,
    flag: bool,
}

/// A struct of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, mpi::traits::Equivalence, Element)]
#[repr(C)]
struct Both {
    position: [f32; 3],
    id: u32,
}

#[phalanx::test(ranks = [1, 2, 3])]
fn the_derive_of_rsmpi_works_in_the_same_program(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let guest = world.to_rsmpi()?;
    let mine = Theirs { weight: me as f64, id: me as u32, flag: me == 0 };
    let mut all = vec![Theirs::default(); n];
    guest.all_gather_into(&mine, &mut all[..]);
    for (rank, found) in all.iter().enumerate() {
        assert_eq!(*found, Theirs { weight: rank as f64, id: rank as u32, flag: rank == 0 });
    }
    let mine = Both { position: [me as f32; 3], id: 5 };
    let mut theirs = vec![Both::default(); n];
    guest.all_gather_into(&mine, &mut theirs[..]);
    assert_eq!(world.allgather(&mine)?, theirs);
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 4])]
fn raw_handles_go_both_ways_and_their_owner_keeps_them(world: Comm) -> Result<()> {
    // SAFETY: the handle is that of a live communicator.
    let twin = unsafe { Comm::from_raw(world.as_raw()) }?;
    assert_eq!(world.compare(&twin)?, Comparison::Congruent);
    assert_eq!(twin.name(), "world");
    twin.free()?;
    world.barrier()?;

    // A call into C on our handle.
    let mut size: c_int = 0;
    // SAFETY: the handle is live, the result is writable.
    let code = unsafe { mpi::ffi::MPI_Comm_size(world.as_raw(), &mut size) };
    assert_eq!((code, size as usize), (mpi::ffi::MPI_SUCCESS as c_int, world.size()));
    // Errors on it are codes and do not end the program.
    // SAFETY: no memory is involved; the destination does not exist.
    let code = unsafe {
        mpi::ffi::MPI_Send(
            std::ptr::null(),
            0,
            mpi::ffi::RSMPI_UINT8_T,
            size + 1,
            0,
            world.as_raw(),
        )
    };
    assert_ne!(code, mpi::ffi::MPI_SUCCESS as c_int);
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn the_null_handle_and_inter_communicators_are_refused(world: Comm) -> Result<()> {
    // SAFETY: the null handle is what is refused.
    let error = unsafe { Comm::from_raw(mpi::ffi::RSMPI_COMM_NULL) }.unwrap_err();
    assert!(error.is_invalid_rank() && error.to_string().contains("null"), "{error}");

    if world.size() > 1 {
        // Rank 0 on one side, all others on the other.
        let side = world.split(Some(u32::from(world.rank() > 0)), 0)?.expect("a color");
        let remote = if world.rank() == 0 { 1 } else { 0 };
        // SAFETY: reading a constant of the C library.
        let mut inter = unsafe { mpi::ffi::RSMPI_COMM_NULL };
        // SAFETY: both communicators are live, leader and tag exist, the result is writable.
        let code = unsafe {
            mpi::ffi::MPI_Intercomm_create(side.as_raw(), 0, world.as_raw(), remote, 9, &mut inter)
        };
        assert_eq!(code, mpi::ffi::MPI_SUCCESS as c_int);
        // SAFETY: the handle is live.
        let error = unsafe { Comm::from_raw(inter) }.unwrap_err();
        assert!(error.is_unsupported() && error.to_string().contains("inter"), "{error}");
        // SAFETY: the handle is live and nobody else has it.
        unsafe { mpi::ffi::MPI_Comm_free(&mut inter) };
        side.free()?;
    }
    assert_eq!(world.allreduce(&1, Sum)? as usize, world.size());
    Ok(())
}

#[phalanx::test(ranks = [2])]
fn the_world_of_a_guest_is_never_used(world: Comm) -> Result<()> {
    let theirs = mpi::topology::SimpleCommunicator::world();
    assert_ne!(world.as_raw(), theirs.as_raw());
    let own = phalanx::world().expect("MPI runs");
    assert_eq!(own.compare(&world)?, Comparison::Identical);
    // A message of ours never meets a receive of theirs, whatever it asks for.
    let (me, other) = (world.rank(), 1 - world.rank());
    let sending = world.isend(me, other)?;
    world.barrier()?;
    assert!(theirs.any_process().immediate_probe().is_none());
    assert_eq!(world.recv::<usize>(other)?, other);
    sending.wait()?;
    Ok(())
}

/// More than any library has room for, if what was dropped were kept until the end.
#[phalanx::test(ranks = [1, 2, 3], timeout = "300s")]
fn communicators_that_all_ranks_have_dropped_are_freed(world: Comm) -> phalanx::Result<()> {
    const LOOPS: usize = 1200;
    let (me, n) = (world.rank(), world.size());
    let mut late = Vec::new();
    for round in 0..LOOPS {
        let copy = world.dup()?;
        // Not all ranks are members of each, and not all drop theirs at once.
        let half = world.split((me % 2 == round % 2).then_some(0), 0)?;
        if round % 100 == 0 {
            assert_eq!(copy.allreduce(&1, Sum)? as usize, n);
            assert_eq!(half.is_some(), me % 2 == round % 2);
            if let Some(half) = &half {
                half.barrier()?;
            }
        }
        if me == 0 && round % 10 == 0 {
            late.push(copy);
        }
        if late.len() > 5 {
            late.clear();
        }
    }
    // One that somebody still holds is not freed under it, whatever is made meanwhile.
    let held = world.dup()?;
    let kept = (me == 0).then(|| held.clone());
    let sending = (n > 1 && me == 0).then(|| held.isend(vec![7_u8; 10], 1)).transpose()?;
    if me != 1 {
        drop(held);
        for _ in 0..3 {
            world.dup()?.free()?;
        }
    } else {
        for _ in 0..3 {
            world.dup()?.free()?;
        }
        assert_eq!(held.recv::<Vec<u8>>(0)?, [7; 10]);
    }
    if let Some(sending) = sending {
        sending.wait()?;
    }
    drop(kept);
    world.barrier()
}

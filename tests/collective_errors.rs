//! A mistake that one rank makes in a collective call does not leave the others inside.

use std::fmt::Debug;
use std::panic::Location;
use std::path::PathBuf;
use std::time::Duration;

use phalanx::prelude::*;
use phalanx::{Error, PerRank, Result, Threading};

/// The result of a call in which one rank makes a mistake.
#[track_caller]
fn only_the_guilty_fails<T: Debug + PartialEq>(guilty: bool, result: Result<T>, expected: T) {
    match result {
        Ok(value) => assert!(!guilty && value == expected, "{value:?}, not {expected:?}"),
        Err(error) => {
            assert!(guilty && error.is_invalid_length(), "{error}");
            // Nobody waits for it.
            assert!(!error.to_string().contains("the other ranks wait"), "{error}");
        }
    }
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn a_rank_with_a_wrong_buffer_takes_part_all_the_same(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for (guilty, wrong) in (0..size).flat_map(|guilty| [0, 3, 1000].map(|wrong| (guilty, wrong))) {
        let here = rank == guilty;
        let root = guilty;
        // The buffer that is needed, or one of another length.
        let room = |needed: usize| vec![0_u64; if here { needed + wrong + 1 } else { needed }];
        let short = |needed: usize| vec![0_u64; if here { needed - 1 } else { needed }];
        let mine = [rank as u64, 7];
        let all: Vec<u64> = (0..size as u64).flat_map(|rank| [rank, 7]).collect();
        let sum = [(0..size as u64).sum(), 7 * size as u64];

        for room in [room(2 * size), short(2 * size)] {
            let check = |result: Result<()>, into: &[u64], expected: &[u64]| {
                let got = result.map(|()| into.to_vec());
                only_the_guilty_fails(here, got, expected.to_vec());
            };
            let mut into = room.clone();
            let given = (rank == root).then_some(&mut into[..]);
            let gathered = world.gather_into(&mine, given, root);
            only_the_guilty_fails(here, gathered, ());
            let mut into = room.clone();
            check(world.allgather_into(&mine, &mut into), &into, &all);
            let mut into = room.clone();
            let counts = vec![2; size];
            check(world.allgatherv_into(&mine, &mut into, &counts), &into, &all);
            let mut into = room.clone();
            let given = (rank == root).then_some((&mut into[..], &counts[..]));
            only_the_guilty_fails(here, world.gatherv_into(&mine, given, root), ());
            let data: Vec<u64> = vec![rank as u64; 2 * size];
            let expected: Vec<u64> = (0..size as u64).flat_map(|rank| [rank, rank]).collect();
            let mut into = room.clone();
            check(world.alltoall_into(&data, &mut into), &into, &expected);
            let mut into = room.clone();
            check(world.alltoallv_into(&data, &counts, &mut into, &counts), &into, &expected);
        }
        for mut into in [room(2), short(2)] {
            let given = (rank == root).then_some(&mut into[..]);
            only_the_guilty_fails(here, world.reduce_into(&mine, given, Sum, root), ());
            let result = world.allreduce_into(&mine, &mut into, Sum);
            only_the_guilty_fails(here, result.map(|()| into.clone()), sum.to_vec());
            let repeated = mine.repeat(size);
            let result = world.reduce_scatter_block_into(&repeated, &mut into, Sum);
            only_the_guilty_fails(here, result.map(|()| into.clone()), sum.to_vec());
            let result = world.reduce_scatter_into(&repeated, &mut into, &vec![2; size], Sum);
            only_the_guilty_fails(here, result.map(|()| into.clone()), sum.to_vec());
        }

        // Nothing given where something is needed.
        only_the_guilty_fails(here, world.gather_into(&mine, None, root), ());
        only_the_guilty_fails(here, world.reduce_into(&mine, None, Sum, root), ());

        // Counts that are wrong about this rank alone, while all that was announced is there.
        let counts: Vec<usize> = (0..size).map(|rank| rank + 1).collect();
        let total: usize = counts.iter().sum();
        let block = vec![rank as u64; rank + 1];
        let flat: Vec<u64> = (0..size).flat_map(|rank| vec![rank as u64; rank + 1]).collect();
        let mut longer = flat.clone();
        longer.extend(vec![99; wrong + 1]);
        let mut own = vec![0; rank + 1];
        let given = (rank == root).then_some((&longer[..], &counts[..]));
        let result = world.scatterv_into(given, &mut own, root);
        only_the_guilty_fails(here, result.map(|()| own.clone()), block.clone());
        let given =
            (rank == root).then(|| PerRank::from_flat(flat.clone(), counts.clone()).expect("fits"));
        let length = if here { rank + 2 } else { rank + 1 };
        let result = world.iscatterv(given, length, root).and_then(|request| request.wait());
        only_the_guilty_fails(here, result, block.clone());
        let mut given = block.clone();
        given.extend(here.then_some(5));
        let mut into = vec![0; total];
        let result = world.allgatherv_into(&given, &mut into, &counts);
        only_the_guilty_fails(here, result.map(|()| into), flat.clone());
        let result = world.iallgatherv(given.clone(), counts.clone()).and_then(|it| it.wait());
        only_the_guilty_fails(here, result.map(PerRank::into_flat), flat.clone());
        // The root has told the others nothing that is not so.
        let known = (rank == root).then(|| counts.clone());
        let given = if here { vec![4; rank + 3] } else { block.clone() };
        let result = world.igatherv(given.clone(), known, root).and_then(|it| it.wait());
        only_the_guilty_fails(here, result.map(drop), ());
        let mut into = vec![0; total];
        let place = (rank == root).then_some((&mut into[..], &counts[..]));
        only_the_guilty_fails(here, world.gatherv_into(&given, place, root), ());
        let mut incoming = vec![1; size];
        incoming[rank] += usize::from(here);
        let outgoing = PerRank::from(vec![vec![rank as u64]; size]);
        let result = world.ialltoallv(outgoing, incoming).and_then(|it| it.wait());
        only_the_guilty_fails(here, result.map(PerRank::into_flat), (0..size as u64).collect());

        // All are in step.
        assert_eq!(world.allgather(&rank)?, (0..size).collect::<Vec<_>>());
    }
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn neighbours_of_a_rank_with_a_wrong_buffer_get_their_blocks(world: Comm) -> Result<()> {
    for periodic in [true, false] {
        let line = world.cart(&[0], &[periodic])?.expect("every rank fits");
        let rank = line.rank();
        let expected: Vec<u64> =
            line.neighbors().iter().map(|it| it.map_or(50, |rank| rank as u64)).collect();
        for guilty in 0..line.size() {
            let here = rank == guilty;
            for length in [2, 0, 1, 5] {
                let room = || vec![50_u64; if here { length } else { 2 }];
                let wrong = here && length != 2;
                let mine = [rank as u64; 1];
                let mut into = room();
                let result = line.neighbor_allgather_into(&mine, &mut into);
                only_the_guilty_fails(wrong, result.map(|()| into), expected.clone());
                let mut into = room();
                let result = line.neighbor_alltoall_into(&[rank as u64; 2], &mut into);
                only_the_guilty_fails(wrong, result.map(|()| into), expected.clone());
                let mut into = room();
                let result = line.neighbor_allgatherv_into(&mine, &mut into, &[1, 1]);
                only_the_guilty_fails(wrong, result.map(|()| into), expected.clone());
                let mut into = room();
                let result =
                    line.neighbor_alltoallv_into(&[rank as u64; 2], &[1, 1], &mut into, &[1, 1]);
                only_the_guilty_fails(wrong, result.map(|()| into), expected.clone());
            }
            // Without a block for each destination: the neighbours are told, the others get theirs.
            let blocks = vec![vec![rank as u64]; if here { 3 } else { 2 }];
            let told = here || line.neighbors().contains(&Some(guilty));
            match line.neighbor_alltoallv(&blocks) {
                Ok(received) => {
                    let known = expected.iter().copied().filter(|&it| it != 50).collect::<Vec<_>>();
                    assert!(!told && received.into_flat() == known);
                }
                Err(error) => assert!(told && error.is_invalid_length(), "{error}"),
            }
        }
        line.free()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn lengths_that_are_told_tell_of_mistakes_too(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for guilty in 0..size {
        let blocks = vec![vec![1_u8; 2]; if rank == guilty { size + 1 } else { size }];
        let error = world.alltoallv(&blocks).expect_err("too many blocks");
        assert!(error.is_invalid_length(), "{error}");
        let blocks = (rank == guilty).then(|| vec![vec![1_u8; 2]; size + 1]);
        let error = world.scatterv(blocks.as_ref(), guilty).expect_err("too many blocks");
        assert!(error.is_invalid_length(), "{error}");
        let error = world.scatter(None::<&[u8]>, guilty).expect_err("nothing");
        assert!(error.is_invalid_length(), "{error}");
        assert_eq!(world.allreduce(&1, Sum)?, size as i32);
    }
    Ok(())
}

/// Mistakes of a rank that has nothing to give, or does not know what the others expect.
fn hopeless(world: &Comm, guilty: usize) -> Vec<(Result<()>, &'static Location<'static>)> {
    let (rank, size) = (world.rank(), world.size());
    let here = rank == guilty;
    let ok = vec![1_u64; 2 * size];
    let data = if here { &ok[1..] } else { &ok[..] };
    let counts = vec![2; if here { size + 1 } else { size }];
    let mut into = vec![0; 2 * size];
    let mut results = Vec::new();
    let mut note = |result| results.push((result, Location::caller()));
    let root = guilty;
    note(world.scatter_into(here.then_some(data), &mut into[..2], root));
    note(world.scatterv_into(here.then_some((data, &counts[..])), &mut into[..2], root));
    note(world.alltoall_into(data, &mut into.clone()));
    note(world.alltoall(data).map(drop));
    note(world.alltoallv_into(data, &vec![2; size], &mut into.clone(), &vec![2; size]));
    note(world.allgatherv_into(&ok[..if here { 1 } else { 2 }], &mut into, &vec![2; size]));
    note(world.reduce_scatter(data, &vec![2; size], Sum).map(drop));
    note(world.reduce_scatter_block(data, Max).map(drop));
    note(world.bcast(&mut [1_u8], if here { size } else { (guilty + 1) % size }));
    note(world.reduce(&1, Sum, if here { size } else { (guilty + 1) % size }).map(drop));
    note(world.bcast_object(Some(1), if here { size } else { (guilty + 1) % size }).map(drop));
    results
}

#[phalanx::test(ranks = [2, 3], env("PHALANX_WATCH" = "strict"))]
fn in_strict_mode_all_ranks_hear_of_a_call_that_was_refused_on_one(world: Comm) -> Result<()> {
    for guilty in 0..world.size() {
        for (result, place) in hopeless(&world, guilty) {
            let error = result.expect_err("one rank has made a mistake");
            let own = error.is_invalid_length() || error.is_invalid_root();
            assert!(
                if world.rank() == guilty { own } else { error.is_mismatch() },
                "{place}: {error}"
            );
            if world.rank() != guilty {
                assert!(error.to_string().contains("its call was refused"), "{error}");
            }
        }
        assert_eq!(world.allgather(&1)?, vec![1; world.size()]);
    }
    Ok(())
}

#[phalanx::test(ranks = 1)]
fn a_rank_alone_leaves_nobody_waiting(world: Comm) -> Result<()> {
    for (result, place) in hopeless(&world, 0) {
        // One rank shares any length.
        let Err(error) = result else { continue };
        assert!(error.is_invalid_length() || error.is_invalid_root(), "{place}: {error}");
        assert!(!error.to_string().contains("the other ranks wait"), "{error}");
    }
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn a_mistake_that_all_ranks_make_is_an_error_on_all(world: Comm) -> Result<()> {
    let odd = vec![1; world.size() + 1];
    let error = world.alltoall(&odd).expect_err("uneven");
    assert!(error.is_invalid_length(), "{error}");
    assert!(error.to_string().contains("until this error ends the job"), "{error}");
    assert!(world.reduce_scatter_block(&odd, Sum).is_err());
    assert!(world.allgather_in_place(&mut odd.clone()).is_err());
    assert!(world.bcast(&mut 1, world.size()).is_err());
    world.barrier()
}

/// Every collective of objects.
fn object_collectives(world: &Comm) -> Vec<Result<()>> {
    let size = world.size();
    let add = |a: usize, b: usize| a + b;
    let ones = vec![1; size];
    vec![
        world.bcast_object(Some(1), 0).map(drop),
        world.gather_object(&1, 0).map(drop),
        world.allgather_object(&1).map(drop),
        world.scatter_object(Some(&ones[..]), 0).map(drop),
        world.alltoall_object(&ones).map(drop),
        world.reduce_object(1, add, 0).map(drop),
        world.allreduce_object(1, add).map(drop),
        world.scan_object(1, add).map(drop),
        world.exscan_object(1, add).map(drop),
        world.ibcast_object(Some(1), 0).and_then(|it| it.wait()).map(drop),
        world.igather_object(1, 0).and_then(|it| it.wait()).map(drop),
        world.iallgather_object(1).and_then(|it| it.wait()).map(drop),
        world.iscatter_object(Some(ones.clone()), 0).and_then(|it| it.wait()).map(drop),
        world.ialltoall_object(ones.clone()).and_then(|it| it.wait()).map(drop),
        world.ireduce_object(1, add, 0).and_then(|it| it.wait()).map(drop),
        world.iallreduce_object(1, add).and_then(|it| it.wait()).map(drop),
        world.gatherv(&ones, 0).map(drop),
        world.scatterv(Some(&vec![vec![1]; size]), 0).map(drop),
        world.allgatherv(&ones).map(drop),
        world.alltoallv(&vec![vec![1]; size]).map(drop),
        world.bcast_vec(vec![1], 0).map(drop),
        world.allreduce(&1, Sum).map(drop),
        world.iallreduce(1, op(|a: i32, b: i32| a + b)).and_then(|it| it.wait()).map(drop),
    ]
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_call_that_is_refused_for_its_thread_leaves_no_trace(world: Comm) -> Result<()> {
    for guilty in 0..world.size() {
        if world.rank() == guilty {
            let refused = std::thread::scope(|scope| {
                scope.spawn(|| object_collectives(&world)).join().expect("no panic")
            });
            assert!(refused.iter().all(|it| it.as_ref().is_err_and(Error::is_thread)));
        }
        object_collectives(&world).into_iter().collect::<Result<Vec<()>>>()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [2, 3], threads = "serialized")]
fn a_call_that_is_refused_because_another_thread_is_inside_leaves_no_trace(
    world: Comm,
) -> Result<()> {
    if phalanx::threading() != Threading::Serialized {
        return Ok(());
    }
    // Rank 0 cannot send while its thread is inside: a file says that it is done.
    let own = std::env::temp_dir().join(format!("phalanx-refused-{}", std::process::id()));
    let mark: PathBuf = world.bcast_object((world.rank() == 0).then_some(own), 0)?;
    if world.rank() == 0 {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| world.recv::<u8>(from(1).tag(7)));
            while phalanx::processor_name().is_ok() {
                std::thread::yield_now();
            }
            let refused = object_collectives(&world);
            std::fs::write(&mark, "done").expect("a temporary file");
            assert!(refused.iter().all(|it| it.as_ref().is_err_and(Error::is_thread)));
            inside.join().expect("no panic")
        })?;
        std::fs::remove_file(&mark).expect("its own file");
    } else if world.rank() == 1 {
        while !mark.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        world.send(&1_u8, to(0).tag(7))?;
    }
    object_collectives(&world).into_iter().collect::<Result<Vec<()>>>().map(drop)
}

#[phalanx::test(ranks = [1, 2, 3])]
fn elements_of_no_size_are_elements_everywhere(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let none = vec![[0.0_f64; 0]; 3];
    let all = vec![[0.0_f64; 0]; 3 * size];
    let mut data = none.clone();
    world.bcast(&mut data[..], 0)?;
    assert_eq!(world.allgather(&none)?, all);
    assert_eq!(world.gather(&none, 0)?, (rank == 0).then(|| all.clone()));
    assert_eq!(world.scatter((rank == 0).then_some(&all), 0)?, none);
    assert_eq!(world.alltoall(&all)?, all);
    assert_eq!(
        world.allgatherv(&vec![[0.0_f64; 0]; rank])?.counts(),
        (0..size).collect::<Vec<_>>()
    );
    let gathered = world.gatherv(&vec![[0.0_f64; 0]; rank], 0)?;
    assert_eq!(gathered.map(|it| it.counts().to_vec()), (rank == 0).then(|| (0..size).collect()));
    let inbox = world.alltoallv(&vec![vec![[0.0_f64; 0]; rank]; size])?;
    assert_eq!(inbox.counts(), (0..size).collect::<Vec<_>>());
    assert_eq!(world.allreduce(&none, Sum)?, none);
    assert_eq!(world.reduce(&none, Max, 0)?, (rank == 0).then(|| none.clone()));
    assert_eq!(world.scan(&none, Sum)?, none);
    assert_eq!(world.exscan(&none, Sum)?, (rank > 0).then(|| none.clone()));
    assert_eq!(world.reduce_scatter_block(&all, Sum)?, none);
    assert_eq!(world.reduce_scatter(&all, &vec![3; size], Sum)?, none);
    let keep = || op(|a: [f64; 0], _: [f64; 0]| a);
    assert_eq!(world.allreduce(&none, keep())?, none);
    assert_eq!(world.reduce(&none, keep(), 0)?, (rank == 0).then(|| none.clone()));
    assert_eq!(world.scan(&none, keep())?, none);
    assert_eq!(world.iallreduce(none.clone(), keep())?.wait()?, none);
    assert_eq!(world.iallgather(none.clone())?.wait()?, all);
    assert_eq!(world.reduce_scatter_block(&all, keep())?, none);
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    assert_eq!(ring.neighbor_allgather(&none)?.into_flat().len(), 6);
    assert_eq!(ring.neighbor_alltoallv(&vec![none.clone(); 2])?.counts(), [3, 3]);
    ring.free()
}

#[phalanx::test(ranks = [2, 3])]
fn a_broadcast_of_another_length_says_what_may_be_wrong(world: Comm) -> Result<()> {
    let mut buffer = vec![1_u64; if world.rank() == 0 { 5 } else { 3 }];
    if let Err(error) = world.bcast(&mut buffer[..], 0) {
        assert!(world.rank() != 0 && (error.is_truncated() || error.is_library()), "{error}");
        for part in ["different lengths", "bcast_vec", "PHALANX_WATCH=strict"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(!error.is_truncated() || error.to_string().contains("24 bytes"), "{error}");
    }
    Ok(())
}

#[phalanx::test(ranks = [2, 3], env("PHALANX_WATCH" = "strict"))]
fn in_strict_mode_both_lengths_are_named(world: Comm) -> Result<()> {
    let mut buffer = vec![1_u64; if world.rank() == 0 { 5 } else { 3 }];
    let error = world.bcast(&mut buffer[..], 0).expect_err("another length");
    for part in ["40 bytes", "24 bytes", "collective_errors.rs"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    Ok(())
}

//! Pools whose workers are the ranks of a communicator.

use phalanx::prelude::*;
use phalanx_process::{Pool, Process};

fn square(x: u64) -> u64 {
    x * x
}

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

#[phalanx::test(ranks = [1, 2, 3, 4, 7])]
fn results_come_in_the_order_of_the_items(world: Comm) -> Result {
    let root = Pool::on(&world, |pool| -> phalanx_process::Result<()> {
        assert_eq!(pool.workers(), (world.size() - 1).max(1));
        let squares = pool.map(square, 0..5000)?;
        assert!(squares.into_iter().eq((0..5000).map(square)));
        let some: Vec<u64> =
            pool.imap(square, 0..)?.take(100).collect::<std::result::Result<_, _>>()?;
        assert!(some.into_iter().eq((0..100).map(square)));
        let mut sum = 0;
        for (index, result) in pool.imap_unordered(square, 0..300)? {
            assert_eq!(result?, square(index as u64));
            sum += index;
        }
        assert_eq!(sum, 300 * 299 / 2);
        assert_eq!(pool.submit(square, 12)?.get()?, 144);
        Ok(())
    })?;
    assert_eq!(root.is_some(), world.rank() == 0);
    root.transpose()?;
    // The communicator is as it was.
    assert_eq!(world.allreduce(&1, Sum)? as usize, world.size());
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 4])]
fn all_ranks_but_the_first_work(world: Comm) -> Result {
    let ranks = Pool::builder().chunk(1).on(&world, |pool| {
        pool.map(
            |()| {
                std::thread::sleep(std::time::Duration::from_millis(3));
                std::process::id()
            },
            vec![(); 60],
        )
    })?;
    let pids = world.gather_object(&std::process::id(), 0)?;
    if let (Some(ran_on), Some(pids)) = (ranks, pids) {
        let mut ran_on = ran_on?;
        ran_on.sort_unstable();
        ran_on.dedup();
        let mut workers = if pids.len() == 1 { pids } else { pids[1..].to_vec() };
        workers.sort_unstable();
        assert_eq!(ran_on, workers);
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn large_items_results_and_shared_values_arrive(world: Comm) -> Result {
    let root = Pool::on(&world, |pool| -> phalanx_process::Result<()> {
        for round in 0..3_u64 {
            let table: Vec<u64> = (0..200_000).map(|x| x * round).collect();
            let look_up = |table: &Vec<u64>, index: usize| vec![table[index]; 50_000];
            let found = pool.map_with(&table, look_up, (0..12).map(|x| x * 1000))?;
            for (index, found) in found.into_iter().enumerate() {
                assert_eq!((found.len(), found[7]), (50_000, index as u64 * 1000 * round));
            }
        }
        let lengths =
            pool.map(|item: Vec<f64>| item.len(), (0..6).map(|x| vec![1.0; x * 100_000]))?;
        assert_eq!(lengths, [0, 100_000, 200_000, 300_000, 400_000, 500_000]);
        Ok(())
    })?;
    root.transpose()?;
    Ok(())
}

#[phalanx::test(ranks = [1, 3])]
fn a_panic_is_the_error_of_its_item_and_the_pool_goes_on(world: Comm) -> Result {
    fn odd_only(x: u64) -> u64 {
        assert!(x % 2 == 1, "{x} is even");
        x
    }
    let root = Pool::on(&world, |pool| -> phalanx_process::Result<()> {
        let error = pool.map(odd_only, [1, 3, 4, 5]).unwrap_err();
        assert_eq!(error.item(), Some(2));
        assert_eq!(error.panic().expect("it panicked").message, "4 is even");
        assert_eq!(pool.map(odd_only, [1, 3])?, [1, 3]);
        Ok(())
    })?;
    root.transpose()?;
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn an_initializer_that_fails_is_the_error_of_the_pool(world: Comm) -> Result {
    let root = Pool::builder()
        .initializer(|(): ()| panic!("no licence"), ())
        .on(&world, |pool| pool.map(square, 0..100).unwrap_err().to_string())?;
    if let Some(text) = root {
        assert!(text.contains("no licence"), "{text}");
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn pools_follow_each_other_and_unfinished_work_is_dropped(world: Comm) -> Result {
    for round in 0..5_u64 {
        let first = Pool::on(&world, |pool| {
            let mut results = pool.imap(square, 0..1000)?;
            results.nth(round as usize).transpose()
        })?;
        if let Some(first) = first {
            assert_eq!(first?, Some(square(round)));
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [2])]
fn processes_and_local_pools_work_beside_mpi(world: Comm) -> Result {
    assert_eq!(Process::spawn(square, 5)?.join()?, 25);
    let pool = Pool::new(2)?;
    assert_eq!(pool.map(square, [1, 2, 3])?, [1, 4, 9]);
    world.barrier()?;
    Ok(())
}

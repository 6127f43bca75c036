//! Code for two ranks, run for every pair.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use phalanx::prelude::*;

/// The same numbers on every rank.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

/// Synchronous sends alone: both sides wait for each other, twice.
fn trade(world: &Comm, peer: usize) -> phalanx::Result<usize> {
    let me = world.rank();
    let got = if me < peer {
        world.ssend(&me, peer)?;
        world.recv::<usize>(peer)?
    } else {
        let got = world.recv::<usize>(peer)?;
        world.ssend(&me, peer)?;
        got
    };
    world.sendrecv(&got, peer, peer).map(|mine| {
        assert_eq!(mine, me);
        got
    })
}

#[phalanx::test(ranks = [2, 3, 4, 5, 6, 7, 8, 9])]
fn pairs_of_random_graphs_meet_with_synchronous_sends_alone(world: Comm) -> phalanx::Result<()> {
    let (me, size) = (world.rank(), world.size());
    let mut random = Random(size as u64);
    for _ in 0..40 {
        let density = 1 + random.below(9);
        let mut peers = Vec::new();
        for one in 0..size {
            for other in one + 1..size {
                if random.below(10) < density && (one == me || other == me) {
                    peers.push(one + other - me);
                }
            }
        }
        // Lists in any order.
        if me % 2 == 1 {
            peers.reverse();
        }
        assert_eq!(world.pairwise(&peers, |peer| trade(&world, peer))?, peers);
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5, 6, 7, 8, 9])]
fn all_meet_all_once(world: Comm) -> phalanx::Result<()> {
    let me = world.rank();
    let others: Vec<usize> = (0..world.size()).filter(|&rank| rank != me).collect();
    assert_eq!(world.pairwise_all(|peer| trade(&world, peer))?, others);
    assert_eq!(world.pairwise(&others, |peer| trade(&world, peer))?, others);
    let as_set: BTreeSet<usize> = others.iter().copied().collect();
    assert_eq!(world.pairwise(as_set, |peer| trade(&world, peer))?, others);
    let nobody: [usize; 0] = [];
    assert!(world.pairwise(nobody, |peer| trade(&world, peer))?.is_empty());
    Ok(())
}

#[phalanx::test(ranks = [8])]
fn pairs_without_a_common_rank_run_at_the_same_time(world: Comm) -> phalanx::Result<()> {
    let (me, size) = (world.rank(), world.size());
    let neighbors = (0..size).filter(|other| other.abs_diff(me) == 1);
    let start = Instant::now();
    world.pairwise(neighbors, |peer| {
        trade(&world, peer)?;
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    })?;
    world.barrier()?;
    let time = start.elapsed();
    // Two rounds take 0.4 s; one pair after another would take 1.4 s.
    assert!(time < Duration::from_millis(1100), "it took {time:?}");
    Ok(())
}

#[phalanx::test(ranks = [2, 3, 5])]
fn a_rank_that_is_listed_twice_is_met_twice(world: Comm) -> phalanx::Result<()> {
    let (me, size) = (world.rank(), world.size());
    let around = [(me + 1) % size, (me + size - 1) % size];
    let mut meetings = 0;
    let met = world.pairwise(around, |peer| {
        meetings += 1;
        trade(&world, peer)
    })?;
    assert_eq!((&met[..], meetings), (&around[..], 2));
    Ok(())
}

#[phalanx::test(ranks = [2, 3, 4, 7])]
fn lists_that_do_not_agree_are_an_error_on_every_rank_before_anything_runs(
    world: Comm,
) -> phalanx::Result<()> {
    let (me, size) = (world.rank(), world.size());
    let never = |_: usize| -> phalanx::Result<()> { panic!("the closure runs") };

    let last = size - 1;
    let one_sided = if me == last { vec![0] } else { vec![] };
    let error = world.pairwise(&one_sided, never).unwrap_err();
    assert!(error.is_mismatch());
    let text = format!("rank {last} lists rank 0, but rank 0 does not list rank {last}");
    assert!(error.to_string().contains(&text), "{error}");
    assert!(error.to_string().contains("pairwise.rs"), "{error}");

    let uneven = match me {
        0 => vec![1, 1],
        1 => vec![0],
        _ => vec![],
    };
    let error = world.pairwise(&uneven, never).unwrap_err();
    assert!(error.to_string().contains("rank 0 lists rank 1 2 times"), "{error}");

    let itself = if me == 1 { vec![1] } else { vec![] };
    let error = world.pairwise(&itself, never).unwrap_err();
    assert!(error.is_invalid_rank() && error.detail().contains("rank 1 lists itself"), "{error}");

    let beyond = if me == 0 { vec![size + 3] } else { vec![] };
    let error = world.pairwise(&beyond, never).unwrap_err();
    assert!(error.is_invalid_rank(), "{error}");
    assert!(error.detail().contains(&format!("rank 0 lists rank {}", size + 3)), "{error}");
    Ok(())
}

#[phalanx::test(ranks = [2])]
fn an_error_of_the_closure_is_returned_at_once(world: Comm) -> phalanx::Result<()> {
    let me = world.rank();
    let mut calls = 0;
    let outcome = world.pairwise([1 - me, 1 - me, 1 - me], |peer| {
        calls += 1;
        trade(&world, peer)?;
        // Both know when it goes wrong.
        if calls == 2 { world.send(&1, world.size()).map(|()| peer) } else { Ok(peer) }
    });
    assert!(outcome.unwrap_err().is_invalid_rank());
    assert_eq!(calls, 2);
    world.barrier()
}

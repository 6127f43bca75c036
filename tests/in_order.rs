//! One rank after another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use phalanx::prelude::*;

/// Nanoseconds on the clock that the ranks of a machine share.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock runs").as_nanos() as u64
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5, 6, 7, 8, 9])]
fn turns_follow_each_other_and_do_not_overlap(world: Comm) -> phalanx::Result<()> {
    let mut mine = Vec::new();
    // Two in a row: the second begins after the first is over everywhere.
    for _ in 0..2 {
        let turn = world.in_order(|| {
            let start = now();
            // The first ranks take the longest: without order they would be last.
            std::thread::sleep(Duration::from_millis(
                2 + world.size() as u64 - world.rank() as u64,
            ));
            [start, now()]
        })?;
        mine.extend(turn);
    }
    let all = world.allgather(&mine)?;
    let turns: Vec<&[u64]> = all.chunks(2).collect();
    for round in 0..2 {
        for rank in 0..world.size() {
            let turn = turns[2 * rank + round];
            assert!(turn[0] < turn[1]);
            let (next, in_round) = if rank + 1 < world.size() { (rank + 1, round) } else { (0, 1) };
            if (next, in_round) != (0, round) {
                assert!(
                    turn[1] <= turns[2 * next + in_round][0],
                    "rank {rank} and rank {next} overlap"
                );
            }
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 5])]
fn after_an_error_it_is_the_next_ranks_turn(world: Comm) -> phalanx::Result<()> {
    let outcome: Result<usize, String> = world.in_order(|| {
        if world.rank().is_multiple_of(2) {
            Err(format!("rank {} fails", world.rank()))
        } else {
            Ok(7)
        }
    })?;
    match outcome {
        Ok(value) => assert_eq!((world.rank() % 2, value), (1, 7)),
        Err(text) => assert_eq!(text, format!("rank {} fails", world.rank())),
    }
    assert_eq!(world.in_order(|| world.rank())?, world.rank());
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn messages_of_the_program_are_not_the_baton(world: Comm) -> phalanx::Result<()> {
    let next = (world.rank() + 1) % world.size();
    let sending = world.isend([1, 2], next)?;
    let (mut turns, me) = (0, world.rank());
    world.in_order(|| turns += 1)?;
    assert_eq!(turns, 1);
    assert_eq!(world.recv::<Vec<i32>>((me + world.size() - 1) % world.size())?, [1, 2]);
    sending.wait().map(drop)
}

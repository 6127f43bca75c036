//! A call that is refused leaves no trace: nothing is counted, noted, registered or taken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use phalanx::Threading;
use phalanx::prelude::*;
use phalanx::testing::traces;

#[path = "programs/operations.rs"]
mod operations;

use operations::{Things, attempts};

#[track_caller]
fn all_are_refused(things: &Things) {
    for (operation, result) in attempts(things) {
        let error = match result {
            Err(error) => error,
            Ok(()) => panic!("{operation} was allowed"),
        };
        assert!(error.is_thread(), "{operation}: {error}");
    }
}

/// The private tags of all ranks are still the same, and so are the numbers of their collectives.
fn all_still_meet(world: &Comm) -> phalanx::Result<()> {
    let n = world.size();
    assert_eq!(world.allreduce_object(1, |a, b| a + b)?, n as i32);
    assert_eq!(world.iallgather_object(world.rank())?.wait()?, (0..n).collect::<Vec<_>>());
    assert_eq!(world.shift_object(&world.rank(), 1)?, (world.rank() + n - 1) % n);
    assert_eq!(world.allreduce(&1, Sum)?, n as i32);
    assert!(world.try_probe(any())?.is_none());
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn calls_of_a_thread_that_may_not_call_leave_no_trace(world: Comm) -> phalanx::Result<()> {
    if phalanx::threading() > Threading::Funneled {
        println!("not tested: this MPI grants {:?}", phalanx::threading());
        return Ok(());
    }
    let things = Things::new(&world)?;
    // On one rank alone: what it took, the others would not have.
    if world.rank() == 0 {
        let before = traces(&world);
        thread::scope(|s| {
            s.spawn(|| all_are_refused(&things));
        });
        assert_eq!(traces(&world), before);
    }
    all_still_meet(&world)
}

#[phalanx::test(ranks = [2, 3], threads = "serialized")]
fn calls_at_the_same_time_as_another_leave_no_trace(world: Comm) -> phalanx::Result<()> {
    if phalanx::threading() != Threading::Serialized {
        println!("not tested: this MPI grants {:?}", phalanx::threading());
        return Ok(());
    }
    let things = Things::new(&world)?;
    if world.rank() == 0 {
        let go_on = AtomicBool::new(false);
        thread::scope(|s| -> phalanx::Result<()> {
            // The closure of a collective runs inside of it: the permit is held for as long as this takes.
            let inside = s.spawn(|| {
                world.self_comm()?.in_order(|| {
                    go_on.store(true, Ordering::Release);
                    while go_on.load(Ordering::Acquire) {
                        thread::yield_now();
                    }
                })
            });
            while !go_on.load(Ordering::Acquire) {
                thread::yield_now();
            }
            let before = traces(&world);
            all_are_refused(&things);
            assert_eq!(traces(&world), before);
            go_on.store(false, Ordering::Release);
            inside.join().expect("no panic")
        })?;
    }
    all_still_meet(&world)
}

/// Rank 1 answers each question of rank 0 a little later, while other threads of rank 0 ask for the answers,
/// which they may not.
#[phalanx::test(ranks = [2])]
fn a_receive_that_is_refused_takes_no_message(world: Comm) -> phalanx::Result<()> {
    const ROUNDS: u64 = 3000;
    if phalanx::threading() > Threading::Funneled {
        println!("not tested: this MPI grants {:?}", phalanx::threading());
        return Ok(());
    }
    if world.rank() == 1 {
        for _ in 0..ROUNDS {
            let number: u64 = world.recv(0)?;
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(20 + number % 80) {
                std::hint::spin_loop();
            }
            world.send(&[number; 4], 0)?;
        }
        return Ok(());
    }
    let (stop, refused) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let error =
                        world.irecv_at_most::<Vec<u64>>(4, any()).map(drop).expect_err("a refusal");
                    assert!(error.is_thread(), "{error}");
                    let error = world.irecv_object::<u64>(any()).map(drop).expect_err("a refusal");
                    assert!(error.is_thread(), "{error}");
                    refused.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
            });
        }
        let answers = (0..ROUNDS).try_for_each(|number| {
            world.send(&number, 1)?;
            assert_eq!(world.recv::<Vec<u64>>(1)?, [number; 4]);
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        answers
    })?;
    assert!(refused.load(Ordering::Relaxed) > 0);
    Ok(())
}

/// What is dropped where it cannot be freed is freed later, where it can.
#[phalanx::test(ranks = [1, 2])]
fn what_another_thread_drops_is_freed_later(world: Comm) -> phalanx::Result<()> {
    if phalanx::threading() > Threading::Funneled {
        println!("not tested: this MPI grants {:?}", phalanx::threading());
        return Ok(());
    }
    let me = world.rank();
    let alone = world.self_comm()?;
    let before = traces(&world);
    let data: Vec<f64> = vec![1.0; 12];
    // Many: a table of the library, or ours, would be full.
    for _ in 0..100 {
        let view = phalanx::Strided::column(&data, 4, 1)?;
        let group = world.group()?;
        let receiving = world.irecv_into([0_u8; 4], from(me).tag(3))?;
        let reduction = world.iallreduce([1_u64; 4], op(|a: u64, b: u64| a + b))?;
        thread::scope(|s| {
            s.spawn(move || drop((view, group, receiving, reduction)));
        });
        world.barrier()?;
    }
    // Where requests are made, what is complete is let go of.
    let start = Instant::now();
    let settled = |text: &str| {
        ["requests", "reductions", "handles"].map(|what| {
            let end = text.find(what).expect("such a number");
            text[..end].trim_end().rsplit([' ', ',']).next().expect("a number").to_owned()
        })
    };
    while settled(&traces(&world)) != settled(&before) {
        alone.ibarrier()?.wait()?;
        assert!(start.elapsed() < Duration::from_secs(20), "{}\n{before}", traces(&world));
    }
    // The receives were cancelled: they take nothing.
    let sending = world.isend([7_u8; 4], to(me).tag(3))?;
    assert_eq!(world.recv::<Vec<u8>>(from(me).tag(3))?, [7; 4]);
    sending.wait()?;
    world.barrier()
}

#[derive(Clone, Copy, Debug, Default, Element)]
#[repr(C)]
struct Reading {
    at: u64,
    value: f64,
}

/// The type of the elements is made in the first call, which is refused before that: its error is that of the call.
#[phalanx::test(ranks = [1, 2])]
fn a_call_that_cannot_make_its_type_says_which_call_it_is(world: Comm) -> phalanx::Result<()> {
    let outcomes = thread::scope(|s| {
        let calls = s.spawn(|| {
            let mut one = [Reading::default()];
            [
                ("bcast", world.bcast(&mut one, 0)),
                ("gather", world.gather(&one, 0).map(drop)),
                ("allgather", world.allgather(&one).map(drop)),
                ("scatter", world.scatter_into(Some(&one[..]), &mut one.clone(), 0)),
            ]
        });
        calls.join().expect("no panic")
    });
    for (operation, outcome) in outcomes {
        let text = outcome.expect_err("another thread may not call").to_string();
        assert!(text.starts_with(operation), "{text}");
        assert!(text.contains("refused.rs:"), "the line of the program: {text}");
    }
    Ok(())
}

//! A posted receive needs nothing of its rank but that it calls MPI: its sender is released also while the rank
//! is inside of a collective call.

use phalanx::prelude::*;
use phalanx::{Request, RequestSet, Result};
use serde::{Deserialize, Serialize};

/// Too long for any buffer of an MPI library.
const LONG: usize = 1 << 17;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Recording {
    title: String,
    #[serde(with = "phalanx::plain")]
    samples: Vec<f64>,
    note: Option<u8>,
    #[serde(with = "phalanx::plain")]
    more: Vec<u16>,
}

fn recording() -> Recording {
    Recording {
        title: "noise".into(),
        samples: (0..LONG).map(|i| i as f64).collect(),
        note: Some(7),
        more: vec![3; LONG],
    }
}

/// What stands between a receive that is posted and the wait for it. Senders do the same after their send.
const BETWEEN: [fn(&Comm) -> Result<()>; 6] = [
    |world| world.barrier(),
    |world| world.allreduce(&1, Sum).map(drop),
    |world| world.ibarrier()?.wait(),
    |world| world.allgather_object(&"text".to_owned()).map(drop),
    |world| world.reduce_object(1, |a, b| a + b, 0).map(drop),
    |world| world.shift_object(&vec![1.0_f64; LONG / 8], 1).map(drop),
];

/// Rank 0 sends to all others, which have posted their receives.
fn to_all<R>(
    world: &Comm,
    post: impl Fn() -> Result<R>,
    send: impl Fn(usize) -> Result<()>,
    wait: impl Fn(R) -> Result<()>,
) -> Result<()> {
    for between in BETWEEN {
        if world.rank() == 0 {
            (1..world.size()).try_for_each(&send)?;
            between(world)?;
        } else {
            let posted = post()?;
            between(world)?;
            wait(posted)?;
        }
    }
    Ok(())
}

fn everything(world: &Comm) -> Result<()> {
    let big = vec![1.0_f64; LONG];
    // Elements.
    to_all(
        world,
        || world.irecv_at_most::<Vec<f64>>(LONG, 0),
        |rank| world.send(&big, rank),
        |posted| {
            assert!(posted.wait()? == big);
            Ok(())
        },
    )?;
    to_all(
        world,
        || world.irecv_into(vec![0.0; LONG + 1], 0),
        |rank| world.ssend(&big, rank),
        |posted| {
            assert!(posted.wait()?.0[..LONG] == big);
            Ok(())
        },
    )?;
    // Objects.
    for form in 0..3 {
        to_all(
            world,
            || world.irecv_object::<Vec<f64>>(0),
            |rank| match form {
                0 => world.send_object(&big, rank),
                1 => world.ssend_object(&big, rank),
                _ => world.isend_object(&big, rank)?.wait(),
            },
            |posted| {
                assert!(posted.wait()? == big);
                Ok(())
            },
        )?;
    }
    // Objects with fields that travel beside them.
    let recording = recording();
    to_all(
        world,
        || world.irecv_object::<Recording>(0),
        |rank| world.send_object(&recording, rank),
        |posted| {
            assert!(posted.wait()? == recording);
            Ok(())
        },
    )?;
    // Several in a set.
    to_all(
        world,
        || {
            let mut set = RequestSet::new();
            for _ in 0..3 {
                set.push(world.irecv_object::<Vec<f64>>(0)?);
            }
            Ok(set)
        },
        |rank| (0..3).try_for_each(|_| world.send_object(&big, rank)),
        |posted| {
            assert!(posted.wait_all()?.iter().all(|it| *it == big));
            Ok(())
        },
    )?;
    // Collectives of objects that are started.
    for between in BETWEEN {
        let given = (world.rank() == 0).then(|| big.clone());
        let request: Request<Vec<f64>> = world.ibcast_object(given, 0)?;
        let all = world.iallgather_object(world.rank())?;
        if world.rank() == 0 {
            assert!(request.wait()? == big);
            between(world)?;
        } else {
            between(world)?;
            assert!(request.wait()? == big);
        }
        assert!(all.wait()?.into_iter().eq(0..world.size()));
    }
    in_another_order(world)?;
    world.barrier()
}

/// The example of MPI-4.1, section 3.7.4: a synchronous send and a send are received in the other order.
fn in_another_order(world: &Comm) -> Result<()> {
    let big = vec![2_u64; LONG];
    match world.rank() {
        0 if world.size() > 1 => {
            world.ssend(&big, to(1).tag(0))?;
            world.send(&1, to(1).tag(1))?;
            world.ssend_object(&big, to(1).tag(2))?;
            world.send_object(&1, to(1).tag(3))?;
        }
        1 => {
            let first = world.irecv_at_most::<Vec<u64>>(LONG, from(0).tag(0))?;
            assert_eq!(world.recv::<i32>(from(0).tag(1))?, 1);
            assert!(first.wait()? == big);
            let first = world.irecv_object::<Vec<u64>>(from(0).tag(2))?;
            assert_eq!(world.recv_object::<i32>(from(0).tag(3))?, 1);
            assert!(first.wait()? == big);
        }
        _ => {}
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2], env("PHALANX_WAIT" = "library"))]
fn posted_receives_progress_inside_of_the_library_s_collectives(world: Comm) -> Result<()> {
    everything(&world)
}

#[phalanx::test(ranks = [2, 3, 5], env("PHALANX_WAIT" = "poll"))]
fn posted_receives_progress_inside_of_collectives_that_poll(world: Comm) -> Result<()> {
    everything(&world)
}

#[phalanx::test(ranks = [2], env("PHALANX_WATCH" = "strict"))]
fn posted_receives_progress_in_strict_mode(world: Comm) -> Result<()> {
    everything(&world)
}

#[phalanx::test(ranks = [2, 3], env("PHALANX_WATCH" = "off"))]
fn what_is_on_its_way_at_the_end_arrives_before_it(world: Comm) -> Result<()> {
    // The last call of rank 0 is the send; the others receive when it is about to finalize.
    let big = "x".repeat(8 * LONG);
    if world.rank() == 0 {
        return (1..world.size()).try_for_each(|rank| world.send_object(&big, rank));
    }
    let receiving = world.irecv_object::<String>(0)?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(receiving.wait()? == big);
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn sends_that_nobody_receives_yet_do_not_stop_a_program(world: Comm) -> Result<()> {
    const N: usize = 12;
    let big = "x".repeat(8 * LONG);
    // More is on its way than the library keeps without slowing down.
    phalanx::testing::set_object_budget((N - 3) * 8 * LONG);
    if world.rank() == 0 {
        let receives: Vec<_> =
            (0..N).map(|_| world.irecv_object::<String>(1)).collect::<Result<_>>()?;
        world.barrier()?;
        for receiving in receives {
            assert!(receiving.wait()? == big);
        }
        return Ok(());
    }
    if world.rank() == 1 {
        (0..N).try_for_each(|_| world.send_object(&big, 0))?;
    }
    world.barrier()
}

#[phalanx::test(ranks = [2])]
fn a_communicator_is_freed_while_its_objects_are_on_their_way(world: Comm) -> Result<()> {
    let big = "x".repeat(16 * LONG);
    for _ in 0..5 {
        let copy = world.dup()?;
        if world.rank() == 0 {
            copy.send_object(&big, 1)?;
            world.barrier()?;
        } else {
            let receiving = copy.irecv_object::<String>(0)?;
            world.barrier()?;
            assert!(receiving.wait()? == big);
        }
        copy.free()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn large_objects_cross_each_other(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let (right, left) = ((rank + 1) % size, (rank + size - 1) % size);
    let mine = recording();
    for round in 0..6 {
        let posted = world.irecv_object::<Recording>(left)?;
        let numbers = world.irecv_object::<Vec<u64>>(left)?;
        if round % 2 == rank % 2 {
            world.barrier()?;
        }
        world.send_object(&mine, right)?;
        world.send_object(&vec![round as u64; LONG], right)?;
        if round % 2 != rank % 2 {
            world.barrier()?;
        }
        assert!(posted.wait()? == mine);
        assert!(numbers.wait()? == vec![round as u64; LONG]);
    }
    Ok(())
}

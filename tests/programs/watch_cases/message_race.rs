//! Programs that are right only if messages come in a certain order.

use phalanx::prelude::*;

use crate::case::{Case, Outcome, case};

const KEYS: &[&str] = &["message race", "receive cycle", "wait cycle", "peer gone"];

pub fn cases() -> Vec<Case> {
    let race = |name, ranks, body: fn(&Comm, bool) -> Outcome| {
        case(name, ranks, body).explained(KEYS).depends_on_timing()
    };
    vec![
        race("any-then-the-second", 3, any_then_the_second),
        race("any-then-the-second-object", 3, |world, faulty| {
            if world.rank() > 0 {
                return Ok(world.send_object(&world.rank(), 0)?);
            }
            if faulty {
                world.recv_object::<usize>(any())?;
            } else {
                world.recv_object::<usize>(1)?;
            }
            world.recv_object::<usize>(2)?;
            Ok(())
        }),
        race("any-irecv-then-the-second", 3, |world, faulty| {
            if world.rank() > 0 {
                return Ok(world.send(&[world.rank()], 0)?);
            }
            let first = if faulty { any() } else { from(1) };
            let first = world.irecv_into(vec![0_usize], first)?;
            let second = world.irecv_into(vec![0_usize], 2)?;
            first.wait()?;
            second.wait()?;
            Ok(())
        }),
        race("probe-any-then-the-second", 3, |world, faulty| {
            if world.rank() > 0 {
                return Ok(world.send(&world.rank(), 0)?);
            }
            world.probe(if faulty { any() } else { from(1) })?.recv::<usize>()?;
            world.recv::<usize>(2)?;
            Ok(())
        }),
        race("two-rounds-with-one-tag", 3, two_rounds),
        // The order in which it goes wrong is the only one.
        case("any-takes-what-is-needed-next", 3, any_takes_what_is_needed_next)
            .explained(&["message race"]),
        race("first-come-is-answered", 3, first_come_is_answered),
    ]
}

/// The first message is taken for that of rank 1.
fn any_then_the_second(world: &Comm, faulty: bool) -> Outcome {
    if world.rank() > 0 {
        return Ok(world.send(&world.rank(), 0)?);
    }
    world.recv::<usize>(if faulty { any() } else { from(1) })?;
    world.recv::<usize>(2)?;
    Ok(())
}

/// Rank 1 takes the message of rank 0 for any message, and rank 2 sends when that is done.
fn any_takes_what_is_needed_next(world: &Comm, faulty: bool) -> Outcome {
    match world.rank() {
        0 => world.send(&1, 1)?,
        1 => {
            world.recv::<i32>(any())?;
            world.send(&2, 2)?;
            world.recv::<i32>(if faulty { 0 } else { 2 })?;
        }
        _ => {
            world.recv::<i32>(1)?;
            world.send(&3, 1)?;
        }
    }
    Ok(())
}

/// A fast rank's second message may be counted in the first round.
fn two_rounds(world: &Comm, faulty: bool) -> Outcome {
    let second = i32::from(!faulty);
    if world.rank() > 0 {
        world.send(&1, to(0).tag(0))?;
        world.send(&2, to(0).tag(second))?;
        return Ok(());
    }
    for _ in 1..world.size() {
        world.recv::<i32>(any().tag(0))?;
    }
    for rank in 1..world.size() {
        world.recv::<i32>(from(rank).tag(second))?;
    }
    Ok(())
}

/// Both ask, but only the first to come gets an answer from rank 0, and rank 2 waits for what rank
/// 1 makes of its own.
fn first_come_is_answered(world: &Comm, faulty: bool) -> Outcome {
    match world.rank() {
        0 => {
            let source = if faulty { any() } else { from(1) };
            let (_, status) = world.recv_with_status::<usize>(source)?;
            let first = status.source.ok_or("a message from nobody")?;
            world.send(&1, first)?;
            world.recv::<usize>(3 - first)?;
        }
        1 => {
            world.send(&1_usize, 0)?;
            world.recv::<i32>(0)?;
            world.send(&1, 2)?;
        }
        _ => {
            world.send(&2_usize, 0)?;
            world.recv::<i32>(1)?;
        }
    }
    Ok(())
}

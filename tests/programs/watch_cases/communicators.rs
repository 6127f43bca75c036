//! Several communicators: messages that go past each other, halves of the world, calls that are
//! intertwined.

use phalanx::prelude::*;

use crate::case::{Case, Outcome, case, name};
use crate::forms::{Receive, SENDS, large, ring, some_receives};

/// A duplicate, and its end.
fn with_a_dup(world: &Comm, body: impl FnOnce(&Comm) -> Outcome) -> Outcome {
    let dup = world.dup()?;
    body(&dup)?;
    Ok(dup.free()?)
}

pub fn mismatch() -> Vec<Case> {
    let mut cases = Vec::new();
    for form in some_receives() {
        let body = |world: &Comm, faulty| other_communicator(world, faulty, form);
        let name = name("other-communicator", form.name);
        cases.push(case(name, 2, body).explained(&["wrong communicator"]));
    }
    cases.push(
        case("other-communicator-any-source", 3, |world, faulty| {
            with_a_dup(world, |dup| {
                if world.rank() > 0 {
                    return Ok(dup.send(&1, 0)?);
                }
                for _ in 1..world.size() {
                    if faulty { world } else { dup }.recv::<i32>(any())?;
                }
                Ok(())
            })
        })
        // The senders have freed theirs, and left.
        .explained(&["wrong communicator", "peer gone"]),
    );
    // The same ranks, which have other numbers there.
    cases.push(
        case("other-communicator-with-other-ranks", 3, |world, faulty| {
            let reversed =
                world.split(Some(0), -(world.rank() as i32))?.ok_or("all have a color")?;
            match world.rank() {
                0 => world.send(&1, 1)?,
                1 if faulty => drop(reversed.recv::<i32>(0)?),
                1 => drop(world.recv::<i32>(0)?),
                _ => {}
            }
            Ok(reversed.free()?)
        })
        .explained(&["wrong communicator"]),
    );
    const APART: &[&str] = &["same collective on two communicators"];
    cases.push(
        case("barrier-on-other-communicator", 3, |world, faulty| {
            with_a_dup(world, |dup| {
                Ok(if faulty && world.rank() == 0 { world } else { dup }.barrier()?)
            })
        })
        .explained(APART),
    );
    cases.push(
        case("allreduce-on-other-communicator", 2, |world, faulty| {
            with_a_dup(world, |dup| {
                let comm = if faulty && world.rank() == 0 { world } else { dup };
                comm.allreduce(&1, Sum)?;
                Ok(())
            })
        })
        .explained(APART),
    );
    cases
}

fn other_communicator(world: &Comm, faulty: bool, form: &Receive) -> Outcome {
    with_a_dup(world, |dup| {
        match world.rank() {
            0 => (form.send)(dup, to(1))?,
            _ => (form.receive)(if faulty { world } else { dup }, from(0))?,
        }
        // It is in use for longer than for the one message.
        Ok(dup.barrier()?)
    })
}

/// The ranks of the same parity, and their end.
fn with_a_half(world: &Comm, body: impl FnOnce(&Comm) -> Outcome) -> Outcome {
    let color = (world.rank() % 2) as u32;
    let half = world.split(Some(color), 0)?.ok_or("every rank has a half")?;
    body(&half)?;
    Ok(half.free()?)
}

pub fn sub() -> Vec<Case> {
    vec![
        case("half-receive-cycle", 4, |world, faulty| {
            with_a_half(world, |half| {
                let (left, right) = ring(half);
                if half.rank() > 0 || (faulty && world.rank() % 2 == 1) {
                    half.recv::<i32>(left)?;
                    half.send(&1, right)?;
                } else {
                    half.send(&1, right)?;
                    half.recv::<i32>(left)?;
                }
                Ok(())
            })
        })
        .explained(&["receive cycle"]),
        case("half-send-cycle", 4, |world, faulty| {
            with_a_half(world, |half| {
                let (left, right) = ring(half);
                let form = &SENDS[0];
                if faulty || half.rank() > 0 {
                    (form.send)(half, &large(), to(right))?;
                    (form.receive)(half, from(left))?;
                } else {
                    (form.receive)(half, from(left))?;
                    (form.send)(half, &large(), to(right))?;
                }
                Ok(())
            })
        })
        .explained(&["send cycle"]),
        case("half-any-source-knot", 4, |world, faulty| {
            with_a_half(world, |half| {
                if !faulty && half.rank() == 0 {
                    half.send(&1, 1)?;
                }
                half.recv::<i32>(any())?;
                if half.rank() == 1 {
                    half.send(&1, 0)?;
                }
                Ok(())
            })
        })
        .explained(&["any-source knot"]),
        // One half meets in a barrier, from which one member stays away.
        case("half-barrier-missed", 4, |world, faulty| {
            with_a_half(world, |half| {
                if !(faulty && world.rank() == 2) {
                    half.barrier()?;
                }
                Ok(world.barrier()?)
            })
        })
        .explained(&["missing in a collective", "wait cycle"])
        .in_strict(&["missing in a collective", "wait cycle", "different collectives"]),
        case("half-root-mismatch", 4, |world, faulty| {
            with_a_half(world, |half| {
                half.gather(&[1; 4], if faulty { half.rank() } else { 0 })?;
                Ok(())
            })
        })
        .harmless(&["different root"]),
        // The number of a rank in the world, where the one in the half is meant.
        case("half-with-ranks-of-the-world", 4, |world, faulty| {
            with_a_half(world, |half| {
                if half.rank() == 0 {
                    half.send(&1, if faulty { world.rank() + 2 } else { 1 })?;
                } else {
                    half.recv::<i32>(0)?;
                }
                Ok(())
            })
        })
        .explained(&["invalid rank"]),
        case("half-receives-from-itself", 4, |world, faulty| {
            with_a_half(world, |half| {
                if half.rank() == 0 {
                    half.send(&1, 1)?;
                } else {
                    half.recv::<i32>(if faulty { half.rank() } else { 0 })?;
                }
                Ok(())
            })
        })
        .explained(&["waiting for itself"]),
    ]
}

const INTERTWINED: &[&str] = &["wait cycle"];

pub fn intertwined() -> Vec<Case> {
    vec![
        case("barriers-of-two-communicators", 2, |world, faulty| {
            with_a_dup(world, |dup| {
                let order = if faulty && world.rank() == 0 { [dup, world] } else { [world, dup] };
                Ok(order.into_iter().try_for_each(Comm::barrier)?)
            })
        })
        .explained(INTERTWINED),
        case("allreduces-of-two-communicators", 3, |world, faulty| {
            with_a_dup(world, |dup| {
                let order = if faulty && world.rank() == 0 { [dup, world] } else { [world, dup] };
                for comm in order {
                    comm.allreduce(&1, Sum)?;
                }
                Ok(())
            })
        })
        .explained(INTERTWINED),
        case("rows-and-columns", 4, rows_and_columns).explained(INTERTWINED),
        case("world-and-half", 4, |world, faulty| {
            with_a_half(world, |half| {
                let order = if faulty && world.rank() == 0 { [half, world] } else { [world, half] };
                Ok(order.into_iter().try_for_each(Comm::barrier)?)
            })
        })
        .explained(INTERTWINED),
        case("message-and-barrier-of-a-dup", 2, |world, faulty| {
            with_a_dup(world, |dup| {
                if world.rank() == 0 {
                    if faulty {
                        dup.barrier()?;
                        world.send(&1, 1)?;
                    } else {
                        world.send(&1, 1)?;
                        dup.barrier()?;
                    }
                } else {
                    world.recv::<i32>(0)?;
                    dup.barrier()?;
                }
                Ok(())
            })
        })
        .explained(INTERTWINED),
        case("ibarriers-of-two-communicators", 2, |world, faulty| {
            with_a_dup(world, |dup| {
                let order = if faulty && world.rank() == 0 { [dup, world] } else { [world, dup] };
                for comm in order {
                    comm.ibarrier()?.wait()?;
                }
                Ok(())
            })
        })
        .explained(INTERTWINED),
    ]
}

/// A grid of two by two in which each begins with another line: 0 and 3 with their rows, 1 and 2
/// with their columns.
fn rows_and_columns(world: &Comm, faulty: bool) -> Outcome {
    let (y, x) = (world.rank() / 2, world.rank() % 2);
    let row = world.split(Some(y as u32), 0)?.ok_or("every rank has a row")?;
    let column = world.split(Some(x as u32), 0)?.ok_or("every rank has a column")?;
    let order = if faulty && x != y { [&column, &row] } else { [&row, &column] };
    order.into_iter().try_for_each(Comm::barrier)?;
    row.free()?;
    Ok(column.free()?)
}

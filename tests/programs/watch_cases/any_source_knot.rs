//! Ranks that all wait for anybody.

use phalanx::prelude::*;

use crate::case::{Case, Outcome, case, name};
use crate::forms::{RECEIVES, Receive, ring};

const KNOT: &[&str] = &["any-source knot"];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for form in &RECEIVES {
        let name = name("any-source-knot", form.name);
        cases.push(case(name, 2, |world, faulty| around(world, faulty, form)).explained(KNOT));
    }
    for ranks in [3, 4] {
        let body = |world: &Comm, faulty| around(world, faulty, &RECEIVES[0]);
        cases.push(case(format!("any-source-knot-of-{ranks}"), ranks, body).explained(KNOT));
    }
    // Two wait for the one that waits for anybody.
    cases.push(
        case("any-source-knot-with-followers", 3, |world, faulty| {
            match world.rank() {
                0 if faulty => drop(world.recv::<i32>(any())?),
                0 => (1..3).try_for_each(|rank| world.send(&1, rank))?,
                _ => drop(world.recv::<i32>(0)?),
            }
            Ok(())
        })
        .explained(&["any-source knot", "wait cycle"]),
    );
    // The third has done its part, and waits for the others in a barrier.
    cases.push(
        case("any-source-knot-before-a-barrier", 3, |world, faulty| {
            match world.rank() {
                2 => world.send(&1, 0)?,
                1 if !faulty => world.send(&1, 0)?,
                1 => drop(world.recv::<i32>(any())?),
                _ => {
                    world.recv::<i32>(any())?;
                    world.recv::<i32>(any())?;
                }
            }
            Ok(world.barrier()?)
        })
        .explained(&["any-source knot", "wait cycle", "missing in a collective"]),
    );
    cases
}

fn around(world: &Comm, faulty: bool, form: &Receive) -> Outcome {
    let (_, right) = ring(world);
    if faulty || world.rank() > 0 {
        (form.receive)(world, any())?;
        (form.send)(world, to(right))?;
    } else {
        (form.send)(world, to(right))?;
        (form.receive)(world, any())?;
    }
    Ok(())
}

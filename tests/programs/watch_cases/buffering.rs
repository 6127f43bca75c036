//! Programs that go on only because the library copies small messages aside.

use phalanx::prelude::*;

use crate::case::{Case, case, name};
use crate::forms::{SENDS, ring, small};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for form in SENDS.iter().filter(|form| !form.synchronous) {
        let body = |world: &Comm, faulty| {
            let (left, right) = ring(world);
            if faulty || world.rank() > 0 {
                (form.send)(world, &small(), to(right))?;
                (form.receive)(world, from(left))?;
            } else {
                (form.receive)(world, from(left))?;
                (form.send)(world, &small(), to(right))?;
            }
            Ok(())
        };
        let name = name("small-send-cycle", form.name);
        cases.push(case(name, 3, body).harmless(&["send cycle", "wait cycle"]));
    }
    cases.push(
        case("small-send-to-itself", 2, |world, faulty| {
            let me = world.rank();
            if faulty {
                world.send(&1, me)?;
                world.recv::<i32>(me)?;
            } else {
                world.sendrecv(&1, me, me)?;
            }
            Ok(())
        })
        .harmless(&["waiting for itself", "send cycle"]),
    );
    cases.push(
        case("small-send-over-a-barrier", 2, |world, faulty| {
            if world.rank() == 0 {
                world.send(&1, 1)?;
                world.barrier()?;
            } else if faulty {
                world.barrier()?;
                world.recv::<i32>(0)?;
            } else {
                world.recv::<i32>(0)?;
                world.barrier()?;
            }
            Ok(())
        })
        .harmless(&["wait cycle", "missing in a collective"]),
    );
    cases.push(
        case("small-sends-with-crossed-tags", 2, |world, faulty| {
            if world.rank() == 0 {
                world.send(&1, to(1).tag(1))?;
                world.send(&2, to(1).tag(2))?;
                return Ok(());
            }
            for tag in if faulty { [2, 1] } else { [1, 2] } {
                world.recv::<i32>(from(0).tag(tag))?;
            }
            Ok(())
        })
        .harmless(&["wait cycle", "tag near miss"]),
    );
    cases
}

//! Communicators that one rank has freed while another one still waits on them.

use phalanx::prelude::*;

use crate::case::{Case, Outcome, case, name};
use crate::forms::{SENDS, large, some_receives};

const KEYS: &[&str] = &["freed communicator"];

/// A duplicate, which is freed at the end.
fn with_a_dup(world: &Comm, body: impl FnOnce(&Comm) -> Outcome) -> Outcome {
    let dup = world.dup()?;
    body(&dup)?;
    Ok(dup.free()?)
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for form in some_receives() {
        let body = |world: &Comm, faulty| {
            with_a_dup(world, |dup| {
                match dup.rank() {
                    0 if faulty => {}
                    0 => (form.send)(dup, to(1))?,
                    _ => (form.receive)(dup, from(0))?,
                }
                Ok(())
            })
        };
        cases.push(case(name("freed-instead-of-sent", form.name), 2, body).explained(KEYS));
    }
    cases.extend([
        case("freed-before-a-receive-from-anybody", 3, |world, faulty| {
            with_a_dup(world, |dup| {
                match dup.rank() {
                    1 => (0..2).try_for_each(|_| dup.recv::<i32>(any()).map(drop))?,
                    0 if faulty => {}
                    _ => dup.send(&1, 1)?,
                }
                Ok(())
            })
        })
        .explained(KEYS),
        case("freed-instead-of-received", 2, |world, faulty| {
            with_a_dup(world, |dup| {
                let form = &SENDS[0];
                match dup.rank() {
                    1 => (form.send)(dup, &large(), to(0))?,
                    _ if faulty => {}
                    _ => drop((form.receive)(dup, from(1))?),
                }
                Ok(())
            })
        })
        .explained(KEYS),
        case("freed-before-a-barrier", 3, |world, faulty| {
            with_a_dup(world, |dup| {
                if !(faulty && dup.rank() == 0) {
                    dup.barrier()?;
                }
                Ok(())
            })
        })
        .explained(&["missing in a collective"]),
        case("freed-after-one-message-too-few", 2, |world, faulty| {
            with_a_dup(world, |dup| {
                match dup.rank() {
                    0 => (0..if faulty { 1 } else { 2 }).try_for_each(|_| dup.send(&1, 1))?,
                    _ => (0..2).try_for_each(|_| dup.recv::<i32>(0).map(drop))?,
                }
                Ok(())
            })
        })
        .explained(KEYS),
        // Who has freed it waits somewhere else for the one that waits on it.
        case("freed-and-waiting-elsewhere", 2, |world, faulty| {
            let dup = world.dup()?;
            if world.rank() == 0 {
                if !faulty {
                    dup.send(&1, 1)?;
                }
                dup.free()?;
                world.recv::<i32>(1)?;
                return Ok(());
            }
            dup.recv::<i32>(0)?;
            world.send(&1, 0)?;
            Ok(dup.free()?)
        })
        .explained(KEYS),
    ]);
    cases
}

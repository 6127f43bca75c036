//! A rank that has left while another one waits for it.

use phalanx::prelude::*;

use crate::case::{Case, case, name};
use crate::forms::{RECEIVES, SENDS, large};

const GONE: &[&str] = &["peer gone"];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for form in &RECEIVES {
        let body = |world: &Comm, faulty| {
            match world.rank() {
                0 if faulty => {}
                0 => (form.send)(world, to(1))?,
                _ => (form.receive)(world, from(0))?,
            }
            Ok(())
        };
        cases.push(case(name("sender-gone", form.name), 2, body).explained(GONE));
    }
    for form in SENDS.iter().filter(|form| ["", "ssend", "issend", "object"].contains(&form.name)) {
        let body = |world: &Comm, faulty| {
            match world.rank() {
                0 => (form.send)(world, &large(), to(1))?,
                _ if faulty => {}
                _ => drop((form.receive)(world, from(0))?),
            }
            Ok(())
        };
        cases.push(case(name("receiver-gone", form.name), 2, body).explained(GONE));
    }
    // An iteration more on one side than on the other.
    cases.push(
        case("one-round-too-many", 2, |world, faulty| {
            let rounds = 3 + usize::from(faulty && world.rank() == 1);
            for round in 0..rounds {
                match world.rank() {
                    0 => world.send(&round, 1)?,
                    _ => drop(world.recv::<usize>(0)?),
                }
            }
            Ok(())
        })
        .explained(GONE),
    );
    cases.push(
        case("all-others-gone", 3, |world, faulty| {
            match world.rank() {
                0 => {
                    for _ in 1..world.size() + usize::from(faulty) {
                        world.recv::<usize>(any())?;
                    }
                }
                rank => world.send(&rank, 0)?,
            }
            Ok(())
        })
        .explained(&["peer gone", "any-source knot"]),
    );
    cases
}

//! A message whose tag is not the one that its receiver waits for.

use phalanx::prelude::*;

use crate::case::{Case, case, name};
use crate::forms::RECEIVES;

const KEYS: &[&str] = &["tag near miss"];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for form in &RECEIVES {
        let body = |world: &Comm, faulty| {
            match world.rank() {
                0 => (form.send)(world, to(1).tag(1))?,
                _ => (form.receive)(world, from(0).tag(if faulty { 2 } else { 1 }))?,
            }
            Ok(())
        };
        cases.push(case(name("other-tag", form.name), 2, body).explained(KEYS));
    }
    cases.push(
        case("other-tag-any-source", 3, |world, faulty| {
            match world.rank() {
                0 => {
                    for _ in 1..world.size() {
                        world.recv::<i32>(any().tag(if faulty { 2 } else { 1 }))?;
                    }
                }
                rank => world.send(&(rank as i32), to(0).tag(1))?,
            }
            Ok(())
        })
        .explained(KEYS),
    );
    // The sender waits too, so that each waits for the other.
    cases.push(
        case("other-tag-ssend", 2, |world, faulty| {
            match world.rank() {
                0 => world.ssend(&1, to(1).tag(1))?,
                _ => world.recv::<i32>(from(0).tag(if faulty { 2 } else { 1 })).map(drop)?,
            }
            Ok(())
        })
        .explained(KEYS),
    );
    // One message has the right tag: only the second does not come.
    cases.push(
        case("other-tag-second-time", 2, |world, faulty| {
            for step in 0..2 {
                let wrong = i32::from(faulty && step == 1);
                match world.rank() {
                    0 => world.send(&step, to(1).tag(4 + wrong))?,
                    _ => world.recv::<i32>(from(0).tag(4)).map(drop)?,
                }
            }
            Ok(())
        })
        .explained(KEYS),
    );
    cases
}

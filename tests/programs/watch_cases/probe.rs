//! Waits for a message that is only looked at.

use phalanx::prelude::*;

use crate::case::{Case, case};

pub fn cases() -> Vec<Case> {
    vec![
        case("probe-of-another-source", 3, |world, faulty| {
            match world.rank() {
                0 => world.ssend(&1, 1)?,
                1 => drop(world.probe(if faulty { 2 } else { 0 })?.recv::<i32>()?),
                _ => {}
            }
            Ok(world.barrier()?)
        })
        .explained(&["wait cycle", "missing in a collective"]),
        case("probe-any-of-another-tag", 2, |world, faulty| {
            match world.rank() {
                0 => world.send(&1, to(1).tag(1))?,
                _ => drop(world.probe(any().tag(if faulty { 3 } else { 1 }))?.recv::<i32>()?),
            }
            Ok(())
        })
        .explained(&["tag near miss"]),
        // Both look for a message first, in order to know how long it is.
        case("probe-for-the-length-first", 2, |world, faulty| {
            let other = 1 - world.rank();
            if faulty || world.rank() == 1 {
                let message = world.probe(other)?;
                let length = message.len::<f64>()?;
                message.recv_into(&mut vec![0.0; length])?;
                world.send(&[1.0; 3], other)?;
            } else {
                world.send(&[1.0; 3], other)?;
                world.recv::<Vec<f64>>(other)?;
            }
            Ok(())
        })
        .explained(&["receive cycle", "wait cycle"]),
        case("probe-once-too-often", 2, |world, faulty| {
            match world.rank() {
                0 => world.send(&1, 1)?,
                _ => {
                    for _ in 0..1 + usize::from(faulty) {
                        world.probe(0)?.recv::<i32>()?;
                    }
                }
            }
            Ok(())
        })
        .explained(&["peer gone"]),
    ]
}

//! Messages and collectives that wait for each other.

use phalanx::prelude::*;

use crate::case::{Case, case};
use crate::collectives::call;

const KEYS: &[&str] = &["wait cycle", "missing in a collective"];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in [
        "barrier",
        "allreduce",
        "allgather",
        "alltoall",
        "reduce",
        "gather",
        "ibarrier",
        "allgather-object",
    ] {
        let collective = call(name);
        let body = move |world: &Comm, faulty| {
            if world.rank() > 0 {
                world.recv::<i32>(0)?;
                return Ok(collective(world)?);
            }
            let send = || world.send(&1, 1);
            if faulty {
                collective(world)?;
                send()?;
            } else {
                send()?;
                collective(world)?;
            }
            Ok(())
        };
        cases.push(case(format!("{name}-before-the-send"), 2, body).explained(KEYS));
    }
    cases.push(
        case("ssend-over-a-barrier", 2, |world, faulty| {
            if world.rank() == 0 {
                world.ssend(&1, 1)?;
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
        .explained(KEYS),
    );
    // One rank of four takes the wrong branch.
    cases.push(
        case("one-receives-where-others-reduce", 4, |world, faulty| {
            if faulty && world.rank() == 3 {
                world.recv::<i32>(0)?;
            }
            world.allreduce(&1, Sum)?;
            Ok(())
        })
        .explained(KEYS),
    );
    cases
}

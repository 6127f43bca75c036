//! Non-blocking collectives: their order, what they are matched with, what waits for them.

use phalanx::prelude::*;
use phalanx::{Request, Result};

use crate::case::{Case, case};

type Start = fn(&Comm) -> Result<Request<()>>;

const PAIRS: [(&str, Start, Start); 3] = [
    (
        "ibarrier-before-ibcast",
        |comm| comm.ibarrier(),
        |comm| Ok(comm.ibcast(vec![1_i32; 4], 0)?.map(drop)),
    ),
    (
        "iallreduce-before-iallgather",
        |comm| Ok(comm.iallreduce(vec![1_i32; 4], Sum)?.map(drop)),
        |comm| Ok(comm.iallgather(vec![1_i32; 4])?.map(drop)),
    ),
    (
        "igather-before-ialltoall",
        |comm| Ok(comm.igather(vec![1_i32; 4], 0)?.map(drop)),
        |comm| Ok(comm.ialltoall(vec![1_i32; comm.size()])?.map(drop)),
    ),
];

pub fn cases() -> Vec<Case> {
    const OTHER: &[&str] = &["different collectives"];
    let case_of = |(name, one, other): (&str, Start, Start)| {
        case(name, 3, move |world, faulty| {
            let (first, second) =
                if faulty && world.rank() == 0 { (other, one) } else { (one, other) };
            let (first, second) = (first(world)?, second(world)?);
            first.wait()?;
            Ok(second.wait()?)
        })
        .harmless(OTHER)
    };
    let mut cases: Vec<Case> = PAIRS.into_iter().map(case_of).collect();
    cases.extend([
        // They do not match, whatever the library makes of it.
        case("ibarrier-and-barrier", 2, |world, faulty| {
            if faulty && world.rank() == 0 {
                world.ibarrier()?.wait()?;
            } else {
                world.barrier()?;
            }
            Ok(())
        })
        .harmless(OTHER),
        case("iallreduce-and-allreduce", 2, |world, faulty| {
            if faulty && world.rank() == 0 {
                world.iallreduce(vec![1; 4], Sum)?.wait()?;
            } else {
                world.allreduce(&[1; 4], Sum)?;
            }
            Ok(())
        })
        .harmless(OTHER),
        // The other rank joins only after a message that is sent behind the wait.
        case("ibarrier-waited-for-too-early", 2, |world, faulty| {
            if world.rank() == 0 {
                let barrier = world.ibarrier()?;
                if faulty {
                    barrier.wait()?;
                    world.send(&1, 1)?;
                } else {
                    world.send(&1, 1)?;
                    barrier.wait()?;
                }
            } else {
                world.recv::<i32>(0)?;
                world.ibarrier()?.wait()?;
            }
            Ok(())
        })
        .explained(&["wait cycle", "missing in a collective"]),
        case("iallreduce-once-too-often", 2, |world, faulty| {
            let mut requests = Vec::new();
            for _ in 0..2 + usize::from(faulty && world.rank() == 0) {
                requests.push(world.iallreduce(vec![1; 4], Sum)?);
            }
            for request in requests {
                request.wait()?;
            }
            Ok(())
        })
        .explained(&["missing in a collective", "peer gone"]),
    ]);
    cases
}

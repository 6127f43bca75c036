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

/// Collectives that some ranks alone begin, in forms that end there all the same, and nothing after them.
pub fn one_sided() -> Vec<Case> {
    type Begin = fn(&Comm) -> Result<()>;
    fn ended<R: 'static>(request: Result<Request<R>>) -> Result<()> {
        request?.wait().map(drop)
    }
    // Whether rank 0 begins it, or all others do.
    let calls: [(&str, bool, Begin); 7] = [
        ("ibcast", true, |comm| ended(comm.ibcast(vec![1; 4], 0))),
        ("iscatter", true, |comm| {
            let blocks = (comm.rank() == 0).then(|| vec![1; comm.size()]);
            ended(comm.iscatter(blocks, 1, 0))
        }),
        ("iscan", true, |comm| ended(comm.iscan(1, Sum))),
        ("iexscan", true, |comm| ended(comm.iexscan(1, Sum))),
        ("igather", false, |comm| ended(comm.igather(1, 0))),
        ("ireduce", false, |comm| ended(comm.ireduce(1, Sum, 0))),
        ("igather-object", false, |comm| ended(comm.igather_object(1, 0))),
    ];
    let case_of = |(name, first, begin): (&str, bool, Begin)| {
        case(format!("{name}-that-not-all-begin"), 3, move |world, faulty| {
            if !faulty || (world.rank() == 0) == first {
                begin(world)?;
            }
            Ok(())
        })
        .harmless(&["missing in a collective", "peer gone"])
    };
    calls.into_iter().map(case_of).collect()
}

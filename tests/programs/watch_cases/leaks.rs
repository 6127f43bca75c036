//! What is started or made, and never ended.

use phalanx::prelude::*;
use phalanx::{RequestSet, Result};

use crate::case::{Case, case};

type Start = fn(&Comm, bool) -> Result<()>;

/// Waits for it, or drops it.
macro_rules! end {
    ($faulty:expr, $request:expr) => {{
        let request = $request;
        if $faulty {
            drop(request);
            return Ok(());
        }
        request.wait().map(drop)
    }};
}

/// Takes it back, or drops it.
macro_rules! cancel {
    ($faulty:expr, $request:expr) => {{
        let request = $request;
        if $faulty {
            drop(request);
            return Ok(());
        }
        request.cancel().map(drop)
    }};
}

const UNWAITED: &[&str] = &["dropped without wait", "never completed"];

/// A request that completes, of which the program never asks whether it did.
pub fn missing_wait() -> Vec<Case> {
    let calls: [(&str, Start); 8] = [
        ("isend", |comm, faulty| match comm.rank() {
            0 => end!(faulty, comm.isend(vec![1; 4], 1)?),
            _ => comm.recv::<Vec<i32>>(0).map(drop),
        }),
        ("issend", |comm, faulty| match comm.rank() {
            0 => end!(faulty, comm.issend(vec![1; 4], 1)?),
            _ => comm.recv::<Vec<i32>>(0).map(drop),
        }),
        ("irecv-into", |comm, faulty| match comm.rank() {
            0 => end!(faulty, comm.irecv_into(vec![0; 4], 1)?),
            _ => comm.send(&[1; 4], 0),
        }),
        ("isend-object", |comm, faulty| match comm.rank() {
            0 => end!(faulty, comm.isend_object(&"text", 1)?),
            _ => comm.recv_object::<String>(0).map(drop),
        }),
        ("ibarrier", |comm, faulty| end!(faulty, comm.ibarrier()?)),
        ("ibcast", |comm, faulty| end!(faulty, comm.ibcast(vec![1; 4], 0)?)),
        ("iallreduce", |comm, faulty| end!(faulty, comm.iallreduce(vec![1; 4], Sum)?)),
        ("one-of-a-set", |comm, faulty| {
            if comm.rank() == 1 {
                return (0..2).try_for_each(|_| comm.recv::<i32>(0).map(drop));
            }
            let mut set = RequestSet::new();
            set.push(comm.isend(vec![1], 1)?);
            set.push(comm.isend(vec![2], 1)?);
            if faulty {
                return set.wait_any().map(drop);
            }
            set.wait_all().map(drop)
        }),
    ];
    let case_of = |(name, call): (&str, Start)| {
        case(format!("{name}-not-waited-for"), 2, move |world, faulty| {
            call(world, faulty)?;
            Ok(world.barrier()?)
        })
        .harmless(UNWAITED)
    };
    calls.into_iter().map(case_of).collect()
}

/// A request that nobody has any more, and that never completes.
pub fn request() -> Vec<Case> {
    // Without the fault it is taken back.
    let calls: [(&str, Start); 3] = [
        ("irecv-into", |comm, faulty| {
            let request = comm.irecv_into(vec![0; 4], from(1).tag(77))?;
            cancel!(faulty, request)
        }),
        ("irecv", |comm, faulty| cancel!(faulty, comm.irecv::<i32>(from(1).tag(77))?)),
        ("irecv-object", |comm, faulty| {
            cancel!(faulty, comm.irecv_object::<String>(from(1).tag(77))?)
        }),
    ];
    let case_of = |(name, call): (&str, Start)| {
        case(format!("{name}-that-nothing-matches"), 2, move |world, faulty| {
            if world.rank() == 0 {
                call(world, faulty)?;
            }
            Ok(world.barrier()?)
        })
        .explained(&["never completed"])
    };
    let mut cases: Vec<Case> = calls.into_iter().map(case_of).collect();
    cases.push(
        case("irecv-into-forgotten", 2, |world, faulty| {
            if world.rank() == 0 {
                let request = world.irecv_into(vec![0; 4], from(1).tag(77))?;
                if faulty {
                    std::mem::forget(request);
                } else {
                    request.cancel()?;
                }
            }
            Ok(world.barrier()?)
        })
        .harmless(UNWAITED),
    );
    cases.push(
        case("isend-forgotten", 2, |world, faulty| {
            if world.rank() == 0 {
                let request = world.isend(vec![1; 4], 1)?;
                if faulty {
                    std::mem::forget(request);
                } else {
                    request.wait()?;
                }
            } else {
                world.recv::<Vec<i32>>(0)?;
            }
            Ok(world.barrier()?)
        })
        .harmless(UNWAITED),
    );
    cases
}

/// A communicator that is dropped and not freed.
pub fn communicator() -> Vec<Case> {
    type Make = fn(&Comm) -> Result<Comm>;
    let calls: [(&str, Make); 5] = [
        ("dup", |world| world.dup()),
        ("split", |world| world.split(Some(0), 0).map(|half| half.expect("a color was given"))),
        ("split-by-node", |world| world.split_by_node()),
        ("create", |world| world.create(&world.group()?).map(|comm| comm.expect("a member"))),
        ("create-group", |world| world.create_group(&world.group()?, 3)),
    ];
    let case_of = |(name, make): (&str, Make)| {
        case(format!("{name}-not-freed"), 2, move |world, faulty| {
            let comm = make(world)?;
            comm.barrier()?;
            if !faulty {
                comm.free()?;
            }
            Ok(())
        })
        .harmless(&["never freed"])
    };
    let mut cases: Vec<Case> = calls.into_iter().map(case_of).collect();
    cases.push(
        case("some-of-many-not-freed", 2, |world, faulty| {
            for step in 0..5 {
                let dup = world.dup()?;
                if faulty && step == 3 {
                    // One that is dropped is freed with the next that is made.
                    std::mem::forget(dup);
                } else {
                    dup.free()?;
                }
            }
            Ok(())
        })
        .harmless(&["never freed"]),
    );
    cases
}

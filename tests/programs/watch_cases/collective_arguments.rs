//! The same collective on all ranks, whose arguments do not agree.

use phalanx::prelude::*;
use phalanx::{Reduction, Result};

use crate::case::{Case, case};
use crate::collectives::{ROOTED, typed};

pub fn root() -> Vec<Case> {
    let case_of = |&(name, call): &(&str, crate::collectives::WithRoot)| {
        case(format!("root-of-{name}"), 3, move |world, faulty| {
            call(world, if faulty { world.rank().min(1) } else { 0 })?;
            Ok(())
        })
        .harmless(&["different root"])
    };
    ROOTED.iter().map(case_of).collect()
}

/// Types of the same size: no library can know.
pub fn element_type() -> Vec<Case> {
    let (integers, floats) = (typed::<i32>(), typed::<f32>());
    let case_of =
        |(integer, float): (crate::collectives::Typed<i32>, crate::collectives::Typed<f32>)| {
            case(format!("type-of-{}", integer.name), 2, move |world, faulty| {
                if faulty && world.rank() == 1 {
                    (float.call)(world, vec![1.0; 4])?;
                } else {
                    (integer.call)(world, vec![1; 4])?;
                }
                Ok(())
            })
            .harmless(&["different type"])
        };
    integers.into_iter().zip(floats).map(case_of).collect()
}

pub fn count() -> Vec<Case> {
    let mut cases: Vec<Case> = typed::<i32>()
        .into_iter()
        .map(|it| {
            case(format!("count-of-{}", it.name), 2, move |world, faulty| {
                let length = if faulty && world.rank() == 1 { 5 } else { 4 };
                (it.call)(world, vec![1; length])?;
                Ok(())
            })
            .harmless(&["different count"])
        })
        .collect();
    // The counts of the root are its own affair, but not that they are too small.
    let gatherv = case("count-of-gatherv-into", 2, |world, faulty| {
        let length = if faulty && world.rank() == 1 { 3 } else { 2 };
        let mut all = [0; 4];
        let room = (world.rank() == 0).then_some((&mut all[..], &[2_usize, 2][..]));
        world.gatherv_into(&vec![1; length], room, 0)?;
        Ok(())
    });
    cases.push(gatherv.harmless(&["message truncated", "different count"]));
    cases
}

pub fn reduction() -> Vec<Case> {
    type Call = fn(&Comm, bool) -> Result<()>;
    /// The call with the one reduction or with the other.
    macro_rules! either {
        ($comm:ident, $op:ident => $call:expr) => {
            |$comm, other| {
                if other { either!(@ $op = Max => $call) } else { either!(@ $op = Sum => $call) }
            }
        };
        (@ $op:ident = $it:expr => $call:expr) => {{
            let $op = $it;
            $call.map(drop)
        }};
    }
    let calls: [(&str, Call); 8] = [
        ("reduce", either!(comm, op => comm.reduce(&[1_i32; 4], op, 0))),
        ("allreduce", either!(comm, op => comm.allreduce(&[1_i32; 4], op))),
        ("allreduce-in-place", either!(comm, op => comm.allreduce_in_place(&mut [1_i32; 4], op))),
        ("scan", either!(comm, op => comm.scan(&[1_i32; 4], op))),
        ("exscan", either!(comm, op => comm.exscan(&[1_i32; 4], op))),
        ("reduce-scatter-block", either!(comm, op => comm.reduce_scatter_block(&[1_i32; 4], op))),
        ("iallreduce", either!(comm, op => comm.iallreduce(vec![1_i32; 4], op)?.wait())),
        ("ireduce", either!(comm, op => comm.ireduce(vec![1_i32; 4], op, 0)?.wait())),
    ];
    let case_of = |(name, call): (&str, Call)| {
        case(format!("reduction-of-{name}"), 2, move |world, faulty| {
            call(world, faulty && world.rank() == 1)?;
            Ok(())
        })
        .harmless(&["different reduction"])
    };
    let mut cases: Vec<Case> = calls.into_iter().map(case_of).collect();
    cases.push(
        case("reduction-of-own-and-built-in", 2, |world, faulty| {
            if faulty && world.rank() == 1 {
                sum(world, op(|a: i32, b| a.max(b)))
            } else {
                sum(world, Sum)
            }
            .map_err(Into::into)
        })
        .harmless(&["different reduction"]),
    );
    cases
}

fn sum(world: &Comm, op: impl Reduction<i32>) -> Result<()> {
    world.allreduce(&[1_i32; 4], op).map(drop)
}

//! Arguments that cannot be right, whatever the other ranks do.

use phalanx::prelude::*;

use crate::case::{Case, Outcome, case};
use crate::forms::large;

/// Exchanges a message of one integer between two ranks; each argument may be wrong on rank 0.
fn exchange(world: &Comm, destination: usize, tag: i32, source: usize) -> Outcome {
    if world.rank() == 0 {
        world.send(&1, to(destination).tag(tag))?;
        world.recv::<i32>(source)?;
    } else {
        world.recv::<i32>(from(0).tag(tag.max(0)))?;
        world.send(&1, 0)?;
    }
    Ok(())
}

pub fn cases() -> Vec<Case> {
    let bad = |faulty: bool, wrong: usize, right: usize| if faulty { wrong } else { right };
    let mut cases = vec![
        case("send-to-no-rank", 2, move |world, faulty| exchange(world, bad(faulty, 2, 1), 0, 1))
            .explained(&["invalid rank"]),
        case("receive-from-no-rank", 2, move |world, faulty| {
            exchange(world, 1, 0, bad(faulty, 7, 1))
        })
        .explained(&["invalid rank"]),
        case("negative-tag", 2, |world, faulty| exchange(world, 1, if faulty { -5 } else { 5 }, 1))
            .explained(&["invalid tag"]),
        case("irecv-from-no-rank", 2, move |world, faulty| {
            let other = 1 - world.rank();
            let receiving = world.irecv_into(vec![0], bad(faulty, 2, other))?;
            world.send(&[1], other)?;
            receiving.wait()?;
            Ok(())
        })
        .explained(&["invalid rank"]),
        case("sendrecv-to-no-rank", 2, move |world, faulty| {
            let other = 1 - world.rank();
            world.sendrecv(&1, bad(faulty, 3, other), other)?;
            Ok(())
        })
        .explained(&["invalid rank"]),
    ];
    let root = |faulty: bool| if faulty { 2 } else { 0 };
    cases.extend([
        case("bcast-from-no-rank", 2, move |world, faulty| {
            Ok(world.bcast(&mut [1; 4], root(faulty))?)
        })
        .explained(&["invalid root"]),
        case("reduce-to-no-rank", 2, move |world, faulty| {
            world.reduce(&1, Sum, root(faulty))?;
            Ok(())
        })
        .explained(&["invalid root"]),
        case("gather-object-to-no-rank", 2, move |world, faulty| {
            world.gather_object(&1, root(faulty))?;
            Ok(())
        })
        .explained(&["invalid root"]),
        case("scatter-does-not-divide", 2, |world, faulty| {
            let data = vec![1; if faulty { 3 } else { 4 }];
            world.scatter((world.rank() == 0).then_some(&data), 0)?;
            Ok(())
        })
        .explained(&["invalid length"]),
        case("alltoall-does-not-divide", 2, |world, faulty| {
            world.alltoall(&vec![1; if faulty { 5 } else { 4 }])?;
            Ok(())
        })
        .explained(&["invalid length"]),
        case("scatter-of-nothing", 2, |world, faulty| {
            let data = [1; 4];
            world.scatter((world.rank() == 0 && !faulty).then_some(&data), 0)?;
            Ok(())
        })
        .explained(&["invalid length"]),
        case("counts-of-another-number-of-ranks", 2, |world, faulty| {
            let counts = if faulty { &[1, 1, 2][..] } else { &[1, 3] };
            world.reduce_scatter(&[1; 4], counts, Sum)?;
            Ok(())
        })
        .explained(&["invalid length"]),
        // A small message may find its way without a buffer.
        case("bsend-without-buffer", 2, |world, faulty| {
            if world.rank() == 1 {
                world.recv::<Vec<f64>>(0)?;
                return Ok(());
            }
            let data = large();
            if !faulty {
                phalanx::attach_buffer(size_of_val(&data[..]) + phalanx::bsend_overhead())?;
            }
            Ok(world.bsend(&data, 1)?)
        })
        .explained(&["no room for a buffered send"]),
        case("group-of-no-rank", 2, |world, faulty| {
            world.group()?.include(&[0, if faulty { 2 } else { 1 }])?;
            Ok(())
        })
        .explained(&["invalid rank"]),
    ]);
    cases
}

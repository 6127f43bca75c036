//! Collectives into buffers of the caller's.

use phalanx::prelude::*;

use crate::measure::{Buffers, Contestant, Effort, compete};
use crate::reference;
use crate::row::{Goal, Row, Title, compare};

const SIZES: [usize; 3] = [8, 64 << 10, 8 << 20];

pub fn rows(world: &Comm, effort: &Effort) -> phalanx::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let ranks = world.size();
    for bytes in SIZES {
        let n = bytes / size_of::<f64>();
        let mut row = |name: &str, send, recv, ours: Contestant<'_, _>, c: Contestant<'_, _>| {
            if effort.wants(name, bytes) {
                let mut buffers = Buffers::new(send, recv);
                let times = compete(world, effort, &mut buffers, &mut [ours, c])?;
                let title = Title { name, ranks, bytes, per_iteration: 1.0 };
                rows.push(compare(&title, &times[0], "C", &times[1], Goal::AtMost(1.02)));
            }
            phalanx::Result::Ok(())
        };
        row(
            "bcast",
            0,
            n,
            &mut |Buffers { recv, .. }, times| {
                let mut root = 0;
                for _ in 0..times {
                    world.bcast(&mut recv[..], root)?;
                    root = if root + 1 == ranks { 0 } else { root + 1 };
                }
                Ok(())
            },
            &mut |Buffers { recv, .. }, times| {
                reference::bcast(world, recv, times);
                Ok(())
            },
        )?;
        row(
            "allreduce",
            n,
            n,
            &mut |Buffers { send, recv }, times| {
                (0..times).try_for_each(|_| world.allreduce_into(send, recv, Sum))
            },
            &mut |Buffers { send, recv }, times| {
                reference::allreduce(world, send, recv, times);
                Ok(())
            },
        )?;
        row(
            "allgather",
            n,
            n * ranks,
            &mut |Buffers { send, recv }, times| {
                (0..times).try_for_each(|_| world.allgather_into(&send[..], recv))
            },
            &mut |Buffers { send, recv }, times| {
                reference::allgather(world, send, recv, times);
                Ok(())
            },
        )?;
        row(
            "alltoall",
            n * ranks,
            n * ranks,
            &mut |Buffers { send, recv }, times| {
                (0..times).try_for_each(|_| world.alltoall_into(&send[..], recv))
            },
            &mut |Buffers { send, recv }, times| {
                reference::alltoall(world, send, recv, times);
                Ok(())
            },
        )?;
    }
    Ok(rows)
}

//! What cannot deadlock, against what people write by hand.

use phalanx::prelude::*;

use crate::measure::{Buffers, Effort, compete};
use crate::reference;
use crate::row::{Goal, Row, Title, compare};

const SHIFT: &str = "shift";
const EXCHANGE: &str = "exchange, 2 neighbours";
const SIZES: [usize; 3] = [8, 64 << 10, 1 << 20];

const HALO: &str = "halo, 8 directions";
const SIDES: [usize; 3] = [8, 256, 2048];

const FEW: &str = "sparse_exchange, 1 partner";
const MANY: &str = "sparse_exchange, all";
const SPARSE_SIZES: [usize; 2] = [8, 64 << 10];

pub fn rows(world: &Comm, effort: &Effort) -> phalanx::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for bytes in SIZES {
        if effort.wants(SHIFT, bytes) {
            rows.push(shift(world, effort, bytes)?);
        }
        if effort.wants(EXCHANGE, bytes) {
            rows.push(exchange(world, effort, bytes)?);
        }
    }
    for side in SIDES {
        if effort.wants(HALO, side * size_of::<f64>()) {
            rows.push(halo(world, effort, side)?);
        }
    }
    Ok(rows)
}

fn shift(world: &Comm, effort: &Effort, bytes: usize) -> phalanx::Result<Row> {
    let mut ours = |Buffers { send, recv }: &mut Buffers, times: usize| {
        (0..times).try_for_each(|_| world.shift_into(&send[..], &mut recv[..], 1).map(drop))
    };
    let mut c = |Buffers { send, recv }: &mut Buffers, times: usize| {
        reference::shift(world, send, recv, times);
        Ok(())
    };
    let numbers = bytes / size_of::<f64>();
    let mut buffers = Buffers::new(numbers, numbers);
    let times = compete(world, effort, &mut buffers, &mut [&mut ours, &mut c])?;
    assert_eq!(buffers.recv, buffers.send);
    let title = Title { name: SHIFT, ranks: world.size(), bytes, per_iteration: 1.0 };
    Ok(compare(&title, &times[0], "C, sendrecv", &times[1], Goal::AtMost(1.2)))
}

fn exchange(world: &Comm, effort: &Effort, bytes: usize) -> phalanx::Result<Row> {
    let size = world.size();
    let (right, left) = ((world.rank() + 1) % size, (world.rank() + size - 1) % size);
    let numbers = bytes / size_of::<f64>();
    let mut ours = |Buffers { send, recv }: &mut Buffers, times: usize| {
        for _ in 0..times {
            let (to_left, to_right) = send.split_at(numbers);
            let (from_left, from_right) = recv.split_at_mut(numbers);
            world.exchange(|x| {
                x.send(to_right, right);
                x.recv(from_left, left);
                x.send(to_left, to(left).tag(1));
                x.recv(from_right, from(right).tag(1));
            })?;
        }
        Ok(())
    };
    let mut c = |Buffers { send, recv }: &mut Buffers, times: usize| {
        reference::halo(world, send, recv, times);
        Ok(())
    };
    let mut buffers = Buffers::new(2 * numbers, 2 * numbers);
    let times = compete(world, effort, &mut buffers, &mut [&mut ours, &mut c])?;
    assert_eq!(buffers.recv, buffers.send);
    let title = Title { name: EXCHANGE, ranks: size, bytes, per_iteration: 1.0 };
    Ok(compare(&title, &times[0], "C, sendrecv", &times[1], Goal::AtMost(1.5)))
}

/// Ghost cells of a square block; the bytes are those of one side of it.
fn halo(world: &Comm, effort: &Effort, side: usize) -> phalanx::Result<Row> {
    let torus = world.cart(&[world.size(), 1], &[true, true])?.expect("every rank fits");
    let plan = torus.halo::<f64>(&[side, side], &[1, 1])?;
    let reference = reference::Ghosts::new(world, side);
    let mut ours = |block: &mut Vec<f64>, times: usize| {
        (0..times).try_for_each(|_| plan.exchange(&mut block[..]))
    };
    let mut c = |block: &mut Vec<f64>, times: usize| {
        reference.exchange(world, block, times);
        Ok(())
    };
    // Each fills the ghost cells with what the other one does.
    let fresh = || {
        let mut block = vec![-1.0; plan.len()];
        for row in 0..side as isize {
            for column in 0..side as isize {
                let number = (world.rank() * side + row as usize) * side + column as usize;
                block[plan.index(&[row, column])] = number as f64;
            }
        }
        block
    };
    let (mut block, mut other) = (fresh(), fresh());
    ours(&mut block, 1)?;
    c(&mut other, 1)?;
    assert_eq!(block, other);
    let times = compete(world, effort, &mut block, &mut [&mut ours, &mut c])?;
    assert_eq!(block, other);
    drop(plan);
    let bytes = side * size_of::<f64>();
    let title = Title { name: HALO, ranks: torus.size(), bytes, per_iteration: 1.0 };
    torus.free()?;
    Ok(compare(&title, &times[0], "C, subarrays", &times[1], Goal::AtMost(1.5)))
}

pub fn sparse_rows(world: &Comm, effort: &Effort) -> phalanx::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for bytes in SPARSE_SIZES {
        for (name, partners, goal) in [(FEW, 1, 2.0), (MANY, world.size() - 1, 2.5)] {
            if effort.wants(name, bytes) {
                rows.push(sparse(world, effort, bytes, name, partners, Goal::AtMost(goal))?);
            }
        }
    }
    Ok(rows)
}

/// Blocks for the next ranks, which do not know of them: the messages, or lengths and blocks for all.
fn sparse(
    world: &Comm,
    effort: &Effort,
    bytes: usize,
    name: &str,
    partners: usize,
    goal: Goal,
) -> phalanx::Result<Row> {
    let (rank, size) = (world.rank(), world.size());
    let numbers = bytes / size_of::<f64>();
    let block = vec![1.0; numbers];
    let is_partner = |other: usize| (1..=partners).contains(&((other + size - rank) % size));
    let counts: Vec<usize> =
        (0..size).map(|other| if is_partner(other) { numbers } else { 0 }).collect();
    let flat = vec![1.0; numbers * partners];

    let mut ours = |received: &mut usize, times: usize| {
        for _ in 0..times {
            let outgoing = (1..=partners).map(|step| ((rank + step) % size, &block));
            let inbox = world.sparse_exchange(outgoing)?;
            *received = inbox.iter().map(|(_, block)| block.len()).sum();
        }
        Ok(())
    };
    let mut alltoallv = |received: &mut usize, times: usize| {
        for _ in 0..times {
            *received = world.alltoallv(&(&flat[..], &counts[..]))?.flat().len();
        }
        Ok(())
    };
    let mut received = 0;
    let times = compete(world, effort, &mut received, &mut [&mut ours, &mut alltoallv])?;
    assert_eq!(received, numbers * partners);
    let title = Title { name, ranks: size, bytes, per_iteration: 1.0 };
    Ok(compare(&title, &times[0], "alltoallv", &times[1], goal))
}

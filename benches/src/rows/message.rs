//! Typed messages: round trips, and many at once.

use mpi::traits::{Communicator, Destination, Source};
use phalanx::Comm;

use crate::measure::{Buffers, Effort, compete};
use crate::reference::{self, WINDOW};
use crate::row::{Goal, Row, Title, compare};

const ROUND_TRIPS: &str = "ping-pong";
const RATE: &str = "message rate, window of 64";
const SIZES: [usize; 5] = [8, 1 << 10, 64 << 10, 1 << 20, 16 << 20];

pub fn rows(world: &Comm, effort: &Effort) -> phalanx::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for bytes in SIZES {
        if effort.wants(ROUND_TRIPS, bytes) {
            rows.extend(round_trips(world, effort, bytes)?);
        }
    }
    if effort.wants(RATE, size_of::<f64>()) {
        rows.push(rate(world, effort)?);
    }
    Ok(rows)
}

fn round_trips(world: &Comm, effort: &Effort, bytes: usize) -> phalanx::Result<[Row; 2]> {
    let peer = 1 - world.rank();
    let theirs = world.to_rsmpi()?;
    let process = theirs.process_at_rank(peer as i32);
    let numbers = bytes / size_of::<f64>();

    let mut ours = |Buffers { send, recv }: &mut Buffers, times: usize| {
        if peer == 1 {
            for _ in 0..times {
                world.send(&send[..], peer)?;
                world.recv_into(&mut recv[..], peer)?;
            }
        } else {
            for _ in 0..times {
                world.recv_into(&mut recv[..], peer)?;
                world.send(&send[..], peer)?;
            }
        }
        Ok(())
    };
    let mut c = |Buffers { send, recv }: &mut Buffers, times: usize| {
        reference::ping_pong(world, send, recv, times);
        Ok(())
    };
    let mut rsmpi = |Buffers { send, recv }: &mut Buffers, times: usize| {
        if peer == 1 {
            for _ in 0..times {
                process.send(&send[..]);
                process.receive_into(&mut recv[..]);
            }
        } else {
            for _ in 0..times {
                process.receive_into(&mut recv[..]);
                process.send(&send[..]);
            }
        }
        Ok(())
    };

    let mut buffers = Buffers::new(numbers, numbers);
    let times = compete(world, effort, &mut buffers, &mut [&mut ours, &mut c, &mut rsmpi])?;
    assert_eq!(buffers.recv, buffers.send);
    let title = Title { name: ROUND_TRIPS, ranks: world.size(), bytes, per_iteration: 2.0 };
    Ok([
        compare(&title, &times[0], "C", &times[1], Goal::AtMost(1.02)),
        compare(&title, &times[0], "rsmpi", &times[2], Goal::AtMostWithinNoise(1.0)),
    ])
}

/// Rank 0 sends a window of messages, rank 1 answers each window with one.
fn rate(world: &Comm, effort: &Effort) -> phalanx::Result<Row> {
    let peer = 1 - world.rank();
    let mut ours = |Buffers { send, recv }: &mut Buffers, times: usize| {
        for _ in 0..times {
            if peer == 1 {
                world.scope(|s| {
                    for number in send.iter() {
                        s.isend(number, peer)?;
                    }
                    Ok(())
                })?;
                world.recv_into(&mut recv[0], peer)?;
            } else {
                world.scope(|s| {
                    for number in recv.iter_mut() {
                        s.irecv_into(number, peer)?;
                    }
                    Ok(())
                })?;
                world.send(&send[0], peer)?;
            }
        }
        Ok(())
    };
    let mut c = |Buffers { send, recv }: &mut Buffers, times: usize| {
        reference::windows(world, send, recv, times);
        Ok(())
    };
    let mut buffers = Buffers::new(WINDOW, WINDOW);
    let times = compete(world, effort, &mut buffers, &mut [&mut ours, &mut c])?;
    let title = Title {
        name: RATE,
        ranks: world.size(),
        bytes: size_of::<f64>(),
        per_iteration: WINDOW as f64,
    };
    Ok(compare(&title, &times[0], "C", &times[1], Goal::RateAtLeast(0.98)))
}

//! Point to point: typed messages from one rank to another.
//!
//! Teaches: the receiver need not know the length; tags keep conversations apart; messages from
//! anybody say who sent them; a buffer of the caller is filled without an allocation.
//!
//! ```text
//! mpirun -n 4 target/release/point_to_point
//! ```
//!
//! In mpi4py: `comm.Send(data, dest=1, tag=77)`, `comm.Recv(data, source=0, tag=77)`,
//! `comm.Probe(status=status)`, `comm.Recv(data, source=MPI.ANY_SOURCE, status=status)`.

use std::process::ExitCode;

use phalanx::prelude::*;

const LENGTH: i32 = 1;
const VALUES: i32 = 2;

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<ExitCode> {
    examples::takes_no_arguments();
    let (rank, size) = (world.rank(), world.size());
    if size < 2 {
        let need = "point_to_point needs 2 ranks or more: mpirun -n 2 point_to_point";
        return Ok(examples::refuse(&world, need));
    }

    if rank > 0 {
        let values: Vec<f64> = (0..rank * 3).map(|i| i as f64).collect();
        world.send(&values, 0)?;
        world.send(&values.len(), to(0).tag(LENGTH))?;
        world.send(&values, to(0).tag(VALUES))?;
        return Ok(ExitCode::SUCCESS);
    }

    for peer in 1..size {
        let values: Vec<f64> = world.recv(peer)?;
        assert_eq!(values.len(), peer * 3, "a message of another length came from rank {peer}");
        println!("rank {peer} sent {} numbers", values.len());
    }

    let mut buffer = vec![0.0; size * 3];
    for _ in 1..size {
        let (length, first) = world.recv_with_status::<usize>(any().tag(LENGTH))?;
        let sender = first.source.expect("any source is a rank");
        let got = world.recv_into(&mut buffer, from(sender).tag(VALUES))?;
        assert_eq!(got.len, length, "rank {sender} announced another length");
        assert_eq!(buffer[got.len - 1], length as f64 - 1.0, "rank {sender} sent other values");
        println!("from any source: {length} numbers from rank {sender}");
    }
    Ok(ExitCode::SUCCESS)
}

//! All to all: every rank has something for every rank.
//!
//! Teaches: `alltoall` with one item for each rank is the transposition of a matrix; `alltoallv`
//! takes a list for each rank and infers who gets how much.
//!
//! ```text
//! mpirun -n 4 target/release/alltoall
//! ```
//!
//! In mpi4py: `comm.Alltoall(sendbuf, recvbuf)`, `comm.Alltoallv([data, counts], …)` after an
//! `Alltoall` of the counts.

use phalanx::prelude::*;

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<()> {
    examples::takes_no_arguments();
    let (rank, size) = (world.rank(), world.size());

    let row: Vec<usize> = (0..size).map(|column| rank * size + column).collect();
    let column = world.alltoall(&row)?;
    let expected: Vec<usize> = (0..size).map(|row| row * size + rank).collect();
    assert_eq!(column, expected, "rank {rank} has another column");

    // Rank r sends r copies of the receiver's number to each.
    let outgoing: Vec<Vec<usize>> = (0..size).map(|peer| vec![peer; rank]).collect();
    let incoming = world.alltoallv(&outgoing)?;
    for (peer, part) in incoming.iter().enumerate() {
        assert_eq!(part, vec![rank; peer], "rank {rank} got something else from rank {peer}");
    }

    if let Some(columns) = world.gather(&column, 0)? {
        println!("a matrix of {}, transposed:", examples::count(size, "row"));
        for column in columns.chunks(size) {
            println!("  {column:?}");
        }
    }
    Ok(())
}

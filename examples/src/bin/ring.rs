//! Ring: a token visits every rank once, and each adds its number.
//!
//! Teaches: neighbours by arithmetic on ranks, and a send that need not wait for its receiver:
//! `isend` owns the buffer until `wait`, so it works even for a ring of one.
//!
//! ```text
//! mpirun -n 4 target/release/ring
//! ```
//!
//! In mpi4py: `req = comm.isend(token, dest=right)`, `token = comm.recv(source=left)`, `req.wait()`.

use phalanx::prelude::*;

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<()> {
    examples::takes_no_arguments();
    let (rank, size) = (world.rank(), world.size());
    let (left, right) = ((rank + size - 1) % size, (rank + 1) % size);

    if rank == 0 {
        let sent = world.isend(vec![0u64], right)?;
        let token: Vec<u64> = world.recv(left)?;
        sent.wait()?;
        let expected = (0..size as u64).sum();
        assert_eq!(token, [expected], "the token lost count on its way");
        println!("the token came back from rank {left} with the sum of all ranks: {expected}");
    } else {
        let token: Vec<u64> = world.recv(left)?;
        world.send(&[token[0] + rank as u64], right)?;
    }
    Ok(())
}

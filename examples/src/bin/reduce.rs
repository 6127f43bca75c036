//! Reduce: one result out of what all ranks have.
//!
//! Teaches: sum, maximum, where the minimum is, a closure of your own, prefix sums, and results on
//! the root alone (`reduce`) or everywhere (`allreduce`).
//!
//! ```text
//! mpirun -n 4 target/release/reduce
//! ```
//!
//! In mpi4py: `comm.reduce(x, op=MPI.SUM, root=0)`, `comm.allreduce(x, op=MPI.MAX)`,
//! `comm.allreduce((x, rank), op=MPI.MINLOC)`, `MPI.Op.Create(f)`, `comm.exscan(x)`.

use phalanx::{Located, prelude::*};

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<()> {
    examples::takes_no_arguments();
    let (rank, size) = (world.rank(), world.size());
    let n = size as u64;

    // A dot product whose vectors are spread over the ranks.
    let x: Vec<f64> = (0..1000).map(|i| (rank * 1000 + i) as f64).collect();
    let y = vec![2.0; 1000];
    let part: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
    if let Some(dot) = world.reduce(&part, Sum, 0)? {
        let last = (size * 1000 - 1) as f64;
        assert_eq!(dot, last * (last + 1.0), "another dot product");
        println!("dot product of {} elements: {dot}", size * 1000);
    }

    let largest = world.allreduce(&[rank as i64, -(rank as i64)], Max)?;
    assert_eq!(largest, [n as i64 - 1, 0], "element by element");

    let energy = Located::new((rank as f64 - 1.0).powi(2), rank);
    let least = world.allreduce(&energy, MinLoc)?;
    assert_eq!(least.index(), 1.min(size - 1), "another rank has the least energy");

    let product =
        world.allreduce(&(rank as u64 + 1), op(|a, b| a * b % 1_000_007).commutative())?;
    assert_eq!(product, (1..=n).fold(1, |a, b| a * b % 1_000_007), "the closure was not applied");

    let before_me = world.exscan(&10u64, Sum)?;
    assert_eq!(before_me.unwrap_or(0), 10 * rank as u64, "the sum of all lower ranks");

    if rank == 0 {
        println!("least energy: {} on rank {}", least.value, least.index());
        println!("{size}! modulo 1000007: {product}");
    }
    Ok(())
}

//! Pool across ranks: rank 0 gives out work, the other ranks, on any hosts, do it.
//!
//! Teaches: `Pool::on` has the interface of a local pool. Uneven tasks go to whoever is free; results come
//! in the order of the items. With one rank, rank 0 does the work itself.
//!
//! ```text
//! mpirun -n 4 target/release/pool_ranks --numbers 2000
//! ```
//!
//! In mpi4py: `with MPICommExecutor(comm, root=0) as executor: executor.map(steps, numbers)`.

use std::collections::BTreeMap;

use clap::Parser;
use phalanx::prelude::*;
use phalanx_process::Pool;

/// Finds the number whose Collatz sequence is longest, with the other ranks as workers
#[derive(Parser)]
struct Arguments {
    /// Numbers that are tried
    #[arg(long, default_value_t = 100_000)]
    numbers: u64,
}

/// Steps from a number to 1, and the process that has counted them.
fn steps(number: u64) -> (u32, u32) {
    let (mut x, mut count) = (number, 0);
    while x != 1 {
        x = if x % 2 == 0 { x / 2 } else { 3 * x + 1 };
        count += 1;
    }
    (count, std::process::id())
}

#[phalanx::main]
fn main(world: Comm) -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { numbers } = Arguments::parse();
    let found = Pool::on(&world, |pool| pool.map(steps, 1..=numbers))?;
    // The other ranks get nothing.
    let Some(found) = found.transpose()? else { return Ok(()) };

    let mut shares = BTreeMap::new();
    for (_, process) in &found {
        *shares.entry(process).or_insert(0) += 1;
    }
    let longest =
        found.iter().zip(1..).max_by_key(|((count, _), number)| (*count, u64::MAX - number));
    if let Some(((count, _), number)) = longest {
        println!("of 1 to {numbers}, {number} takes longest to come to 1: {count} steps");
        assert_eq!(steps(number).0, *count);
    }
    let shares: Vec<String> = shares.values().map(ToString::to_string).collect();
    println!("{} ranks worked: {} numbers", shares.len(), shares.join(" + "));
    assert_eq!(found.len() as u64, numbers);
    Ok(())
}

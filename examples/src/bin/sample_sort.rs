//! Sample sort: numbers that are spread over all ranks end up sorted across them.
//!
//! Teaches: `allgatherv` and `alltoallv` infer every count from what they are given. The same
//! program in C, rsmpi and mpi4py is in `docs/compare/`.
//!
//! ```text
//! mpirun -n 4 target/release/sample_sort
//! mpirun -n 4 target/release/sample_sort --numbers 1e6
//! ```

use std::process::ExitCode;

use clap::Parser;
use fastrand::Rng;
use phalanx::prelude::*;

/// Sorts random numbers that are spread over all ranks of an MPI job.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Numbers on each rank
    #[arg(long, value_name = "N", default_value = "100000", value_parser = examples::whole(0..=100_000_000))]
    numbers: u64,
}

/// Splits by a random sample, so that all ranks get about the same share, then sorts that share.
fn sample_sort(world: &Comm, data: &[u64], random: &mut Rng) -> phalanx::Result<Vec<u64>> {
    let size = world.size();
    let picked = 16 * size.ilog2() as usize + 1;
    let sample = random.choose_multiple(data.iter().copied(), picked);
    let mut samples = world.allgatherv(&sample)?.into_flat();
    samples.sort_unstable();
    let splitters: Vec<u64> = samples.into_iter().skip(picked).step_by(picked).collect();
    let mut buckets = vec![Vec::new(); size];
    for &x in data {
        buckets[splitters.partition_point(|s| *s <= x)].push(x);
    }
    let mut sorted = world.alltoallv(&buckets)?.into_flat();
    sorted.sort_unstable();
    Ok(sorted)
}

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<ExitCode> {
    let Args { numbers } = match examples::arguments(&world) {
        Ok(args) => args,
        Err(code) => return Ok(code),
    };
    let mut random = Rng::with_seed(world.rank() as u64);
    let data: Vec<u64> = (0..numbers).map(|_| random.u64(..)).collect();

    let sorted = sample_sort(&world, &data, &mut random)?;

    let before = world.gatherv(&data, 0)?;
    let after = world.gatherv(&sorted, 0)?;
    if let (Some(before), Some(after)) = (before, after) {
        let (mut before, after) = (before.into_flat(), after.into_flat());
        before.sort_unstable();
        assert!(before == after, "not sorted");
        println!("{} numbers sorted on {}", after.len(), examples::count(world.size(), "rank"));
    }
    Ok(ExitCode::SUCCESS)
}

//! Scatter: the root sends a part of its data to each rank, equal parts or not.
//!
//! Teaches: `scatter` cuts a buffer into equal parts, `scatterv` takes one part for each rank and
//! infers every count; a rank learns the length of its part from the message. `BlockDistribution`
//! divides any number of items into parts that differ by one item at most.
//!
//! ```text
//! mpirun -n 4 target/release/scatter
//! ```
//!
//! In mpi4py: `comm.Scatter(sendbuf, recvbuf, root=0)`, `data = comm.scatter(data, root=0)`.

use phalanx::{distribution::BlockDistribution, prelude::*};

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<()> {
    examples::takes_no_arguments();
    let (rank, size) = (world.rank(), world.size());
    let root = 0;

    let all: Option<Vec<u64>> = (rank == root).then(|| (0..size as u64 * 3).collect());
    let mine = world.scatter(all.as_deref(), root)?;
    let first = rank as u64 * 3;
    assert_eq!(mine, [first, first + 1, first + 2], "rank {rank} got the share of another");

    let shares: Option<Vec<Vec<u64>>> =
        (rank == root).then(|| (0..size).map(|peer| vec![peer as u64; peer + 1]).collect());
    let share = world.scatterv(shares.as_deref(), root)?;
    assert_eq!(share, vec![rank as u64; rank + 1], "rank {rank} got the share of another");

    let items: Vec<u32> = (0..1000).collect();
    let parts = BlockDistribution::new(items.len(), size);
    let mut part = vec![0; parts.range(rank).len()];
    let counts = parts.counts();
    world.scatterv_into((rank == root).then_some((&items, &counts)), &mut part, root)?;
    assert_eq!(part, items[parts.range(rank)], "rank {rank} got the part of another");

    if let Some(lengths) = world.gather(&share.len(), root)? {
        println!("equal shares: {} numbers each; then shares of {lengths:?}", mine.len());
    }
    Ok(())
}

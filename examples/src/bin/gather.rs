//! Gather: the root collects what the ranks have, in the order of the ranks.
//!
//! Teaches: `gather` for equal lengths, `gatherv` for any lengths (no counts to exchange by hand),
//! `allgather` when every rank wants the result.
//!
//! ```text
//! mpirun -n 4 target/release/gather
//! ```
//!
//! In mpi4py: `comm.Gather(sendbuf, recvbuf, root=0)`, `comm.Gatherv(…)` after a gather of the
//! counts, `comm.allgather(x)`.

use phalanx::prelude::*;

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<()> {
    examples::takes_no_arguments();
    let (rank, size) = (world.rank(), world.size());
    let root = 0;

    let squares = world.gather(&(rank * rank), root)?;
    if let Some(squares) = squares {
        let expected: Vec<usize> = (0..size).map(|r| r * r).collect();
        assert_eq!(squares, expected, "the squares are not in the order of the ranks");
        println!("squares of the ranks: {squares:?}");
    }

    let mine = vec![rank as u32; rank];
    if let Some(rows) = world.gatherv(&mine, root)? {
        for (peer, row) in rows.iter().enumerate() {
            assert_eq!(row, vec![peer as u32; peer], "the row of rank {peer}");
            println!("row of rank {peer}: {row:?}");
        }
    }

    let ranks = world.allgather(&rank)?;
    assert_eq!(ranks, (0..size).collect::<Vec<_>>(), "rank {rank} misses a rank");

    // The items of a loop, divided among the ranks, and their results in one piece again.
    let mine: Vec<u64> = world.block_range(1000).map(|n| (n * n) as u64).collect();
    if let Some(all) = world.gatherv(&mine, root)? {
        assert_eq!(all.flat().len(), 1000);
        assert_eq!(all.flat()[999], 999 * 999, "the results are not in the order of the items");
    }
    Ok(())
}

//! Broadcast: what one rank knows, all ranks know.
//!
//! Teaches: `bcast` for typed buffers that every rank has in the same length, `bcast_object` for any
//! value, which only the root has.
//!
//! ```text
//! mpirun -n 4 target/release/broadcast
//! ```
//!
//! In mpi4py: `comm.Bcast(data, root=0)`, `config = comm.bcast(config, root=0)`.

use phalanx::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Config {
    title: String,
    tolerance: f64,
    levels: Vec<u32>,
}

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<()> {
    examples::takes_no_arguments();
    let root = 0;

    let mut table = [0u64; 100];
    if world.rank() == root {
        table = std::array::from_fn(|i| (i * i) as u64);
    }
    world.bcast(&mut table, root)?;
    assert_eq!(table[99], 99 * 99, "rank {} has another table", world.rank());

    let written = Config { title: "heat".into(), tolerance: 1e-9, levels: vec![1, 2, 4] };
    let mine = (world.rank() == root).then(|| written.clone());
    let config: Config = world.bcast_object(mine, root)?;
    assert_eq!(config, written, "rank {} has another config", world.rank());

    world.barrier()?;
    if world.rank() == root {
        let ranks = examples::count(world.size(), "rank");
        println!("the table of {} numbers and {config:?} are on {ranks}", table.len());
    }
    Ok(())
}

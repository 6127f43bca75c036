// Intended: a request of a scope does not outlive it.
use phalanx::prelude::*;

fn leaves(world: Comm, data: [f64; 4]) -> phalanx::Result<()> {
    let sending = world.scope(|s| s.isend(&data, 1))?;
    sending.wait()?;
    Ok(())
}

fn main() {}

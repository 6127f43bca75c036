// Intended: what is being sent cannot be changed before the scope ends.
use phalanx::prelude::*;

fn early(world: Comm) -> phalanx::Result<()> {
    let mut edge = [1.0; 4];
    world.scope(|s| {
        s.isend(&edge, 1)?;
        edge[0] = 2.0;
        Ok(())
    })
}

fn main() {}

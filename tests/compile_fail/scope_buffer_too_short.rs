// Intended: a buffer of the closure's own ends before the scope does.
use phalanx::prelude::*;

fn short(world: Comm) -> phalanx::Result<()> {
    world.scope(|s| {
        let mut halo = [0.0; 4];
        s.irecv_into(&mut halo, 0)?;
        Ok(())
    })
}

fn main() {}

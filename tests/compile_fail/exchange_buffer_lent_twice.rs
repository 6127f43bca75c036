// Intended: two receives of an exchange do not write into the same buffer.
use phalanx::prelude::*;

fn twice(world: Comm) -> phalanx::Result<()> {
    let mut halo = [0.0; 4];
    world.exchange(|x| {
        x.recv(&mut halo, 0);
        x.recv(&mut halo, 1);
    })?;
    Ok(())
}

fn main() {}

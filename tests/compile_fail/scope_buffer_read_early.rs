// Intended: the buffer is borrowed until the scope ends.
use phalanx::prelude::*;

fn early(world: Comm) -> phalanx::Result<f64> {
    let mut halo = [0.0; 4];
    world.scope(|s| {
        let receiving = s.irecv_into(&mut halo, 0)?;
        let first = halo[0];
        receiving.wait()?;
        Ok(first)
    })
}

fn main() {}

// Intended: what is being sent is not received into.
use phalanx::prelude::*;

fn both(world: Comm) -> phalanx::Result<()> {
    let mut data = vec![0.0; 4];
    world.exchange(|x| {
        x.send(&data, 1);
        x.recv_vec(&mut data, 0);
    })?;
    Ok(())
}

fn main() {}

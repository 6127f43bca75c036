// Intended: a buffer of the closure's own ends before the exchange does.
use phalanx::prelude::*;

fn short(world: Comm) -> phalanx::Result<()> {
    world.exchange(|x| {
        let edge = [0.0; 4];
        x.send(&edge, 0);
    })?;
    Ok(())
}

fn main() {}

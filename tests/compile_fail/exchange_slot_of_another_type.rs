// Intended: an object is received into an `Option`, which needs no value before.
use phalanx::prelude::*;

fn slot(world: Comm) -> phalanx::Result<()> {
    let mut name = String::new();
    world.exchange(|x| x.recv_object(&mut name, 0))?;
    Ok(())
}

fn main() {}

// Intended: nobody but the caller knows that the receive was posted.
use phalanx::prelude::*;

fn ready(world: Comm) -> phalanx::Result<()> {
    world.rsend(&[1.0], 1)
}

fn main() {}

// Intended: `wait` takes the request.
use phalanx::prelude::*;

fn twice(world: Comm) -> phalanx::Result<()> {
    let barrier = world.ibarrier()?;
    barrier.wait()?;
    barrier.wait()
}

fn main() {}

// Intended: a request may be forgotten, so that it cannot borrow; a scope can.
use phalanx::prelude::*;

fn borrowed(world: Comm, data: &mut [f64]) -> phalanx::Result<()> {
    world.irecv_into(data, 1)?.wait()?;
    Ok(())
}

fn main() {}

// Intended: a non-blocking receive needs to know how long its message may be.
use phalanx::prelude::*;

fn numbers(world: Comm) -> phalanx::Result<Vec<f64>> {
    world.irecv::<Vec<f64>>(0)?.wait()
}

fn main() {}

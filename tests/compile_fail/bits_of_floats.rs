// Intended: `BitAnd` is no reduction of `f64`.
use phalanx::prelude::*;

fn bits(world: Comm) -> phalanx::Result<f64> {
    world.allreduce(&1.5, BitAnd)
}

fn main() {}

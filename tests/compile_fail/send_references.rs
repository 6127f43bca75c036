// Intended: an address means nothing on another rank.
use phalanx::prelude::*;

fn addresses(world: Comm, values: &[Option<&f64>]) -> phalanx::Result<()> {
    world.send(values, 1)
}

fn main() {}

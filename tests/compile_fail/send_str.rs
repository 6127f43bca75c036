// Intended: a text is sent as an object.
use phalanx::prelude::*;

fn text(world: Comm) -> phalanx::Result<()> {
    world.send(&"hello", 1)
}

fn main() {}

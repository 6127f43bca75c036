// Intended: a text travels as an object.
use phalanx::prelude::*;

fn text(world: Comm) -> phalanx::Result<()> {
    world.send(&String::from("hello"), 1)
}

fn main() {}

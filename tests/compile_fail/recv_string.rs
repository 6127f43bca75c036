// Intended: a text is received as an object.
use phalanx::prelude::*;

fn text(world: Comm) -> phalanx::Result<String> {
    world.recv(0)
}

fn main() {}

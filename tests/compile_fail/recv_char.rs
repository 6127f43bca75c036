// Intended: four bytes from another rank are not always a `char`.
use phalanx::prelude::*;

fn letters(world: Comm) -> phalanx::Result<Vec<char>> {
    world.recv(0)
}

fn main() {}

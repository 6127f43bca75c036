// Intended: a `bool` travels as an object, alone and in a slice.
use phalanx::prelude::*;

fn one(world: Comm) -> phalanx::Result<()> {
    world.send(&true, 1)
}

fn many(world: Comm, flags: &[bool]) -> phalanx::Result<()> {
    world.send(flags, 1)
}

fn main() {}

// Intended: a generic struct is an element for elements alone.
use phalanx::prelude::*;

#[derive(Clone, Copy, Element)]
#[repr(C)]
struct Pair<T>(T, T);

fn send(world: Comm) -> phalanx::Result<()> {
    world.send(&Pair(true, false), 1)
}

fn main() {}

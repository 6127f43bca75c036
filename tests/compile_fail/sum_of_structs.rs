// Intended: `Sum` adds numbers; a struct needs a closure.
use phalanx::prelude::*;

#[derive(Clone, Copy, Element)]
#[repr(C)]
struct Point {
    x: f64,
    y: f64,
}

fn sum(world: Comm, point: Point) -> phalanx::Result<Point> {
    world.allreduce(&point, Sum)
}

fn main() {}

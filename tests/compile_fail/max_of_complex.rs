// Intended: complex numbers have no order.
use num_complex::Complex;
use phalanx::prelude::*;

fn largest(world: Comm) -> phalanx::Result<Complex<f64>> {
    world.allreduce(&Complex::new(1.0, 2.0), Max)
}

fn main() {}

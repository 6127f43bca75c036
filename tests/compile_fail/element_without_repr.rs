// Intended: "an element needs a fixed layout, the same on every rank: add `#[repr(C)]`", at the name.
use phalanx::Element;

#[derive(Clone, Copy, Element)]
struct Point {
    x: f64,
    y: f64,
}

fn main() {}

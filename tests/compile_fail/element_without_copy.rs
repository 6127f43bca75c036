// Intended: the compiler's "the trait bound `Point: Copy` is not satisfied", with its suggestion to
// derive `Copy`.
use phalanx::Element;

#[derive(Element)]
#[repr(C)]
struct Point {
    x: f64,
}

fn main() {}

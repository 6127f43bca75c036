// Intended: "an element is a concrete type … write a struct for each type that you send, such as
// `struct PointF64 { … }`", at `<T>`.
use phalanx::Element;

#[derive(Clone, Copy, Element)]
#[repr(C)]
struct Point<T> {
    x: T,
    y: T,
}

fn main() {}

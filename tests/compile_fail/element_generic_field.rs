// Intended: the field whose type is no element, in a generic struct as in any other.
use phalanx::Element;

#[derive(Clone, Copy, Element)]
#[repr(C)]
struct Tagged<T> {
    value: T,
    name: &'static str,
}

fn main() {}

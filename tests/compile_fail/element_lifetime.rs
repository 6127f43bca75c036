// Intended: an element cannot borrow.
use phalanx::Element;

#[derive(Clone, Copy, Element)]
#[repr(C)]
struct View<'a> {
    cells: &'a [f64],
}

fn main() {}

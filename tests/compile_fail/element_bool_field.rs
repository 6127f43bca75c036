// Intended: "`bool` cannot travel typed: not every bit pattern of it is known to be a valid value",
// at the field's type and nowhere else.
use phalanx::Element;

#[derive(Clone, Copy, Element)]
#[repr(C)]
struct Flags {
    active: bool,
}

fn main() {}

// Intended: "a union cannot travel typed: nothing says which of its fields is valid", at `union`.
use phalanx::Element;

#[derive(Clone, Copy, Element)]
#[repr(C)]
union Bits {
    number: f64,
    bytes: [u8; 8],
}

fn main() {}

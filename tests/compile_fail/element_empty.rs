// Intended: "a struct without fields has no bytes to send", at the name.
use phalanx::Element;

#[derive(Clone, Copy, Element)]
#[repr(C)]
struct Nothing;

fn main() {}

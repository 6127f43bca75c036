// Intended: "`&'static f64` cannot travel typed …", at the field's type.
use phalanx::Element;

#[derive(Clone, Copy, Element)]
#[repr(C)]
struct Holder {
    value: &'static f64,
}

fn main() {}

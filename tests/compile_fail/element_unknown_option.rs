// Intended: the only option is the path of the library.
use phalanx::Element;

#[derive(Clone, Copy, Element)]
#[repr(C)]
#[element(rename = "other")]
struct Metres(f64);

fn main() {}

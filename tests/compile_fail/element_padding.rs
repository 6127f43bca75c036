// Intended: "`Particle` has padding bytes, whose contents are undefined: reorder the fields from
// large to small, or fill the gap with a field such as `_pad: [u8; 4]`".
use phalanx::Element;

#[derive(Clone, Copy, Element)]
#[repr(C)]
struct Particle {
    id: u32,
    mass: f64,
}

fn main() {}

// Intended: "an enum cannot travel typed: bytes that name no variant would be undefined behaviour.
// Send its number, or send it as an object (`send_object`)", at `enum`.
use phalanx::Element;

#[derive(Clone, Copy, Element)]
#[repr(C)]
enum Direction {
    North,
    South,
}

fn main() {}

// Intended: "expected a time with its unit: \"500ms\", \"30s\" or \"2m\"", at the 30.
use phalanx::Comm;

#[phalanx::test(timeout = 30)]
fn sum(_world: Comm) {}

fn main() {}

// Intended: "#[phalanx::test] makes the tests: remove this #[test]", at `#[test]`.
use phalanx::Comm;

#[phalanx::test]
#[test]
fn sum(_world: Comm) {}

fn main() {}

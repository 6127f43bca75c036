// Intended: "unknown option; there are `ranks = [1, 2, 4]`, `timeout = \"30s\"`, …", at `rank`.
use phalanx::Comm;

#[phalanx::test(rank = 3)]
fn sum(_world: Comm) {}

fn main() {}

// Intended: "a job has at least 1 rank", at the 0.
use phalanx::Comm;

#[phalanx::test(ranks = [1, 0])]
fn sum(_world: Comm) {}

fn main() {}

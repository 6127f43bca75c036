// Intended: "#[phalanx::test] gives the function the world: write `fn sum(world: Comm)`", at `sum`.
#[phalanx::test]
fn sum() {}

fn main() {}

// Intended: "#[phalanx::main] gives the function the world: write `fn main(world: Comm)`", at `main`.
#[phalanx::main]
fn main() {}

// Intended: "#[phalanx::main] does not take an async function: write `fn main(world: Comm)` and block
// on your runtime inside it", at `async`.
use phalanx::Comm;

#[phalanx::main]
async fn main(_world: Comm) {}

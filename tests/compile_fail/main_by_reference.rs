// Intended: "the world is passed by value: write `fn main(world: Comm)`", at `&Comm`.
use phalanx::Comm;

#[phalanx::main]
fn main(_world: &Comm) {}

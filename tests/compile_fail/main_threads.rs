// Intended: "expected \"single\", \"funneled\", \"serialized\" or \"multiple\"", at the text.
use phalanx::Comm;

#[phalanx::main(threads = "many")]
fn main(_world: Comm) {}

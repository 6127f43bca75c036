// Intended: a probed message is received once.
use phalanx::prelude::*;

fn twice(world: Comm) -> phalanx::Result<()> {
    let message = world.probe(any())?;
    let numbers: Vec<i32> = message.recv()?;
    let again: Vec<i32> = message.recv()?;
    assert_eq!(numbers, again);
    Ok(())
}

fn main() {}

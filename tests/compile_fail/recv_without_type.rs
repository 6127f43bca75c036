// Intended: nothing says what is received.
use phalanx::prelude::*;

fn number(world: Comm) -> phalanx::Result<()> {
    let x = world.recv(0)?;
    println!("one message came");
    Ok(())
}

fn main() {}

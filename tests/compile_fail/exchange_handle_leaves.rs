// Intended: what notes the lines of an exchange does not outlive it.
use phalanx::prelude::*;

fn leaves(world: Comm) -> phalanx::Result<()> {
    let mut kept = None;
    world.exchange(|x| kept = Some(x))?;
    kept.unwrap().send(&1, 0);
    Ok(())
}

fn main() {}

// Intended: what is lent to an exchange is not read before it is over.
use phalanx::prelude::*;

fn early(world: Comm) -> phalanx::Result<()> {
    let mut halo = [0.0; 4];
    world.exchange(|x| {
        x.recv(&mut halo, 0);
        println!("{}", halo[0]);
    })?;
    Ok(())
}

fn main() {}

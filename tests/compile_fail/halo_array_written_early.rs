// Intended: the array is lent to the exchange until its ghost cells are there.
use phalanx::prelude::*;

fn early(world: Comm) -> phalanx::Result<()> {
    let ring = world.cart(&[0], &[true])?.unwrap();
    let halo = ring.halo::<f64>(&[4], &[1])?;
    let mut cells = vec![0.0; halo.len()];
    halo.exchange_while(&mut cells, |_| cells[2] = 1.0)
}

fn main() {}

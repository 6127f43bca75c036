// Intended: what is read while ghost cells are on their way ends with the exchange.
use phalanx::prelude::*;

fn leaves(world: Comm) -> phalanx::Result<f64> {
    let ring = world.cart(&[0], &[true])?.unwrap();
    let halo = ring.halo::<f64>(&[4], &[1])?;
    let mut cells = vec![0.0; halo.len()];
    let row = halo.exchange_while(&mut cells, |interior| interior.row(&[]))?;
    Ok(row[0])
}

fn main() {}

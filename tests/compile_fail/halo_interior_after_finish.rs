// Intended: what is read while ghost cells are on their way ends when the array is given back.
use phalanx::prelude::*;

fn after(world: Comm) -> phalanx::Result<f64> {
    let ring = world.cart(&[0], &[true])?.unwrap();
    let halo = ring.halo::<f64>(&[4], &[1])?;
    let exchange = halo.start(vec![0.0; halo.len()])?;
    let interior = exchange.interior();
    let mut cells = exchange.finish()?;
    cells[1] = 2.0;
    Ok(interior.row(&[])[0])
}

fn main() {}

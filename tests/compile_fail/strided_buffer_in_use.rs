// Intended: a matrix is borrowed as long as a column of it may be written.
use phalanx::prelude::*;
use phalanx::StridedMut;

fn column(world: Comm) -> phalanx::Result<f64> {
    let mut matrix = [0.0; 9];
    let mut column = StridedMut::column(&mut matrix, 3, 0)?;
    let corner = matrix[0];
    world.recv_into(&mut column, 0)?;
    Ok(corner)
}

fn main() {}

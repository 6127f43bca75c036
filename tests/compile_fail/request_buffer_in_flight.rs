// Intended: the buffer has moved into the request.
use phalanx::prelude::*;

fn early(world: Comm) -> phalanx::Result<f64> {
    let data = vec![1.0, 2.0];
    let sending = world.isend(data, 1)?;
    let first = data[0];
    sending.wait()?;
    Ok(first)
}

fn main() {}

//! Drops requests that never complete, and some that do. Says on stdout which lines the report at
//! finalize should name.

use phalanx::prelude::*;

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<()> {
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    let halo = ring.halo::<u8>(&[4], &[1])?;
    if world.rank() == 0 {
        let here = |line: u32| println!("lost: {}:{line}:", file!());
        here(line!() + 1);
        drop(world.irecv_into(vec![0; 4], from(1).tag(77))?);
        here(line!() + 1);
        drop(world.irecv_at_most::<Vec<u8>>(4, from(1).tag(77))?);
        here(line!() + 1); // with a neighbour that has not started it
        drop(halo.start(vec![1; 6])?);
        // This one is cancelled, and takes no message.
        here(line!() + 1);
        drop(world.irecv_into(vec![0; 4], from(1).tag(1))?);
        // This one completes after it was dropped, and is nobody's concern.
        drop(world.isend(vec![1; 100_000], 1)?);
        assert_eq!(world.recv::<Vec<i32>>(from(1).tag(1))?, [1, 2, 3, 4]);
        // This one is leaked: the record still knows it.
        here(line!() + 1);
        std::mem::forget(world.irecv_into(vec![0; 4], from(1).tag(78))?);
    } else {
        assert_eq!(world.recv::<Vec<i32>>(0)?, vec![1; 100_000]);
        world.send(&[1, 2, 3, 4], to(0).tag(1))?;
    }
    world.barrier()
}

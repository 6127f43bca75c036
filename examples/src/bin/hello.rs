//! Hello: who takes part, and where.
//!
//! Teaches: `rank`, `size`, the processor name, and how to print in the order of the ranks: lines
//! that ranks print themselves arrive in any order, so rank 0 collects and prints them.
//!
//! ```text
//! mpirun -n 4 target/release/hello
//! ```
//!
//! In mpi4py: `comm.Get_rank()`, `comm.Get_size()`, `MPI.Get_processor_name()`.

use phalanx::prelude::*;

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<()> {
    examples::takes_no_arguments();
    let host = phalanx::processor_name()?;
    let hello = format!("hello from rank {} of {} on {host}", world.rank(), world.size());
    if let Some(lines) = world.gather_object(&hello, 0)? {
        for line in &lines {
            println!("{line}");
        }
        assert_eq!(lines.len(), world.size(), "a rank did not say hello");
        println!("{}", phalanx::library_version()?.lines().next().unwrap_or_default());
    }
    Ok(())
}

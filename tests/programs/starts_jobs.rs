//! Each rank starts a job of its own, of as many ranks as the argument says. `launching.rs` starts it.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use phalanx::prelude::*;
use phalanx_launch::{Job, Output};

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("inner") => phalanx::run(inner),
        Some(ranks) => {
            let ranks = ranks.parse().expect("a number of ranks");
            phalanx::run(|world| outer(&world, ranks))
        }
        None => panic!("how many ranks has the inner job?"),
    }
}

fn outer(world: &Comm, ranks: usize) -> Result<(), Box<dyn Error>> {
    world.barrier()?;
    let job = Job::new(env::current_exe()?).ranks(ranks).arg("inner").output(Output::Capture);
    let finished = job.timeout(Duration::from_secs(300)).run()?;
    let stderr = String::from_utf8_lossy(&finished.stderr);
    assert!(finished.success(), "{:?}\n{stderr}", finished.status);
    let stdout = String::from_utf8_lossy(&finished.stdout);
    let mut lines: Vec<&str> = stdout.lines().collect();
    lines.sort_unstable();
    // The outer job still works.
    let all =
        world.gather_object(&format!("rank {} has: {}", world.rank(), lines.join(", ")), 0)?;
    all.iter().flatten().for_each(|line| println!("{line}"));
    Ok(())
}

fn inner(world: Comm) -> phalanx::Result<()> {
    let sum = world.allreduce(&1_usize, Sum)?;
    assert_eq!(sum, world.size());
    println!("{} of {}", world.rank(), world.size());
    Ok(())
}

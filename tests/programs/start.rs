//! Starts in the way that its argument names. `failure.rs` starts it.

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mpi::traits::{Communicator as _, CommunicatorCollectives as _};
use phalanx::prelude::*;
use phalanx::{Result, Threading};

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("hello") => phalanx::run(hello),
        Some("twice") => {
            let _ = phalanx::run(hello);
            phalanx::run(hello)
        }
        Some("sessions") => sessions(),
        Some("guest") => guest(),
        Some("idle") => phalanx::run(idle),
        other => panic!("there is no mode {other:?}"),
    }
}

fn hello(world: Comm) -> Result<()> {
    let ranks = world.allreduce(&1_usize, Sum)?;
    assert_eq!(ranks, world.size());
    println!("rank {} of {}", world.rank(), world.size());
    Ok(())
}

/// One session at a time, and none after the end of MPI.
fn sessions() -> ExitCode {
    assert!(phalanx::world().is_none() && phalanx::self_().is_none());
    assert!(phalanx::mpi_version().is_ok_and(|version| version >= (3, 0)));
    assert!(phalanx::library_version().is_ok_and(|text| !text.is_empty()));
    assert!(phalanx::processor_name().is_err_and(|error| error.is_state()));

    let session = phalanx::init(Threading::Funneled).expect("MPI starts");
    let second = phalanx::init(Threading::Funneled).expect_err("a second session");
    assert!(second.is_state(), "{second}");
    let world = session.world().clone();
    world.barrier().expect("a barrier");
    session.finalize().expect("MPI ends");

    assert!(world.barrier().is_err_and(|error| error.is_state()));
    assert!(world.send(&1, 0).is_err_and(|error| error.is_state()));
    assert!(phalanx::world().is_none());
    let third = phalanx::init(Threading::Funneled).expect_err("a session after the end");
    assert!(third.is_state(), "{third}");
    println!("done");
    ExitCode::SUCCESS
}

/// rsmpi was here first: its MPI is used, and stays its own to finalize.
fn guest() -> ExitCode {
    let universe = mpi::initialize().expect("MPI starts");
    let theirs = universe.world();
    let session = phalanx::init(Threading::Single).expect("phalanx is a guest");
    let world = session.world().clone();
    assert_eq!((world.rank(), world.size()), (theirs.rank() as usize, theirs.size() as usize));
    assert_eq!(world.allreduce(&1_usize, Sum).expect("a sum"), world.size());
    drop(world);
    session.finalize().expect("phalanx leaves");

    theirs.barrier();
    assert!(!mpi::is_finalized(), "MPI is not ours to finalize");
    let _ = phalanx::run_with(Threading::Single, hello);
    theirs.barrier();
    assert!(!mpi::is_finalized(), "MPI is not ours to finalize");
    drop(universe);
    assert!(mpi::is_finalized());
    println!("done");
    ExitCode::SUCCESS
}

/// Time on a core that this process has used.
fn core_time() -> Duration {
    // SAFETY: zero is a valid value of a plain C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the result is writable.
    let code = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    assert_eq!(code, 0);
    let time = |it: libc::timeval| {
        Duration::from_secs(it.tv_sec as u64) + Duration::from_micros(it.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Rank 0 computes for a second while the others wait for it, each time in another way. What they
/// use of the cores meanwhile is printed.
fn idle(world: Comm) -> Result<()> {
    for way in ["barrier", "recv", "request", "probe"] {
        world.barrier()?;
        let before = core_time();
        if world.rank() == 0 {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(1) {
                std::hint::black_box((1..1000).sum::<u64>());
            }
            for rank in 1..world.size() {
                world.send(&1_u8, rank)?;
            }
        }
        if world.rank() > 0 {
            match way {
                "recv" => drop(world.recv::<u8>(0)?),
                "request" => drop(world.irecv_into(vec![0_u8], 0)?.wait()?),
                "probe" => drop(world.probe(0)?.recv::<u8>()?),
                _ => {}
            }
        }
        world.barrier()?;
        if world.rank() > 0 {
            if way == "barrier" {
                world.recv::<u8>(0)?;
            }
            println!("{way} {} ms", (core_time() - before).as_millis());
        }
    }
    Ok(())
}

//! Avoid deadlock: the textbook program that hangs, then four ways that cannot.
//!
//! Every rank has a message for its right neighbour. "Send, then receive" works as long as the
//! library copies messages aside, and hangs as soon as they are too large for that: every rank
//! waits in its send, so nobody receives.
//!
//! ```text
//! mpirun -n 4 target/release/avoid_deadlock
//! mpirun -n 4 target/release/avoid_deadlock --hang
//! ```
//!
//! In mpi4py: `comm.Sendrecv(…)`, `comm.Isend(…)`/`comm.Irecv(…)` and `MPI.Request.Waitall(…)`.

use std::{process::ExitCode, thread, time::Duration};

use clap::Parser;
use phalanx::prelude::*;

/// Shows how to pass large messages around a ring without a deadlock.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Show the program that hangs, and end it after a few seconds with exit code 1
    #[arg(long)]
    hang: bool,
    /// How long to watch it
    #[arg(long, value_name = "SECONDS", default_value = "3", requires = "hang", value_parser = examples::whole(1..=3600))]
    seconds: u64,
}

/// Too long for any library to copy aside.
const LENGTH: usize = 1 << 20;

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<ExitCode> {
    let Args { hang, seconds } = match examples::arguments(&world) {
        Ok(args) => args,
        Err(code) => return Ok(code),
    };
    let (rank, size) = (world.rank(), world.size());
    let (left, right) = ((rank + size - 1) % size, (rank + 1) % size);
    let mine = vec![rank as f64; LENGTH];
    let check = |way: &str, got: &[f64]| {
        assert_eq!(got, vec![left as f64; LENGTH], "{way}: another message came");
        if rank == 0 {
            println!("{way}: every message arrived");
        }
    };

    if hang {
        end_after(Duration::from_secs(seconds), rank);
        world.send(&mine, right)?;
        let got: Vec<f64> = world.recv(left)?;
        check("send, then receive", &got);
    }

    // One call that does both: the library sees to the order.
    let got = world.sendrecv(&mine, right, left)?;
    check("sendrecv", &got);

    // A send that only starts: it completes while this rank receives.
    let sending = world.isend(mine.clone(), right)?;
    let got: Vec<f64> = world.recv(left)?;
    sending.wait()?;
    check("isend, receive, wait", &got);

    // A scope does the same with borrowed buffers, and completes both at its end.
    let mut got = vec![0.0; LENGTH];
    world.scope(|s| {
        s.irecv_into(&mut got, left)?;
        s.isend(&mine, right)?;
        Ok(())
    })?;
    check("scope", &got);

    // An order in which somebody always receives: no two neighbours wait for each other.
    if size > 1 {
        let got: Vec<f64>;
        if rank % 2 == 0 {
            world.send(&mine, right)?;
            got = world.recv(left)?;
        } else {
            got = world.recv(left)?;
            world.send(&mine, right)?;
        }
        check("even ranks send first", &got);
    }
    Ok(ExitCode::SUCCESS)
}

/// The bound on the demonstration: nobody else would end it.
fn end_after(time: Duration, rank: usize) {
    thread::spawn(move || {
        thread::sleep(time);
        if rank == 0 {
            println!("send, then receive: every rank still waits in its send after {time:?}");
        } else {
            // Lets rank 0 speak before the launcher ends the job.
            thread::sleep(Duration::from_millis(500));
        }
        std::process::exit(1);
    });
}

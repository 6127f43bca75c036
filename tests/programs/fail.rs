//! Fails on one rank, or on all, in the way that its argument names, while the other ranks wait for
//! what never comes. `failure.rs` starts it.

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::panic::catch_unwind;
use std::process::{self, ExitCode};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use phalanx::Threading;
use phalanx::prelude::*;

fn main() -> ExitCode {
    let mode = env::args().nth(1).expect("a mode");
    match mode.as_str() {
        "one-stays" => one_stays(),
        "session-dropped" | "session-panic" => with_a_session(&mode),
        _ => phalanx::run(|world| within_run(&world, &mode)),
    }
}

/// Rank 0 goes on for a minute after the others have left.
fn one_stays() -> ExitCode {
    let (known, rank) = mpsc::channel();
    let code = phalanx::run(move |world| known.send(world.rank()));
    if rank.recv() == Ok(0) {
        thread::sleep(Duration::from_secs(60));
    }
    code
}

/// Says when it happens: the test measures how long the others live after it.
fn now_it_happens() {
    let now = UNIX_EPOCH.elapsed().expect("a clock after 1970");
    println!("it happens at {}", now.as_nanos());
}

/// Waits for what no rank does, each in another way.
fn wait_for_ever(world: &Comm) -> phalanx::Result<()> {
    match world.rank() % 3 {
        0 => world.barrier(),
        1 => world.recv::<u8>(any()).map(|_| ()),
        _ => world.irecv_into(vec![0_u8; 4], any())?.wait().map(|_| ()),
    }
}

fn within_run(world: &Comm, mode: &str) -> Result<ExitCode, Box<dyn Error>> {
    world.barrier()?;
    let (what, everybody) = match mode.strip_suffix("-on-all") {
        Some(what) => (what, true),
        None => (mode, false),
    };
    if what == "code" {
        return Ok(ExitCode::from(7));
    }
    if what == "unfinished-line" {
        print!("progress 10%");
        io::stdout().flush()?;
        return Ok(ExitCode::from([0, 3, 5][world.rank() % 3]));
    }
    if what == "prints" {
        for line in 0.. {
            writeln!(io::stdout(), "line {line} of rank {}", world.rank())?;
        }
    }
    if what == "caught" {
        let caught = catch_unwind(|| panic!("nobody needs to know"));
        assert!(caught.is_err());
        world.barrier()?;
        return Ok(ExitCode::SUCCESS);
    }
    if !everybody && world.rank() != 1 {
        wait_for_ever(world)?;
        unreachable!("the wait has an end");
    }
    now_it_happens();
    match what {
        "panic" => panic!("the roof is on fire"),
        "error" => Err("the input makes no sense")?,
        "phalanx-error" => world.send(&1, world.size() + 5)?,
        "abort" => world.abort(42, "the user said stop"),
        "killed" => {
            // SAFETY: the process number is our own.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        "exit-0" => process::exit(0),
        "exit-3" => process::exit(3),
        "thread" => {
            let joined = thread::spawn(|| panic!("the thread gives up")).join();
            joined.expect("a thread that ends well");
        }
        "scope" => thread::scope(|scope| {
            scope.spawn(|| panic!("the thread gives up"));
        }),
        other => panic!("there is no mode `{other}`"),
    }
    unreachable!("nothing happened")
}

fn with_a_session(mode: &str) -> ExitCode {
    let session = phalanx::init(Threading::Funneled).expect("MPI starts");
    let world = session.world().clone();
    world.barrier().expect("all ranks have come");
    if world.rank() != 1 {
        wait_for_ever(&world).expect("a wait");
        unreachable!("the wait has an end");
    }
    now_it_happens();
    if mode == "session-panic" {
        panic!("the roof is on fire");
    }
    drop(session);
    ExitCode::SUCCESS
}

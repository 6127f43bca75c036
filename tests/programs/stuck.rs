//! Programs that stand still in the way that the argument names, until somebody ends them, or that leave
//! something behind. `where_ranks_stand.rs` starts it.

use std::os::raw::c_int;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use std::{env, fs};

use phalanx::prelude::*;
use phalanx::signal::{Signal, Signals};
use phalanx::{Threading, op};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let mode = arguments.next().expect("a mode");
    let argument = arguments.next().unwrap_or_default();
    if let Some(level) = mode.strip_prefix("threads-") {
        let level = match level {
            "multiple" => Threading::Multiple,
            _ => Threading::Serialized,
        };
        return phalanx::run_with(level, |world| threads(&world, &argument));
    }
    if mode == "handler-before" {
        handle(libc::SIGTERM);
    }
    if mode == "ignored" {
        // SAFETY: no handler of this program's is involved.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    }
    phalanx::run(|world| {
        let here = Place(PathBuf::from(&argument));
        match mode.as_str() {
            "stand" => stand(&world, &here),
            "handler" => {
                handle(libc::SIGTERM);
                until_handled(&world, &here)
            }
            "handler-before" => until_handled(&world, &here),
            "signals" => until_seen(&world, &here),
            "ignored" => {
                here.ready(&world);
                here.wait_for("end");
                Ok(())
            }
            "dropped" => dropped(&world),
            "leaks" => leaks(&world, argument.parse().expect("a number")),
            "first-collective" => first_collective(&world),
            "fails" => fails(&world),
            "dropped-operation" => dropped_operation(&world),
            other => panic!("there is no mode {other}"),
        }
    })
}

/// A folder in which ranks say that they are ready.
struct Place(PathBuf);

impl Place {
    fn ready(&self, world: &Comm) {
        let path = self.0.join(format!("ready-{}", world.rank()));
        fs::write(path, "").expect("the folder of the test");
    }

    fn wait_for(&self, name: &str) {
        while !Path::new(&self.0.join(name)).exists() {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Rank 0 waits for a message, the last one computes, all others are in a barrier.
fn stand(world: &Comm, here: &Place) -> phalanx::Result<()> {
    let last = world.size() - 1;
    world.barrier()?;
    here.ready(world);
    match world.rank() {
        rank if rank == last => here.wait_for("end"),
        0 => drop(world.recv::<u8>(from(last).tag(3))?),
        _ => world.barrier()?,
    }
    Ok(())
}

static HANDLED: AtomicBool = AtomicBool::new(false);

/// A handler of the program's own.
fn handle(signal: c_int) {
    extern "C" fn handler(_: c_int) {
        HANDLED.store(true, Ordering::Relaxed);
    }
    let handler: extern "C" fn(c_int) = handler;
    // SAFETY: the handler stores into an atomic and does nothing else.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
}

fn until_handled(world: &Comm, here: &Place) -> phalanx::Result<()> {
    here.ready(world);
    while !HANDLED.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10));
    }
    // Long enough for anybody else to end the program.
    thread::sleep(Duration::from_secs(1));
    println!("rank {} has handled it", world.rank());
    world.barrier()
}

fn until_seen(world: &Comm, here: &Place) -> phalanx::Result<()> {
    let signals = Signals::watch(&[Signal::Term])?;
    here.ready(world);
    while signals.seen().is_none() {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_secs(1));
    println!("rank {} has handled it", world.rank());
    world.barrier()
}

/// Threads other than the first wait, each in one of the ways that are named.
fn threads(world: &Comm, ways: &str) -> phalanx::Result<()> {
    let wait = |way: &str| match way {
        "recv" => world.recv::<u8>(any().tag(5)).map(drop),
        "into" => world.recv_into(&mut [0_u8; 4], any().tag(5)).map(drop),
        "object" => world.recv_object::<u8>(any().tag(5)).map(drop),
        "irecv" => world.irecv_into(vec![0_u8; 4], any().tag(5))?.wait().map(drop),
        "barrier" if world.rank() == 0 => world.barrier(),
        _ => world.recv::<u8>(any().tag(6)).map(drop),
    };
    thread::scope(|scope| {
        for way in ways.split(',') {
            let wait = &wait;
            scope.spawn(move || wait(way).expect("nothing ends it"));
        }
    });
    Ok(())
}

/// A send that is dropped, and received a while later.
fn dropped(world: &Comm) -> phalanx::Result<()> {
    match world.rank() {
        0 => drop(world.isend(vec![1_u8; 1 << 20], 1)?),
        1 => {
            thread::sleep(Duration::from_millis(700));
            let got: Vec<u8> = world.recv(0)?;
            assert_eq!(got.len(), 1 << 20);
        }
        _ => {}
    }
    Ok(())
}

/// Receives that are dropped and that nobody sends, all from one line.
fn leaks(world: &Comm, number: usize) -> phalanx::Result<()> {
    let right = (world.rank() + 1) % world.size();
    for _ in 0..number {
        drop(world.irecv_into(vec![0_u8; 8], from(right).tag(9))?);
    }
    world.barrier()
}

/// The first collective call of the program is not the same on all ranks.
fn first_collective(world: &Comm) -> phalanx::Result<()> {
    if world.rank() == 0 { world.barrier() } else { world.allreduce(&1, Sum).map(drop) }
}

/// An operation of the user's is dropped behind the last call.
fn dropped_operation(world: &Comm) -> phalanx::Result<()> {
    let largest = world.allreduce(&world.rank(), op(|a: usize, b: usize| a.max(b)))?;
    assert!(largest < world.size() - 1, "not so many");
    Ok(())
}

/// Rank 0 fails while all others wait for it.
fn fails(world: &Comm) -> phalanx::Result<()> {
    if world.rank() == 0 {
        world.send(&1, world.size())?;
    }
    world.barrier()
}

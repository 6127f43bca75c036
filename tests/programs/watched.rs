//! Programs that wait in the way that the argument names: for ever, or for a while. `watch.rs` and
//! `hosts.rs` start it.

use std::env;
use std::process::{self, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use phalanx::prelude::*;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let mode = arguments.next().expect("a mode");
    let seconds = arguments.next().map_or(1.0, |text| text.parse().expect("seconds"));
    phalanx::run(|world| match mode.as_str() {
        "cycle" => cycle(&world),
        "cycle-of-two" => two(&world),
        "stopped" => stopped(&world),
        "slow" => slow(&world, Duration::from_secs_f64(seconds)),
        "busy" => busy(&world, Duration::from_secs_f64(seconds)),
        "lost" => lost(&world),
        "left-behind" => left_behind(&world),
        "nodes" => nodes(&world),
        other => panic!("there is no mode {other}"),
    })
}

/// Who shares memory with whom.
fn nodes(world: &Comm) -> phalanx::Result<()> {
    let node = world.split_by_node()?;
    let host = phalanx::processor_name()?;
    println!("rank {} is {} of {} on {host}", world.rank(), node.rank(), node.size());
    node.free()
}

/// Everybody receives before it sends.
fn cycle(world: &Comm) -> phalanx::Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let left: usize = world.recv((rank + size - 1) % size)?;
    world.send(&left, (rank + 1) % size)
}

/// The first and the last rank wait for each other, the others for them.
fn two(world: &Comm) -> phalanx::Result<()> {
    let last = world.size() - 1;
    match world.rank() {
        0 => drop(world.recv::<u8>(last)?),
        rank if rank == last => drop(world.recv::<u8>(0)?),
        _ => {}
    }
    world.barrier()
}

/// Rank 1 is stopped by a signal while the others wait for it.
fn stopped(world: &Comm) -> phalanx::Result<()> {
    if world.rank() == 1 {
        println!("stopped: {}", process::id());
        // SAFETY: a signal to this process.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
    world.barrier()
}

/// Rank 0 computes while the others wait for it.
fn slow(world: &Comm, time: Duration) -> phalanx::Result<()> {
    if world.rank() == 0 {
        let end = Instant::now() + time;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
    }
    world.barrier()?;
    // The watch sees that it goes on.
    thread::sleep(time / 2);
    world.barrier()
}

/// A message that nobody receives.
fn lost(world: &Comm) -> phalanx::Result<()> {
    if world.rank() == 0 && world.size() > 1 {
        world.send(&[1, 2, 3], to(1).tag(7))?;
        world.send(&[1.5], to(1).tag(9))?;
    }
    if world.rank() == 1 {
        let _: Vec<f64> = world.recv(from(0).tag(9))?;
    }
    Ok(())
}

/// A request that is dropped and a communicator that is not freed.
fn left_behind(world: &Comm) -> phalanx::Result<()> {
    let kept = world.dup()?;
    kept.set_name("kept")?;
    let next = (world.rank() + 1) % world.size();
    let previous = (world.rank() + world.size() - 1) % world.size();
    drop(world.isend(vec![1_u8; 10], next)?);
    let _: Vec<u8> = world.recv(previous)?;
    world.barrier()
}

/// A small generator of numbers, so that all ranks draw the same ones.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }
}

/// All kinds of messages between all ranks, with pauses of all lengths, for a while.
fn busy(world: &Comm, time: Duration) -> phalanx::Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let start = Instant::now();
    let mut together = Dice(0x1234_5678_9abc_def1);
    let mut alone = Dice(0x9e37_79b9_7f4a_7c15 ^ (rank as u64 + 1));
    let rows = world.split(Some((rank % 2) as u32), 0)?.expect("every rank has a color");
    let mut rounds = 0;
    loop {
        let over = world.bcast_object((rank == 0).then(|| start.elapsed() > time), 0)?;
        if over {
            break;
        }
        if alone.below(8) == 0 {
            thread::sleep(Duration::from_millis(alone.below(400)));
        }
        let distance = together.below(size as u64) as usize;
        let (to_whom, from_whom) = ((rank + distance) % size, (rank + size - distance) % size);
        let length = [1, 100, 20_000][together.below(3) as usize];
        match together.below(8) {
            0 => drop(world.sendrecv(&vec![rank; length], to_whom, from_whom)?),
            1 => assert_eq!(world.allreduce(&1, Sum)? as usize, size),
            2 => {
                let sending = world.isend(vec![rank; length], to_whom)?;
                let got: Vec<usize> = world.recv(from_whom)?;
                assert_eq!(got, vec![from_whom; length]);
                sending.wait()?;
            }
            3 => rows.barrier()?,
            4 => {
                // Everybody sends one message to rank 0, which takes them as they come.
                if rank == 0 {
                    for _ in 1..size {
                        world.recv::<u64>(any().tag(4))?;
                    }
                } else {
                    world.send(&1_u64, to(0).tag(4))?;
                }
                world.barrier()?;
            }
            5 => {
                let sum = world.iallreduce(rank, Sum)?;
                thread::sleep(Duration::from_micros(alone.below(3000)));
                assert_eq!(sum.wait()?, size * (size - 1) / 2);
            }
            6 => {
                let names = world.allgather_object(&format!("rank {rank}"))?;
                assert_eq!(names.len(), size);
            }
            _ => {
                let receiving = world.irecv_at_most::<Vec<u8>>(length, from_whom)?;
                world.isend(vec![7_u8; length], to_whom)?.wait()?;
                receiving.wait()?;
            }
        }
        rounds += 1;
    }
    rows.free()?;
    if rank == 0 {
        println!("{rounds} rounds");
    }
    Ok(())
}

//! Deadlock: mistakes that everybody makes once, and what the watch says of each.
//!
//! Teaches: of a program that hangs one is told why, with ranks, calls and lines; strict mode finds
//! what would hang, or be wrong, with other messages or another MPI library.
//!
//! ```text
//! target/release/deadlock --list
//! mpirun -n 2 target/release/deadlock receive-cycle
//! mpirun -n 2 target/release/deadlock different-root
//! ```
//!
//! The watch is on in every program: `PHALANX_WATCH=off|on|strict` changes that. It tells a deadlock after
//! three seconds, and slow ranks after `PHALANX_WATCH_AFTER=30s`; one second is enough here.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, thread};

use clap::Parser;
use phalanx::Result;
use phalanx::prelude::*;

use Watch::{On, Strict};

/// Makes a mistake with messages, to show how it is explained. Ends with exit code 86 when
/// the watch ends the job, otherwise with 1.
#[derive(Parser)]
#[command(
    name = "deadlock",
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  deadlock --list                              the mistakes, a line each
  mpirun -n 2 deadlock receive-cycle           both ranks receive first
  PHALANX_WATCH=off mpirun -n 2 deadlock …     the same without a word, for ever"
)]
struct Args {
    /// The mistake
    #[arg(value_name = "CASE", required_unless_present = "list", value_parser = known)]
    case: Option<&'static Case>,
    /// List all of them
    #[arg(long)]
    list: bool,
}

struct Case {
    name: &'static str,
    /// So many ranks, or more.
    ranks: usize,
    watch: Watch,
    about: &'static str,
    run: fn(&Comm) -> Result<()>,
}

/// What the watch has to be for it.
#[derive(Clone, Copy, PartialEq)]
enum Watch {
    On,
    /// The program may run through; the mistake is there all the same.
    Strict,
}

/// `name => function, ranks, watch: about;`
macro_rules! cases {
    ($($name:literal => $run:ident, $ranks:literal, $watch:ident: $about:literal;)*) => {
        &[$(Case { name: $name, ranks: $ranks, watch: $watch, about: $about, run: $run }),*]
    };
}

const CASES: &[Case] = cases! {
    "receive-cycle" => receive_cycle, 2, On:
        "every rank receives first, so nobody sends";
    "send-cycle" => send_cycle, 2, On:
        "every rank sends a large message first, so nobody receives";
    "small-send-cycle" => small_send_cycle, 2, Strict:
        "the same with messages that happen to be small enough";
    "any-source-knot" => any_source_knot, 2, On:
        "every rank waits for anybody";
    "wait-cycle" => wait_cycle, 2, On:
        "one waits for a message, its sender in a barrier";
    "waiting-for-itself" => waiting_for_itself, 2, On:
        "a rank receives from itself what it would send next";
    "peer-gone" => peer_gone, 2, On:
        "a rank waits for one more message of a rank that has left";
    "tag-near-miss" => tag_near_miss, 2, On:
        "the message is there, but its tag is another";
    "wrong-communicator" => wrong_communicator, 2, On:
        "the message is there, but on a duplicate";
    "missing-in-a-collective" => missing_in_a_collective, 3, On:
        "one rank takes another branch than the others";
    "rank-outside-mpi" => rank_outside_mpi, 2, On:
        "a rank waits for one that is busy elsewhere";
    "polling" => polling, 2, On:
        "a rank asks again and again for what never comes";
    "message-truncated" => message_truncated, 2, On:
        "a message is longer than the room for it";
    "never-completed" => never_completed, 2, On:
        "a receive that is dropped, and that no message matches";
    "different-collectives" => different_collectives, 2, Strict:
        "two ranks call two collectives in different orders";
    "different-root" => different_root, 2, Strict:
        "every rank thinks that it is the root";
    "different-reduction" => different_reduction, 2, Strict:
        "one rank asks for the sum, the other for the maximum";
    "different-count" => different_count, 2, Strict:
        "one rank gives more elements than the other";
    "different-type" => different_type, 2, Strict:
        "one rank gives floats, the other integers of the same size";
    "type-mismatch" => type_mismatch, 2, Strict:
        "floats are received as integers of the same size";
    "dropped-without-wait" => dropped_without_wait, 2, Strict:
        "nobody asks whether a send was completed";
    "never-received" => never_received, 2, Strict:
        "a message that nobody receives";
    "never-freed" => never_freed, 2, Strict:
        "a communicator for each step, and none is freed";
};

fn main() -> ExitCode {
    // Before MPI starts; what is wrong with the arguments is said afterwards, once.
    if let Ok(Args { case: Some(case), .. }) = Args::try_parse() {
        set_watch(case);
    }
    phalanx::run(|world| {
        let args: Args = match examples::arguments(&world) {
            Ok(args) => args,
            Err(code) => return Ok(code),
        };
        let Some(case) = args.case else {
            if world.rank() == 0 {
                list();
            }
            return Ok(ExitCode::SUCCESS);
        };
        let Case { name, ranks, .. } = case;
        if world.size() < *ranks {
            let need =
                format!("{name} needs {ranks} ranks or more: mpirun -n {ranks} deadlock {name}");
            return Ok(examples::refuse(&world, &need));
        }
        (case.run)(&world)?;
        // It ran through, or the watch has spoken already: a mistake it is.
        Ok::<_, phalanx::Error>(ExitCode::FAILURE)
    })
}

fn known(name: &str) -> std::result::Result<&'static Case, String> {
    let case = CASES.iter().find(|case| case.name == name);
    case.ok_or_else(|| "there is no such case: see --list".to_owned())
}

fn list() {
    for Case { name, ranks, watch, about, .. } in CASES {
        let strict = if *watch == Strict { " (strict)" } else { "" };
        println!("{name:<24} {ranks} ranks  {about}{strict}");
    }
}

/// Starts this program anew with what the case needs, in the same process, unless the user has set
/// it: the library reads its settings when MPI starts.
fn set_watch(case: &Case) {
    let mode = if case.watch == Strict { "strict" } else { "on" };
    let mut missing = vec![("PHALANX_WATCH", mode), ("PHALANX_WATCH_AFTER", "1s")];
    missing.retain(|(name, _)| env::var_os(name).is_none());
    let Ok(program) = env::current_exe() else { return };
    if !missing.is_empty() {
        let error = Command::new(program).args(env::args_os().skip(1)).envs(missing).exec();
        eprintln!("deadlock: cannot start anew, so that the watch takes its time: {error}");
    }
}

/// The neighbours of a rank in a ring.
fn neighbours(world: &Comm) -> (usize, usize) {
    let (rank, size) = (world.rank(), world.size());
    ((rank + size - 1) % size, (rank + 1) % size)
}

/// A receive returns when the message is here; the send that would bring it comes after a receive,
/// on every rank. `sendrecv` does both at once.
fn receive_cycle(world: &Comm) -> Result<()> {
    let (left, right) = neighbours(world);
    let got: i32 = world.recv(left)?;
    world.send(&got, right)
}

/// A send of a large message returns when the receiver takes it, and every rank sends first.
fn send_cycle(world: &Comm) -> Result<()> {
    let (left, right) = neighbours(world);
    world.send(&vec![1.0; 1 << 20], right)?;
    world.recv::<Vec<f64>>(left).map(drop)
}

/// Libraries copy small messages aside, so that this runs, until the messages grow or the library
/// is another. In strict mode a send waits for its receiver.
fn small_send_cycle(world: &Comm) -> Result<()> {
    let (left, right) = neighbours(world);
    world.send(&1.0, right)?;
    world.recv::<f64>(left).map(drop)
}

/// Anybody's message would do, but everybody waits for one.
fn any_source_knot(world: &Comm) -> Result<()> {
    let (got, status) = world.recv_with_status::<i32>(any())?;
    world.send(&got, status.source)
}

/// Rank 1 comes to the barrier after the message, rank 0 sends the message after the barrier.
fn wait_cycle(world: &Comm) -> Result<()> {
    if world.rank() == 1 {
        world.recv::<i32>(0)?;
    }
    world.barrier()?;
    if world.rank() == 0 {
        world.send(&1, 1)?;
    }
    Ok(())
}

/// While a rank waits it cannot send, least of all to itself. A loop over all ranks forgot to leave
/// out its own.
fn waiting_for_itself(world: &Comm) -> Result<()> {
    for rank in 0..world.size() {
        if rank != world.rank() {
            world.isend(vec![1], rank)?.wait()?;
        }
    }
    for rank in 0..world.size() {
        world.recv::<i32>(rank)?;
    }
    Ok(())
}

/// Rank 1 sends three messages and is done; rank 0 counts to four.
fn peer_gone(world: &Comm) -> Result<()> {
    match world.rank() {
        0 => (0..=3).try_for_each(|_| world.recv::<i32>(1).map(drop)),
        1 => (0..3).try_for_each(|step| world.send(&step, 0)),
        _ => Ok(()),
    }
}

/// A receive with a tag takes no message with another.
fn tag_near_miss(world: &Comm) -> Result<()> {
    match world.rank() {
        0 => world.send(&1, to(1).tag(7)),
        1 => world.recv::<i32>(from(0).tag(8)).map(drop),
        _ => Ok(()),
    }
}

/// Messages of one communicator are never seen on another, even if it has the same ranks.
fn wrong_communicator(world: &Comm) -> Result<()> {
    let other = world.dup()?;
    match world.rank() {
        0 => other.send(&1, 1)?,
        1 => drop(world.recv::<i32>(0)?),
        _ => {}
    }
    other.barrier()?;
    other.free()
}

/// All ranks of a communicator call its collectives. Here one finds that it has nothing to do.
fn missing_in_a_collective(world: &Comm) -> Result<()> {
    let work = [3, 0, 5, 4][world.rank() % 4];
    if work > 0 {
        let total = world.allreduce(&work, Sum)?;
        println!("{total} pieces of work in all");
    }
    Ok(())
}

/// How long a demonstration takes that nothing would end: the watch has spoken by then.
const ENOUGH: Duration = Duration::from_secs(4);

/// Nobody can know whether the other will ever be done, so the watch warns and leaves it to you.
fn rank_outside_mpi(world: &Comm) -> Result<()> {
    if world.rank() == 0 {
        // Reads a file that has no end, waits for a lock, computes…
        thread::sleep(ENOUGH);
    }
    world.barrier()
}

/// Rank 0 looks again and again for the answer to a question that it asks only afterwards.
fn polling(world: &Comm) -> Result<()> {
    match world.rank() {
        0 => {
            let start = Instant::now();
            while world.try_probe(1)?.is_none() && start.elapsed() < ENOUGH {
                // … work …
                thread::yield_now();
            }
            world.send(&6, 1)?;
            assert_eq!(world.recv::<i32>(1)?, 42);
        }
        1 => {
            let question: i32 = world.recv(0)?;
            world.send(&(question * 7), 0)?;
        }
        _ => {}
    }
    Ok(())
}

/// A message longer than the buffer is lost, and that is an error in every mode.
fn message_truncated(world: &Comm) -> Result<()> {
    match world.rank() {
        0 => world.send(&[1; 10], 1),
        1 => world.recv_into(&mut [0; 8], 0).map(drop),
        _ => Ok(()),
    }
}

/// Rank 0 expects a message that nobody sends, and does not wait for it either.
fn never_completed(world: &Comm) -> Result<()> {
    if world.rank() == 0 {
        drop(world.irecv_into(vec![0; 4], from(1).tag(77))?);
    }
    world.barrier()
}

/// What a library makes of this differs: nothing, wrong numbers, a hang.
fn different_collectives(world: &Comm) -> Result<()> {
    if world.rank() == 0 {
        world.barrier()?;
        world.allreduce(&1, Sum)?;
    } else {
        world.allreduce(&1, Sum)?;
        world.barrier()?;
    }
    Ok(())
}

/// Each takes its own value for the one that all others get.
fn different_root(world: &Comm) -> Result<()> {
    let mut value = world.rank();
    world.bcast(&mut value, world.rank())
}

/// The result is neither.
fn different_reduction(world: &Comm) -> Result<()> {
    let mine = world.rank() as f64;
    let got = match world.rank() {
        0 => world.allreduce(&mine, Max)?,
        _ => world.allreduce(&mine, Sum)?,
    };
    println!("rank {}: {got}", world.rank());
    Ok(())
}

/// Every rank must give as many elements as the others.
fn different_count(world: &Comm) -> Result<()> {
    let mine = vec![1.0; 4 + world.rank().min(1)];
    world.allreduce(&mine, Sum).map(drop)
}

/// The bytes of one are added to those of the other.
fn different_type(world: &Comm) -> Result<()> {
    match world.rank() {
        0 => world.allreduce(&1.0_f64, Sum).map(drop),
        _ => world.allreduce(&1_i64, Sum).map(drop),
    }
}

/// The bytes fit, the numbers are nonsense. Strict mode sends the type along.
fn type_mismatch(world: &Comm) -> Result<()> {
    match world.rank() {
        0 => world.send(&[1.0_f64; 4], 1)?,
        1 => println!("received {:?}", world.recv::<Vec<i64>>(0)?),
        _ => {}
    }
    Ok(())
}

/// Without a wait an error of the send is never heard of.
fn dropped_without_wait(world: &Comm) -> Result<()> {
    match world.rank() {
        0 => drop(world.isend(vec![1; 4], 1)?),
        1 => drop(world.recv::<Vec<i32>>(0)?),
        _ => {}
    }
    world.barrier()
}

/// A buffered send needs no receiver to return; somebody should receive the message all the same.
fn never_received(world: &Comm) -> Result<()> {
    if world.rank() == 0 {
        phalanx::attach_buffer(1024)?;
        world.bsend(&1, 1)?;
    }
    world.barrier()
}

/// Libraries have room for some thousands of communicators. Dropping one cannot free it: all ranks
/// must do that together, with `free`.
fn never_freed(world: &Comm) -> Result<()> {
    for _ in 0..3 {
        let step = world.dup()?;
        step.barrier()?;
    }
    Ok(())
}

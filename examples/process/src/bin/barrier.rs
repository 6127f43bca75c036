//! A barrier: nobody begins the next phase before all have ended this one.
//!
//! ```text
//! cargo run --release -p process-examples --bin barrier
//! ```

use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Barrier, Process, Result, SharedAtomic, current};
use process_examples::{sleep_ms, verdict};

/// Takes processes through some phases, all of them at the same time.
#[derive(Parser)]
#[command(name = "barrier", version)]
struct Args {
    /// Processes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    processes: u32,
    /// Phases
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    phases: u32,
}

/// Whether everybody had ended each phase when this process left the barrier behind it.
fn work((barrier, ended, phases): (Barrier, SharedAtomic<u32>, u32)) -> bool {
    let mut in_step = true;
    for phase in 1..=phases {
        sleep_ms(fastrand::u64(0..30));
        ended.fetch_add(1);
        let pass = barrier.wait().expect("nobody died");
        in_step &= ended.load() >= phase * barrier.parties() as u32;
        if pass.is_leader() {
            println!("phase {phase} is over; {} says so", current().name());
        }
    }
    in_step
}

fn main() -> Result<ExitCode> {
    let Args { processes, phases } = Args::parse();
    let barrier = Barrier::new(processes as usize)?;
    let ended = SharedAtomic::new(0)?;
    let running: Vec<_> = (0..processes)
        .map(|_| Process::spawn(work, (barrier.clone(), ended.clone(), phases)))
        .collect::<Result<_>>()?;
    let mut in_step = true;
    for process in running {
        in_step &= process.join()?;
    }
    let is_right = in_step && ended.load() == processes * phases;
    Ok(verdict(is_right, "all processes in the same phase"))
}

//! The states of a process: before, while and after it is killed.
//!
//! ```text
//! cargo run --release -p process-examples --bin kill
//! ```

use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Process, Result};
use process_examples::{sleep_ms, verdict};

/// Ends processes in four ways, and shows their exit codes.
#[derive(Parser)]
#[command(name = "kill", version)]
struct Args {}

fn sleep_for_long(_: ()) {
    sleep_ms(3_600_000);
}

fn leave_early(_: ()) {
    std::process::exit(3);
}

fn show(when: &str, process: &Process<()>) {
    println!("{when}: alive {}, exit code {:?}", process.is_alive(), process.exit_code());
}

fn main() -> Result<ExitCode> {
    let Args {} = Args::parse();
    let process = Process::spawn(sleep_for_long, ())?;
    show("started   ", &process);
    let was_alive = process.is_alive() && process.exit_code().is_none();
    process.terminate()?;
    show("terminated", &process);
    let terminated = process.wait();
    show("ended     ", &process);

    let process = Process::spawn(sleep_for_long, ())?;
    process.kill()?;
    let killed = process.wait();
    let error = process.join().expect_err("it was killed");
    println!("\njoin says: {error}\n");

    let exited = Process::spawn(leave_early, ())?.wait();
    let returned = Process::spawn(|()| (), ())?.wait();
    println!(
        "exit codes: terminated {terminated}, killed {killed}, exited {exited}, returned {returned}"
    );
    let is_right = was_alive
        && (terminated, killed, exited, returned) == (-15, -9, 3, 0)
        && error.is_died()
        && error.exit_code() == Some(-9);
    Ok(verdict(is_right, "the exit codes -15, -9, 3 and 0"))
}

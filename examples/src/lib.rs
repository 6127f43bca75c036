//! What the examples share: the command line of a program that runs as many processes.

use std::ops::RangeInclusive;
use std::process::{self, ExitCode};

use clap::Parser;
use phalanx::prelude::*;

/// Reads the command line on every rank and speaks about it once.
///
/// Every rank sees the same arguments, so every rank comes to the same verdict without talking;
/// help and errors are printed by rank 0 alone. `Err` holds the exit code to return from `main`:
/// 0 after `--help` and `--version`, 2 after a mistake.
///
/// # Errors
/// The exit code, when the program has nothing more to do.
pub fn arguments<A: Parser>(world: &Comm) -> Result<A, ExitCode> {
    A::try_parse().map_err(|message| {
        // Without colours: some launchers give ranks a terminal that is none.
        let text = message.render();
        match (world.rank(), message.use_stderr()) {
            (0, true) => eprint!("{text}"),
            (0, false) => print!("{text}"),
            _ => {}
        }
        leave(world, u8::try_from(message.exit_code()).unwrap_or(2))
    })
}

/// Ends a program that takes no arguments and was given one, on every rank: with code 0 after help, else with 2, because
/// a typing error should not go unnoticed.
pub fn takes_no_arguments() {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let Some(argument) = arguments.next() else { return };
    phalanx::parse_arguments(|| {
        let usage = format!("Usage: mpirun -n 4 {program}");
        if argument == "--help" || argument == "-h" {
            println!("{name} takes no arguments\n\n{usage}");
            process::exit(0);
        }
        eprintln!("error: {name} takes no arguments, and was given `{argument}`\n\n{usage}");
        process::exit(2);
    });
}

/// Says once for the whole job what went wrong, and gives the exit code 1.
#[must_use]
pub fn fail(world: &Comm, what: &str) -> ExitCode {
    if world.rank() == 0 {
        eprintln!("error: {what}");
    }
    leave(world, 1)
}

/// Says once for the whole job what the example needs, and gives the exit code 2.
#[must_use]
pub fn refuse(world: &Comm, need: &str) -> ExitCode {
    if world.rank() == 0 {
        eprintln!("error: {need}");
    }
    leave(world, 2)
}

/// A launcher may end the whole job at the first exit code that is not 0: nobody leaves before
/// rank 0 has spoken.
fn leave(world: &Comm, code: u8) -> ExitCode {
    match world.barrier() {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}

/// A number with its noun: "1 rank", "4 ranks".
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Reads a whole number in `range`, in each way people write large ones: `20000000`, `20_000_000`
/// and `2e7`. For `#[arg(value_parser = …)]`.
pub fn whole(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let text = text.replace('_', "");
        let exact = text.parse().ok();
        let written = || text.parse::<f64>().ok().filter(|n| n.fract() == 0.0 && *n >= 0.0);
        exact.or_else(|| written().map(|n| n as u64)).filter(|n| range.contains(n)).ok_or_else(
            || format!("expected a whole number from {} to {}", range.start(), range.end()),
        )
    }
}

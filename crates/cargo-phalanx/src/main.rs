//! `cargo phalanx`: runs, tests and diagnoses MPI programs, and writes batch scripts.

mod batch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Cargo starts `cargo-phalanx phalanx …`: the first word is its own name.
#[derive(Parser)]
#[command(name = "cargo", bin_name = "cargo")]
enum Cargo {
    Phalanx(Phalanx),
}

/// Runs, tests and diagnoses MPI programs, and writes batch scripts
#[derive(clap::Args)]
#[command(version)]
struct Phalanx {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Batch(batch::Args),
}

fn main() -> ExitCode {
    let Cargo::Phalanx(phalanx) = Cargo::parse();
    match phalanx.command {
        Command::Batch(args) => batch::run(&args),
    }
}

//! `cargo phalanx batch`: a script for a batch system.

use std::process::ExitCode;

/// Writes a script for a batch system
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> ExitCode {
    ExitCode::FAILURE
}

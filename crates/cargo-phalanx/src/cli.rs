//! The command line.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{batch, doctor, documents, new, run, setup, test};

/// Builds, starts, tests, debugs and submits MPI programs written with Phalanx.
#[derive(Debug, Parser)]
#[command(name = "cargo-phalanx", version, max_term_width = 100)]
#[command(after_help = "`cargo phalanx COMMAND --help` says more of each.\n\
                        Exit code 101: the command itself failed; 2: it was not understood.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line, or ends the process with what was wrong, or with help.
    pub fn read(arguments: Vec<OsString>) -> Cli {
        // In help it is called as people type it; completions and manual pages need one word.
        let command = Cli::command().bin_name("cargo phalanx");
        let matches = command.get_matches_from(arguments);
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a program and run it on several ranks
    Run(run::Arguments),
    /// Run the tests, strictly watched, with a summary by number of ranks
    Test(test::Arguments),
    /// Say which MPI there is, what is wrong with it, and what helps
    Doctor(doctor::Arguments),
    /// Write a script for a batch system
    Batch(batch::Arguments),
    /// Install an MPI and what a build needs, with or without root
    Setup(setup::Arguments),
    /// Start a project: a program for several ranks, and its test
    New(new::Arguments),
    /// Print completions for a shell
    Completions(documents::Completions),
    /// Print the manual page, or write those of all commands
    Man(documents::Man),
}

impl Command {
    pub fn execute(self) -> Result<ExitCode> {
        match self {
            Command::Run(arguments) => run::execute(arguments),
            Command::Test(arguments) => test::execute(arguments),
            Command::Doctor(arguments) => doctor::execute(arguments),
            Command::Batch(arguments) => batch::execute(arguments),
            Command::Setup(arguments) => setup::execute(&arguments),
            Command::New(arguments) => new::execute(&arguments),
            Command::Completions(arguments) => documents::completions(&arguments),
            Command::Man(arguments) => documents::man(&arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

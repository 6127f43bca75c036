//! The command line.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{batch, doctor, documents, new, run, setup, test};

/// Builds, starts, tests, debugs and submits MPI programs written with Phalanx.
#[derive(Debug, Parser)]
#[command(name = "cargo-phalanx", version, max_term_width = 100)]
#[command(after_help = "`cargo phalanx COMMAND --help` describes each command.\n\
                        Exit code 101: the command failed; 2: invalid arguments.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line, or ends the process with an error message or with help.
    pub fn read(arguments: Vec<OsString>) -> Cli {
        // In help it is called as people type it; completions and manual pages need one word.
        let command = Cli::command().bin_name("cargo phalanx");
        let matches = command.get_matches_from(arguments);
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The words of each in help are those of its arguments: here they would replace them.
#[derive(Debug, Subcommand)]
pub enum Command {
    Run(run::Arguments),
    Test(test::Arguments),
    Doctor(doctor::Arguments),
    Batch(batch::Arguments),
    Setup(setup::Arguments),
    New(new::Arguments),
    Completions(documents::Completions),
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
            Command::Completions(arguments) => documents::completions(&arguments, &Cli::command()),
            Command::Man(arguments) => documents::man(&arguments, Cli::command()),
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

    #[test]
    fn every_command_option_and_value_has_help() {
        for command in std::iter::once(&Cli::command()).chain(Cli::command().get_subcommands()) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let name = format!("{} {}", command.get_name(), argument.get_id());
                assert!(argument.get_help().is_some(), "{name}");
                for value in argument.get_possible_values() {
                    // clap's own type has values that need no words.
                    let is_ours = !["auto", "always", "never"].contains(&value.get_name());
                    let is_flag = ["true", "false"].contains(&value.get_name());
                    assert!(!is_ours || is_flag || value.get_help().is_some(), "{name}: {value:?}");
                }
            }
        }
    }
}

//! `cargo phalanx`: builds, starts, tests, debugs and submits MPI programs, and diagnoses MPI
//! installations. `cargo phalanx --help` lists the commands.

mod batch;
mod cli;
mod doctor;
mod documents;
mod folders;
mod new;
mod print;
mod project;
mod run;
mod setup;
mod test;
mod tools;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

/// Exit code of a command that failed, as that of cargo itself.
pub const FAILURE: u8 = 101;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    // Cargo passes the name of the command on.
    if arguments.get(1).is_some_and(|argument| argument == "phalanx") {
        arguments.remove(1);
    }
    match cli::Cli::read(arguments).command.execute() {
        Ok(code) => code,
        Err(error) if print::is_pipe_closed(&error) => ExitCode::from(print::PIPE_CLOSED),
        Err(error) => {
            print::note(format!("error: {error:#}"));
            ExitCode::from(FAILURE)
        }
    }
}

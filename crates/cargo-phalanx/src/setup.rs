//! `cargo phalanx setup`: installs what a build needs.

use std::process::ExitCode;

use anyhow::Result;

use crate::print;
use crate::project::{Build, Place};
use crate::tools::Tools;
use crate::values::Mpi;

/// Install an MPI and what a build needs, with or without root
///
/// Installs what is missing of a C compiler, libclang and an MPI: as root (or with sudo that asks for
/// no password) as packages of the system, otherwise as Python wheels under ~/.local/share/phalanx, for
/// all projects. What is there already stays. Prints the settings that a shell needs to type cargo and
/// mpiexec; `cargo phalanx run` and `cargo phalanx test` find them by themselves.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  eval \"$(cargo phalanx setup --mpi mpich)\"")]
pub struct Arguments {
    /// The family of the MPI
    #[arg(long, value_enum, default_value = "any")]
    mpi: Mpi,
    /// Install nothing, only say what there is or what is missing
    #[arg(long)]
    check: bool,
}

pub fn execute(arguments: &Arguments) -> Result<ExitCode> {
    let place = Place::find(&Build::default())?;
    let tools = if arguments.check {
        Tools::look(arguments.mpi, &place)?
    } else {
        Tools::install(arguments.mpi, &place)?
    };
    print::note(format!(
        "phalanx: {}, compiler {}, launcher {}",
        tools.mpi,
        tools.compiler.display(),
        tools.launcher.display()
    ));
    // Outside of a project there is nothing yet that would be built here.
    let is_wanted = |line: &&str| place.is_project || !line.starts_with("export CARGO_TARGET_DIR=");
    let lines: Vec<&str> = tools.exports.lines().filter(is_wanted).collect();
    print::out(format!("{}\n", lines.join("\n")))?;
    Ok(ExitCode::SUCCESS)
}

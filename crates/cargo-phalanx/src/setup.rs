//! `cargo phalanx setup`: installs what a build needs.

use std::process::ExitCode;

use anyhow::Result;

use crate::project::{Build, root_or_here};
use crate::tools::Tools;
use crate::values::Mpi;

/// Install an MPI and what a build needs, with or without root
///
/// Installs what is missing of a C compiler, libclang and an MPI: as root (or with sudo that asks for
/// no password) as packages of the system, otherwise as Python wheels under target/mpi, which go with
/// `cargo clean`. What is there already stays. Prints the settings that a shell needs to type cargo and
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
    let root = root_or_here(&Build::default())?;
    let tools = if arguments.check {
        Tools::find(arguments.mpi, &root)?
    } else {
        Tools::install(arguments.mpi, &root)?
    };
    eprintln!(
        "phalanx: {}, compiler {}, launcher {}",
        tools.mpi,
        tools.compiler.display(),
        tools.launcher.display()
    );
    println!("{}", tools.exports.trim_end());
    Ok(ExitCode::SUCCESS)
}

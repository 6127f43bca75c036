//! `cargo phalanx setup`: installs what a build needs.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;
use rustix::process::geteuid;

use crate::folders::Folders;
use crate::project::Build;
use crate::tools::{self, Tools, on_path};
use crate::values::Mpi;
use crate::{FAILURE, print};

/// Install an MPI and what a build needs, with or without root
///
/// Installs what is missing of a C compiler, libclang and an MPI: as root (or with sudo that needs no
/// password) as packages of the system, otherwise with python3 as wheels under ~/.local/share/phalanx,
/// for all projects. What is installed already is not changed. Prints the settings that a shell needs for
/// cargo and mpiexec; `cargo phalanx run` and `cargo phalanx test` find them by themselves.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  eval \"$(cargo phalanx setup --mpi mpich)\"")]
pub struct Arguments {
    /// Family of the MPI
    #[arg(long, value_enum, default_value = "any")]
    mpi: Mpi,
    /// List what is installed and what is missing, without installing anything
    #[arg(long)]
    check: bool,
}

pub fn execute(arguments: &Arguments) -> Result<ExitCode> {
    let here = Build::default().folders()?;
    if arguments.check {
        return check(arguments.mpi, &here);
    }
    let tools = Tools::install(arguments.mpi, &here)?;
    print::note(format!(
        "phalanx: {}, compiler {}, launcher {}",
        tools.mpi,
        tools.compiler.display(),
        tools.launcher.display()
    ));
    // Outside of a project there is nothing yet that would be built here.
    let is_wanted = |line: &&str| here.is_project || !line.starts_with("export CARGO_TARGET_DIR=");
    let lines: Vec<&str> = tools.exports.lines().filter(is_wanted).collect();
    if io::stdout().is_terminal() {
        print::note(format!(
            "phalanx: `cargo phalanx run` and `cargo phalanx test` find these tools by themselves; for cargo and \
             {} in this shell: eval \"$({})\"",
            tools.launcher.file_name().unwrap_or_default().display(),
            command_for(arguments.mpi)
        ));
    }
    print::out(format!("{}\n", lines.join("\n")))?;
    Ok(ExitCode::SUCCESS)
}

/// Lists the tools of a build. Exit code 0 if none is missing.
fn check(family: Mpi, here: &Folders) -> Result<ExitCode> {
    let rust = version_of("rustc");
    let missing = tools::missing_tools(family, here)?;
    let has = |tool: &str| !missing.iter().any(|it| it == tool);
    let has_mpi = missing.iter().all(|it| ["compiler", "libclang"].contains(&it.as_str()));
    let tools = match Tools::look(family, here) {
        Ok(tools) => Some(tools),
        Err(error) if missing.is_empty() && rust.is_some() => return Err(error),
        Err(_) => None,
    };
    let mpi = tools.as_ref().map(|it| format!("{} ({})", it.mpi, it.compiler.display()));
    let launcher = tools.as_ref().map(|it| it.launcher.display().to_string());
    let setup = command_for(family);
    let has_a_way =
        geteuid().is_root() || ["sudo", "python3"].iter().any(|it| on_path(it).is_some());
    let needs = if has_a_way { "" } else { " as root, or with python3" };
    let installs = format!("`{setup}` installs it{needs}");
    let rustup = "install it from https://rustup.rs".to_owned();
    let found = String::new;
    let mut text = String::new();
    for (name, is_here, about, remedy) in [
        ("Rust", rust.is_some(), rust.unwrap_or_default(), &rustup),
        ("C compiler", has("compiler"), version_of("cc").unwrap_or_default(), &installs),
        ("libclang", has("libclang"), found(), &installs),
        ("MPI", has_mpi, mpi.unwrap_or_default(), &installs),
        ("launcher", has_mpi, launcher.unwrap_or_default(), &installs),
    ] {
        let state = if is_here { "ok" } else { "missing" };
        let about = if is_here { &about } else { remedy };
        let line = format!("{state:<8} {name:<11} {about}");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let complete = !text.contains("missing ");
    text += &match complete {
        true => {
            "\nAll tools are installed: `cargo phalanx new NAME` creates a project.\n".to_owned()
        }
        false => format!("\n`{setup}` installs what is missing{needs}.\n"),
    };
    print::out(text)?;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

/// How people type it.
fn command_for(family: Mpi) -> String {
    match family {
        Mpi::Any => "cargo phalanx setup".to_owned(),
        _ => format!("cargo phalanx setup --mpi {}", family.name()),
    }
}

/// The first line of what a program says of its version.
fn version_of(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

//! `cargo phalanx test`: runs the tests and counts by number of ranks.

mod select;
mod summary;

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use clap::builder::Resettable::Reset;

use crate::folders::Folders;
use crate::project::{Build, cargo};
use crate::tools::Tools;
use crate::values::{self, Mpi};
use crate::{FAILURE, print};
use summary::Summary;

/// Run the tests in strict mode, with a summary by number of ranks
///
/// Without -n all tests run, also those of a single process and in documentation; with -n only those that
/// are declared for these numbers of ranks (`#[phalanx::test(ranks = [1, 2, 4])]`).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo phalanx test
  cargo phalanx test -n 2,4 gather
  cargo phalanx test --mpi openmpi,mpich --workspace")]
pub struct Arguments {
    /// Run only the tests on these numbers of ranks: 2,4
    #[arg(short = 'n', long, value_name = "N,…", value_delimiter = ',', value_parser = values::ranks)]
    ranks: Vec<usize>,
    /// Families of MPI to test with, one after the other
    #[arg(long, value_enum, value_name = "FAMILY,…", value_delimiter = ',', default_value = "any")]
    mpi: Vec<Mpi>,
    /// Mode of the watch in the ranks
    #[arg(long, value_enum, default_value = "strict")]
    watch: Watch,
    #[command(flatten)]
    build: Build,
    /// Test all packages of the workspace
    #[arg(long, help_heading = "What to build")]
    workspace: bool,
    /// Run only this test program
    #[arg(long, value_name = "NAME", help_heading = "What to build")]
    test: Vec<String>,
    /// Run only the tests in the library
    #[arg(long, help_heading = "What to build")]
    lib: bool,
    /// Run only tests whose name contains this
    #[arg(help_heading = Reset)]
    filter: Option<String>,
    /// Arguments for the test programs, after --
    #[arg(last = true, value_name = "ARGUMENTS", help_heading = Reset)]
    arguments: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Watch {
    /// Sends do not rely on buffering, deadlocks are errors, collectives are compared
    Strict,
    /// As in programs: a proved deadlock ends the job
    On,
    /// Nothing is watched
    Off,
}

impl Watch {
    fn name(self) -> &'static str {
        match self {
            Watch::Strict => "strict",
            Watch::On => "on",
            Watch::Off => "off",
        }
    }
}

pub fn execute(arguments: Arguments) -> Result<ExitCode> {
    let here = Folders::of(&arguments.build.metadata()?);
    let mut closing = Vec::new();
    let mut all_passed = true;
    for family in &arguments.mpi {
        match with(&arguments, *family, &here) {
            Ok((summary, name)) => {
                let passed = summary.passed() && !(summary.has_run() && summary.is_empty());
                all_passed &= passed;
                if summary.has_run() {
                    let watch = arguments.watch.name();
                    let verdict = if passed { "passed" } else { "FAILED" };
                    closing.push(format!("{name}, watch {watch}: {verdict}\n{summary}"));
                }
            }
            // The others were asked for, too.
            Err(error) if arguments.mpi.len() > 1 && !print::is_pipe_closed(&error) => {
                all_passed = false;
                closing.push(format!("{}: FAILED\n{error:#}\n", family.name()));
            }
            Err(error) => return Err(error),
        }
    }
    if !closing.is_empty() {
        print::out(format!("\n{}\n", closing.join("\n")))?;
    }
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

fn with(arguments: &Arguments, family: Mpi, here: &Folders) -> Result<(Summary, String)> {
    let tools = match Tools::find(family, here) {
        Ok(tools) => tools,
        Err(missing) => bail!(
            "{missing:#}\n`cargo phalanx setup --mpi {}` installs what is missing",
            family.name()
        ),
    };
    print::note(format!("phalanx: {}", tools.mpi));
    for line in tools.news(here) {
        print::note(format!("phalanx: {line}"));
    }
    let mut summary = Summary::default();
    if arguments.ranks.is_empty() {
        let mut command = arguments.cargo_test(&tools);
        command
            .args(arguments.targets())
            .args(&arguments.filter)
            .arg("--")
            .args(&arguments.arguments);
        run(command, &mut summary)?;
        return Ok((summary, tools.mpi));
    }
    let selected = select::tests(arguments, &tools)?;
    if selected.is_empty() {
        bail!("{}", select::nothing(arguments, &tools)?);
    }
    for program in selected {
        let mut command = arguments.cargo_test(&tools);
        command.args(program.target);
        command.args(["--", "--exact"]).args(program.names).args(&arguments.arguments);
        run(command, &mut summary)?;
    }
    Ok((summary, tools.mpi))
}

impl Arguments {
    /// `cargo test` with what is common to all of its calls.
    fn cargo_test(&self, tools: &Tools) -> Command {
        let mut command = cargo("test");
        tools.apply(&mut command);
        command
            .arg("--no-fail-fast")
            .args(self.build.arguments())
            .env("PHALANX_WATCH", self.watch.name())
            .stdin(Stdio::null());
        command
    }

    /// Which test programs.
    fn targets(&self) -> Vec<OsString> {
        let mut targets: Vec<OsString> = Vec::new();
        if self.workspace {
            targets.push("--workspace".into());
        }
        if self.lib {
            targets.push("--lib".into());
        }
        for name in &self.test {
            targets.extend(["--test".into(), name.into()]);
        }
        targets
    }
}

/// Runs the tests and shows their output while it comes.
fn run(mut command: Command, summary: &mut Summary) -> Result<()> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let shown = child.stdout.take().map_or(Ok(()), |stdout| show(stdout, summary));
    if shown.is_err() {
        // Nobody reads what the tests say: they hear of it at their next word, and cargo now.
        let _ = child.kill();
    }
    summary.end(child.wait()?.success());
    shown
}

fn show(stdout: ChildStdout, summary: &mut Summary) -> Result<()> {
    let mut out = io::stdout().lock();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        summary.read(&String::from_utf8_lossy(&line));
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

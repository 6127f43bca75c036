//! `cargo phalanx doctor`: collects facts about the machine, and reports what is wrong.

mod checks;
mod look;
mod machine;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::AnsiColor;
use anyhow::{Result, bail};
use serde::Serialize;

use crate::{print, values};
use checks::{Finding, Level};
use machine::Machine;

/// Diagnose the MPI installations of this machine, with advice
///
/// Finds every MPI, builds a small program with each and runs it on two ranks. Exit code 0: MPI programs
/// can be built and run here; 1: there is a problem (with --strict: or a warning).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo phalanx doctor -n 8\n  cargo phalanx doctor --program target/release/pi\n  cargo phalanx doctor --json | jq .findings"
)]
pub struct Arguments {
    /// Number of ranks to run on this machine
    #[arg(short = 'n', long, value_name = "N", default_value = "4", value_parser = values::ranks)]
    ranks: usize,
    /// Examine this program, too
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Print the facts and the findings as JSON
    #[arg(long)]
    json: bool,
    /// Treat warnings as problems
    #[arg(long)]
    strict: bool,
    /// Do not build and run test programs
    #[arg(long)]
    no_trial: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    healthy: bool,
    findings: &'a [Finding],
    machine: &'a Machine,
}

pub fn execute(arguments: Arguments) -> Result<ExitCode> {
    if let Some(program) = &arguments.program
        && !program.is_file()
    {
        bail!("no program `{}`", program.display());
    }
    let machine = look::at(arguments.ranks, arguments.program.as_deref(), !arguments.no_trial)?;
    let findings = checks::all(&machine);
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let limit = if arguments.strict { Level::Warning } else { Level::Problem };
    let healthy = worst < limit;
    if arguments.json {
        let report = Report { healthy, findings: &findings, machine: &machine };
        print::out(format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    } else {
        print::out(text(&findings))?;
    }
    Ok(ExitCode::from(u8::from(!healthy)))
}

/// A line for each finding, its remedy below, and the sum; in colours, for those who can see them.
fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let style = match finding.level {
            Level::Ok => AnsiColor::Green.on_default(),
            Level::Note => AnsiColor::Cyan.on_default(),
            Level::Warning => AnsiColor::Yellow.on_default(),
            Level::Problem => AnsiColor::Red.on_default().bold(),
        };
        let level = format!("{:<8}", finding.level.name());
        let lines = finding.text.lines().collect::<Vec<_>>().join(&format!("\n{:22}", ""));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{style}{level}{style:#} {:<12} {lines}", finding.check);
        if let Some(remedy) = &finding.remedy {
            let lines = remedy.lines().collect::<Vec<_>>().join(&format!("\n{:24}", ""));
            let _ = writeln!(text, "{:22}> {lines}", "");
        }
    }
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let sum = |number: usize, what: &str| match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    let _ = writeln!(text, "\n{}, {}", sum(problems, "problem"), sum(warnings, "warning"));
    text
}

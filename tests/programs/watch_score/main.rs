//! Measures the watch: starts each faulty program of `watch_cases` and its correct twin as real
//! jobs, as everybody runs them and in strict mode, and counts what was found, missed and wrongly
//! suspected.
//!
//! ```text
//! target/release/watch_score                              all, a table and each miss
//! target/release/watch_score --mode strict --class probe  a part
//! target/release/watch_score --json                       all rows, for scripts
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Parser, ValueEnum, value_parser};
use phalanx_tests::watch_row::Row;

use judge::Mode;

mod judge;
mod report;
mod run;

/// Measures the watch on faulty programs and their correct twins
///
/// The exit code is 0 if the goals are reached: in strict mode 95 % found; otherwise each program
/// that hangs explained; in both no word about a correct program. It is 1 if they are not, 2 after
/// a mistake.
#[derive(Parser)]
struct Args {
    /// Print a JSON object: all rows and the sums
    #[arg(long)]
    json: bool,
    /// In which mode the watch runs
    #[arg(long, value_enum, default_value_t = Modes::Both)]
    mode: Modes,
    /// Only cases of this class; may be given more than once
    #[arg(long, value_name = "CLASS")]
    class: Vec<String>,
    /// Only this case; may be given more than once
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// How many jobs run at the same time; they mostly wait
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = value_parser!(u8).range(1..=64)
    )]
    jobs: u8,
    /// When a job is taken for one that hangs
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 20,
        value_parser = value_parser!(u64).range(1..=3600)
    )]
    limit: u64,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Modes {
    Default,
    Strict,
    Both,
}

fn main() -> ExitCode {
    match score(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn score(args: &Args) -> Result<bool, String> {
    let program = cases_program()?;
    let rows = select(list(&program)?, args)?;
    let modes = match args.mode {
        Modes::Default => &[Mode::Default][..],
        Modes::Strict => &[Mode::Strict],
        Modes::Both => &[Mode::Default, Mode::Strict],
    };
    let limit = Duration::from_secs(args.limit);
    let results = run::all(&program, &rows, modes, args.jobs.into(), limit)?;
    let sums = report::sums(&results);
    if args.json {
        println!("{}", report::json(&results, &sums));
    } else {
        print!("{}", report::text(&results, &sums, modes));
    }
    Ok(sums.reached())
}

/// Beside this program.
fn cases_program() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let program = own.with_file_name("watch_cases");
    if program.is_file() {
        return Ok(program);
    }
    Err(format!(
        "{} is not there: cargo build --release -p phalanx-tests --bins",
        program.display()
    ))
}

fn list(program: &Path) -> Result<Vec<Row>, String> {
    let failed = |why: String| format!("{} --list --json: {why}", program.display());
    let output = Command::new(program).args(["--list", "--json"]).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

fn select(mut rows: Vec<Row>, args: &Args) -> Result<Vec<Row>, String> {
    let classes: BTreeSet<&str> = rows.iter().map(|row| row.class.as_str()).collect();
    if let Some(class) = args.class.iter().find(|class| !classes.contains(class.as_str())) {
        let known = classes.into_iter().collect::<Vec<_>>().join(", ");
        return Err(format!("there is no class `{class}`, but {known}"));
    }
    if let Some(case) = args.case.iter().find(|case| !rows.iter().any(|row| row.name == **case)) {
        return Err(format!("there is no case `{case}`: see watch_cases --list"));
    }
    rows.retain(|row| {
        (args.class.is_empty() || args.class.contains(&row.class))
            && (args.case.is_empty() || args.case.contains(&row.name))
    });
    if rows.is_empty() {
        return Err("no case is left: the names are of other classes".to_owned());
    }
    Ok(rows)
}

//! Compares Phalanx with C and with plain rsmpi, side by side.
//!
//! The program starts itself as MPI jobs: with 2 ranks for messages and collectives, with 4 for the
//! price of more ranks than cores, with 8 for messages between few of them. Each job hands its rows back through a file.

mod measure;
mod reference;
mod row;
mod rows;
mod statistics;
mod watch;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use phalanx::prelude::*;
use phalanx_launch::{Family, Job, Mpi};

use measure::Effort;
use row::Row;

/// Compares Phalanx with C and rsmpi, in blocks that take turns within one job.
#[derive(Parser, Clone)]
#[command(name = "bench", version)]
struct Args {
    /// Fewer and shorter blocks: half a minute instead of some minutes
    #[arg(long)]
    quick: bool,
    /// Write the rows as a list of JSON objects, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only rows whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Where a rank leaves its rows (a job that this program started)
    #[arg(long, value_name = "FILE", hide = true)]
    rows: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(rows) = &args.rows {
        return phalanx::run(|world| as_rank(&world, &args, rows));
    }
    match as_parent(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn as_rank(world: &Comm, args: &Args, file: &Path) -> Result<(), Box<dyn Error>> {
    let effort = Effort::new(args.quick, &args.only);
    let rows = match world.size() {
        2 => rows::on_two_ranks(world, &effort)?,
        8 => rows::on_sparse_ranks(world, &effort)?,
        _ => rows::on_many_ranks(world, &effort)?,
    };
    if world.rank() == 0 {
        fs::write(file, serde_json::to_string(&rows)?)?;
    }
    Ok(())
}

fn as_parent(args: &Args) -> Result<(), Box<dyn Error>> {
    let program = std::env::current_exe()?;
    println!("{}\n", headline(&program)?);
    row::print_header();
    let mut rows = rows::on_one_core(&Effort::new(args.quick, &args.only));
    row::print(&rows);
    for ranks in [2, 4, 8] {
        let more = run_job(&program, args, ranks, "on")?;
        row::print(&more);
        rows.extend(more);
    }
    let watched = watch::rows(&program, args)?;
    row::print(&watched);
    rows.extend(watched);
    println!("\n{}", row::summary(&rows));
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&rows)? + "\n";
        fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn headline(program: &Path) -> Result<String, Box<dyn Error>> {
    let mpi = Mpi::of_executable(program)?;
    // The library names itself in its first line.
    let name = phalanx::library_version()?;
    let name = name.lines().next().unwrap_or_default();
    let name = name.split(',').next().unwrap_or_default();
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let cores = phalanx_launch::cores();
    Ok(format!("{name} ({}), {cores} cores", mpi.library().display()))
}

/// Runs this program as an MPI job, and reads the rows that its rank 0 leaves.
fn run_job(
    program: &Path,
    args: &Args,
    ranks: usize,
    watch: &str,
) -> Result<Vec<Row>, Box<dyn Error>> {
    let file = Leftover(
        std::env::temp_dir().join(format!("phalanx-bench-{}-{ranks}", std::process::id())),
    );
    let mut job = Job::new(program).ranks(ranks).timeout(Duration::from_secs(1200));
    job = job.env("PHALANX_WATCH", watch);
    job = job.arg("--rows").arg(&file.0).arg("--only").arg(&args.only);
    if args.quick {
        job = job.arg("--quick");
    }
    // Open MPI gives each rank a core of its own where there are enough; Hydra does when it is told.
    let family = Mpi::of_executable(program)?.family();
    if ranks <= phalanx_launch::cores() && family == Family::Mpich {
        job = job.launcher_args(["-bind-to", "core"]);
    }
    let finished = job.run()?;
    if !finished.success() {
        let why = if finished.timed_out { "took longer than 20 minutes" } else { "failed" };
        return Err(format!("the job of {ranks} ranks {why}").into());
    }
    Ok(serde_json::from_str(&fs::read_to_string(&file.0)?)?)
}

/// A file that goes when the program does.
struct Leftover(PathBuf);

impl Drop for Leftover {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_file(&self.0);
    }
}

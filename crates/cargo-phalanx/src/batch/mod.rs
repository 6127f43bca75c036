//! `cargo phalanx batch`: a script for a batch system, from those in `scripts/batch/`.

mod script;
mod systems;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::print;
use crate::tools::on_path;
use crate::values::{self, Mpi};

/// Write a script for a batch system
///
/// The script asks for the resources, loads modules, logs the environment, labels output by rank,
/// ends the job when a rank fails, warns the ranks before the time limit (SIGUSR1), and queues the job
/// again when the program then leaves with exit code 85, its checkpoint written.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo phalanx batch --scheduler slurm -n 64 --nodes 2 --time 1h -- target/release/heat --size 2000 \\
      | sbatch
  cargo phalanx batch --scheduler pbs -n 8 --time 30m --module openmpi -o job.sh -- target/release/pi")]
pub struct Arguments {
    /// The batch system [default: the one whose commands are on PATH]
    #[arg(long, value_enum)]
    scheduler: Option<Scheduler>,
    /// Number of ranks
    #[arg(short = 'n', long, value_name = "N", default_value = "4", value_parser = values::ranks)]
    ranks: usize,
    /// Number of nodes [default: chosen by the system, one for PBS]
    #[arg(long, value_name = "N", value_parser = values::ranks)]
    nodes: Option<usize>,
    /// Time limit: 30m, 1h, 1h30m, 2d, 01:30:00
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = values::seconds)]
    time: Duration,
    /// Time before the limit at which the ranks are warned [default: 2m, or a quarter of a short limit]
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    warn: Option<Duration>,
    /// Memory for each rank, in MiB, or with M or G
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = memory)]
    memory: u64,
    /// Name of the job
    #[arg(long, default_value = "phalanx", value_parser = job_name)]
    name: String,
    /// Partition or queue
    #[arg(long, value_name = "NAME", value_parser = word, visible_alias = "queue")]
    partition: Option<String>,
    /// Account or project to charge
    #[arg(long, value_name = "NAME", value_parser = word)]
    account: Option<String>,
    /// A module to load; may be given several times
    #[arg(long, value_name = "NAME", value_parser = word)]
    module: Vec<String>,
    /// Family of the program's MPI, which decides how Slurm starts it
    #[arg(long, value_enum, default_value = "any")]
    mpi: Mpi,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long, requires = "output")]
    force: bool,
    /// The program and its arguments, after --
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scheduler {
    /// Slurm
    Slurm,
    /// PBS Pro and OpenPBS
    Pbs,
    /// IBM Spectrum LSF
    Lsf,
    /// Grid Engine
    #[value(alias = "sge")]
    Gridengine,
    /// Flux
    Flux,
}

impl Scheduler {
    fn on_path() -> Result<Scheduler> {
        let found = [
            ("sbatch", Scheduler::Slurm),
            ("bsub", Scheduler::Lsf),
            ("flux", Scheduler::Flux),
            ("qconf", Scheduler::Gridengine),
            ("qsub", Scheduler::Pbs),
        ];
        let found = found
            .into_iter()
            .find(|(name, _)| on_path(name).is_some())
            .map(|(_, scheduler)| scheduler);
        found.context(
            "no batch system found on PATH: choose one with --scheduler slurm, pbs, lsf, gridengine or flux",
        )
    }
}

/// Reads `512`, `512M` or `4G` as MiB.
fn memory(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix(['G', 'g']) {
        Some(digits) => (digits, 1024),
        None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 1),
    };
    let size: Option<u64> = digits.parse().ok();
    size.and_then(|size| size.checked_mul(factor))
        .filter(|size| *size > 0)
        .ok_or_else(|| format!("`{text}` is not a size: write 512M or 4G"))
}

/// A name that may stand in a directive, where nothing can be quoted.
fn word(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+/@:".contains(c);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(allowed) {
        return Err(format!("`{text}`: only letters, digits and . _ - + / @ : are allowed here"));
    }
    Ok(text.to_owned())
}

/// It becomes a part of the names of files.
fn job_name(text: &str) -> Result<String, String> {
    if text.contains(['/', '@', ':']) {
        return Err(format!("`{text}`: only letters, digits and . _ - + are allowed here"));
    }
    word(text)
}

impl Arguments {
    /// How long before the limit the ranks are warned.
    fn warn(&self) -> Duration {
        let short = Duration::from_secs((self.time.as_secs() / 4).max(1));
        self.warn.unwrap_or(short.min(Duration::from_secs(120)))
    }
}

pub fn execute(arguments: Arguments) -> Result<ExitCode> {
    let scheduler = match arguments.scheduler {
        Some(scheduler) => scheduler,
        None => Scheduler::on_path()?,
    };
    if arguments.warn() >= arguments.time {
        bail!("--warn must be shorter than --time");
    }
    if arguments.nodes.is_some_and(|nodes| nodes > arguments.ranks) {
        bail!("more nodes than ranks: {} ranks", arguments.ranks);
    }
    let text = systems::write(scheduler, &arguments)?;
    match &arguments.output {
        None => print::out(text)?,
        Some(path) => {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .create_new(!arguments.force)
                .truncate(true)
                .open(path)
                .map_err(|error| {
                    let is_there = error.kind() == io::ErrorKind::AlreadyExists;
                    let advice = if is_there { " (--force overwrites it)" } else { "" };
                    anyhow::anyhow!("cannot write {}: {error}{advice}", path.display())
                })?;
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
                .with_context(|| format!("cannot write {}", path.display()))?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
            let advice = systems::advice(scheduler, path)?;
            print::note(format!("phalanx: wrote {}; {advice}", path.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

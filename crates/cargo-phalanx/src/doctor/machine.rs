//! The picture of a machine. Checks see nothing else, so a test can draw any machine.

use std::net::IpAddr;
use std::path::PathBuf;

use phalanx_launch::Family;
use serde::{Serialize, Serializer};

/// What can be wrong, as it was found.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Every MPI that was found, the one that a build takes first.
    pub installations: Vec<Installation>,
    /// What MPICC names, if there is no such program.
    pub missing_mpicc: Option<PathBuf>,
    /// `mpiexec` on PATH.
    pub launcher_on_path: Option<Launcher>,
    /// What a build needs and has not: `compiler`, `libclang`.
    pub missing_tools: Vec<String>,
    /// A program that was asked about.
    pub program: Option<Program>,
    pub root: bool,
    pub cores: usize,
    /// How many ranks are wanted.
    pub ranks: usize,
    /// Whether processes may read each other's memory.
    pub cross_memory: bool,
    /// `/proc/sys/kernel/yama/ptrace_scope`, where there is such a thing.
    pub ptrace_scope: Option<u8>,
    /// `/dev/shm`, in bytes.
    pub shared_memory: Option<Space>,
    pub host: Host,
    pub slurm: Option<Slurm>,
    /// The batch system inside whose job this is.
    pub batch: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Installation {
    /// None of a make that is not known.
    #[serde(serialize_with = "name_if_known")]
    pub family: Option<Family>,
    /// By its mpi.h, such as `Open MPI 4.1.4`.
    pub name: String,
    pub compiler: PathBuf,
    /// Whether its compiler is the `mpicc` on PATH (or MPICC).
    pub is_default: bool,
    /// What came of building and starting a program.
    pub trial: Trial,
}

/// A small program, built and started on two ranks.
#[derive(Debug, Clone, Serialize)]
pub enum Trial {
    /// It was not tried.
    Skipped,
    /// It does not build, with what the compiler said.
    DoesNotBuild(String),
    /// The program does not find its library.
    NoLibrary(String),
    /// There is no launcher for the library.
    NoLauncher {
        library: PathBuf,
        why: String,
    },
    Ran(Run),
}

#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub library: PathBuf,
    /// The family of the library that was loaded.
    #[serde(serialize_with = "name")]
    pub family: Family,
    /// What the library says of itself.
    pub version: String,
    pub launcher: Launcher,
    /// How many ranks the program saw; 0 when it did not get so far.
    pub size: usize,
    /// The last lines of what was printed, when something went wrong.
    pub output: String,
    pub timed_out: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Launcher {
    pub path: PathBuf,
    #[serde(serialize_with = "name")]
    pub family: Family,
    pub version: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Program {
    pub path: PathBuf,
    /// Its MPI and the launcher for it, or why there is none.
    pub linked: Result<Linked, String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Linked {
    pub library: PathBuf,
    #[serde(serialize_with = "name")]
    pub family: Family,
    pub launcher: Result<Launcher, String>,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Space {
    pub total: u64,
    pub free: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Host {
    pub name: String,
    /// What the name stands for; empty when it stands for nothing.
    pub addresses: Vec<IpAddr>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Slurm {
    /// What `srun --mpi=list` prints, or why it prints nothing.
    pub plugins: Result<String, String>,
}

impl From<&phalanx_launch::Launcher> for Launcher {
    fn from(launcher: &phalanx_launch::Launcher) -> Launcher {
        Launcher {
            path: launcher.path().to_owned(),
            family: launcher.family(),
            version: launcher.version().to_owned(),
        }
    }
}

impl Machine {
    /// The MPI that a build takes.
    pub fn default_installation(&self) -> Option<&Installation> {
        self.installations.iter().find(|mpi| mpi.is_default).or(self.installations.first())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn name<S: Serializer>(family: &Family, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(family)
}

#[expect(clippy::ref_option, reason = "the form that serde calls")]
fn name_if_known<S: Serializer>(family: &Option<Family>, serializer: S) -> Result<S::Ok, S::Error> {
    family.map(|family| family.to_string()).serialize(serializer)
}

//! Takes the picture.

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use anyhow::Result;
use phalanx_launch::{Batch, Family, Job, Output};

use super::machine::{
    Host, Installation, Launcher, Linked, Machine, Program, Run, Slurm, Space, Trial,
};
use crate::folders::Folders;
use crate::project::Build;
use crate::tools::{Folder, missing_tools, name_of, on_path, wheel_folders};
use crate::values;

/// How long two ranks of the trial may take.
const PATIENCE: Duration = Duration::from_secs(30);

const TRIAL: &str = include_str!("trial.c");

pub fn at(ranks: usize, program: Option<&Path>, tries: bool) -> Result<Machine> {
    let here = Build::default().folders()?;
    let settings = phalanx_launch::settings::Machine::current();
    let folder = Folder::new()?;
    fs::write(folder.path().join("trial.c"), TRIAL)?;
    let found = compilers(&here)?;
    let installations = found
        .into_iter()
        .enumerate()
        .map(|(number, found)| {
            let built = folder.path().join(format!("trial-{number}"));
            let trial = if tries { trial(&found.path, &built) } else { Trial::Skipped };
            let Compiler { path, name, family, is_default } = found;
            Installation { family, name, compiler: path, is_default, trial }
        })
        .collect();
    Ok(Machine {
        installations,
        missing_mpicc: env::var_os("MPICC")
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
            .filter(|it| !it.is_file() && on_path(&it.to_string_lossy()).is_none()),
        launcher_on_path: on_path("mpiexec").and_then(|path| launcher_at(&path)),
        missing_tools: missing_tools(values::Mpi::Any, &here)?,
        program: program.map(look_at),
        root: settings.root,
        cores: settings.cores,
        ranks,
        cross_memory: settings.cross_memory,
        ptrace_scope: fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
            .ok()
            .and_then(|text| text.trim().parse().ok()),
        shared_memory: rustix::fs::statvfs("/dev/shm").ok().map(|about| Space {
            total: about.f_blocks * about.f_frsize,
            free: about.f_bavail * about.f_frsize,
        }),
        host: host(),
        slurm: slurm(),
        batch: Batch::detect().map(|batch| batch.to_string()),
    })
}

struct Compiler {
    path: PathBuf,
    name: String,
    family: Option<Family>,
    is_default: bool,
}

/// Compiler wrappers, the one that a build takes first, each MPI once.
fn compilers(here: &Folders) -> Result<Vec<Compiler>> {
    let mut candidates: Vec<PathBuf> = Vec::new();
    if let Some(path) = env::var_os("MPICC").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        candidates.extend(if path.components().count() == 1 {
            on_path(&path.to_string_lossy())
        } else {
            Some(path)
        });
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let names = ["mpicc", "mpicc.openmpi", "mpicc.mpich", "mpiicx", "mpiicc"];
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    for home in ["MPI_HOME", "MPI_ROOT", "I_MPI_ROOT", "OPAL_PREFIX"] {
        folders.extend(env::var_os(home).map(|home| Path::new(&home).join("bin")));
    }
    let usual = [
        "/usr/lib64/openmpi/bin",
        "/usr/lib64/mpich/bin",
        "/usr/local/bin",
        "/opt/cray/pe/mpich/default/bin",
    ];
    folders.extend(usual.map(PathBuf::from));
    folders.extend(subfolders("/opt"));
    folders.extend(wheel_folders(here));
    for folder in folders {
        candidates
            .extend(names.map(|name| folder.join(name)).into_iter().filter(|file| file.is_file()));
    }
    let mut found: Vec<Compiler> = Vec::new();
    let mut known: Vec<String> = Vec::new();
    for path in candidates {
        // The same MPI under another name says the same.
        let shown = said(Command::new(&path).arg("-show")).unwrap_or_default();
        if shown.is_empty() || known.contains(&shown) {
            continue;
        }
        known.push(shown);
        let name = name_of(&path, here)?;
        let family = family_of(&name);
        let is_default = found.is_empty();
        found.push(Compiler { path, name, family, is_default });
    }
    Ok(found)
}

fn subfolders(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path().join("bin")).filter(|path| path.is_dir()).collect()
}

/// The family of an MPI that calls itself so.
fn family_of(name: &str) -> Option<Family> {
    [("Open MPI", Family::OpenMpi), ("Intel MPI", Family::IntelMpi), ("MPICH", Family::Mpich)]
        .into_iter()
        .find_map(|(word, family)| name.contains(word).then_some(family))
}

/// Builds the program and starts it on two ranks.
fn trial(compiler: &Path, built: &Path) -> Trial {
    let source = built.with_file_name("trial.c");
    let mut command = Command::new(compiler);
    command.arg(&source).arg("-o").arg(built);
    // A library outside the loader's folders: as the build of a project does it.
    for folder in library_folders(compiler) {
        command.arg(format!("-Wl,-rpath,{}", folder.display()));
    }
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Trial::DoesNotBuild(last_lines(&output.stderr, 3)),
        Err(error) => return Trial::DoesNotBuild(error.to_string()),
    }
    let mpi = match phalanx_launch::Mpi::of_executable(built) {
        Ok(mpi) => mpi,
        Err(error) => return Trial::NoLibrary(error.to_string()),
    };
    let library = mpi.library().to_owned();
    let launcher = match phalanx_launch::Launcher::of(&mpi) {
        Ok(launcher) => launcher,
        Err(error) => return Trial::NoLauncher { library, why: error.to_string() },
    };
    let mut run = Run {
        library,
        family: mpi.family(),
        version: String::new(),
        launcher: (&launcher).into(),
        size: 0,
        output: String::new(),
        timed_out: false,
    };
    let job = Job::new(built).launcher(launcher).ranks(2).output(Output::Capture).timeout(PATIENCE);
    match job.run() {
        Ok(finished) => {
            let text = String::from_utf8_lossy(&finished.stdout).into_owned();
            let mut lines = text.lines().filter_map(|line| line.strip_prefix("phalanx-trial "));
            if let Some((size, version)) = lines.next().and_then(|line| line.split_once(' ')) {
                run.size = size.parse().unwrap_or(0);
                run.version = version.trim().to_owned();
            }
            run.timed_out = finished.timed_out;
            if !finished.success() || run.size != 2 {
                run.output = last_lines(&[finished.stdout, finished.stderr].concat(), 6);
            }
        }
        Err(error) => run.output = error.to_string(),
    }
    Trial::Ran(run)
}

fn library_folders(compiler: &Path) -> Vec<PathBuf> {
    let shown = said(Command::new(compiler).arg("-show")).unwrap_or_default();
    shown.split_whitespace().filter_map(|word| word.strip_prefix("-L")).map(PathBuf::from).collect()
}

fn look_at(path: &Path) -> Program {
    let linked = phalanx_launch::Mpi::of_executable(path).map_err(|error| error.to_string());
    let linked = linked.map(|mpi| Linked {
        library: mpi.library().to_owned(),
        family: mpi.family(),
        launcher: phalanx_launch::Launcher::of(&mpi)
            .map(|launcher| (&launcher).into())
            .map_err(|error| error.to_string()),
    });
    Program { path: path.to_owned(), linked }
}

fn launcher_at(path: &Path) -> Option<Launcher> {
    phalanx_launch::Launcher::at(path).ok().map(|launcher| (&launcher).into())
}

fn host() -> Host {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_owned();
    let found = (name.as_str(), 0).to_socket_addrs();
    let mut addresses: Vec<_> =
        found.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default();
    addresses.dedup();
    Host { name, addresses }
}

fn slurm() -> Option<Slurm> {
    let srun = on_path("srun")?;
    Some(Slurm { plugins: phalanx_launch::slurm_plugins(&srun) })
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

fn last_lines(bytes: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

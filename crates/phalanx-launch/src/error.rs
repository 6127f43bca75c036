use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Family, Launcher, Mpi};

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a job could not be started.
///
/// The text says what was looked for, where, and what to install.
#[derive(Debug)]
pub struct Error(Box<Kind>);

#[derive(Debug)]
enum Kind {
    NotAnExecutable { path: PathBuf, found: String },
    NoMpi { program: PathBuf, why: String },
    NoLauncher { mpi: Mpi, tried: Vec<(PathBuf, String)> },
    NotALauncher { path: PathBuf, why: String },
    Separator { launcher: String },
    NoTemporaryFolder { path: PathBuf, launcher: String },
    Io { doing: String, source: io::Error },
}

impl Error {
    pub(crate) fn not_an_executable(path: &Path, found: impl Into<String>) -> Self {
        Error(Box::new(Kind::NotAnExecutable { path: path.into(), found: found.into() }))
    }

    pub(crate) fn no_mpi(program: &Path, why: impl Into<String>) -> Self {
        Error(Box::new(Kind::NoMpi { program: program.into(), why: why.into() }))
    }

    pub(crate) fn no_launcher(mpi: &Mpi, tried: Vec<(PathBuf, String)>) -> Self {
        Error(Box::new(Kind::NoLauncher { mpi: mpi.clone(), tried }))
    }

    pub(crate) fn not_a_launcher(path: &Path, why: impl Into<String>) -> Self {
        Error(Box::new(Kind::NotALauncher { path: path.into(), why: why.into() }))
    }

    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Error(Box::new(Kind::Io { doing: doing.into(), source }))
    }

    pub(crate) fn no_temporary_folder(path: &Path, launcher: &Launcher) -> Self {
        let launcher = launcher.to_string();
        Error(Box::new(Kind::NoTemporaryFolder { path: path.into(), launcher }))
    }

    pub(crate) fn separator(launcher: String) -> Self {
        Error(Box::new(Kind::Separator { launcher }))
    }

    /// The program is not linked to an MPI library, so that no launcher can be chosen for it.
    pub fn is_no_mpi(&self) -> bool {
        matches!(*self.0, Kind::NoMpi { .. } | Kind::NotAnExecutable { .. })
    }

    /// The MPI library is there, its launcher is not.
    pub fn is_no_launcher(&self) -> bool {
        matches!(*self.0, Kind::NoLauncher { .. } | Kind::NotALauncher { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::NotAnExecutable { path, found } => {
                write!(
                    f,
                    "`{}` is not a program that this machine can load: {found}",
                    path.display()
                )
            }
            Kind::NoMpi { program, why } => {
                write!(f, "`{}` is not linked to an MPI library: {why}", program.display())
            }
            Kind::NoLauncher { mpi, tried } => {
                writeln!(
                    f,
                    "no launcher found for {}, which the program is linked to ({}).",
                    mpi.family(),
                    mpi.library().display()
                )?;
                writeln!(f, "Candidates:")?;
                for (path, verdict) in tried {
                    writeln!(f, "  {}: {verdict}", path.display())?;
                }
                if tried.is_empty() {
                    writeln!(f, "  none: no mpiexec or mpirun near the library or on PATH")?;
                }
                write!(f, "{}", advice(mpi.family()))
            }
            Kind::NotALauncher { path, why } => {
                write!(f, "`{}` is not a launcher of MPI programs: {why}", path.display())
            }
            Kind::Separator { launcher } => write!(
                f,
                "an argument of the program is `:`, which {launcher} interprets as the start of another \
                 program: pass it in another way"
            ),
            Kind::NoTemporaryFolder { path, launcher } => write!(
                f,
                "TMPDIR is set to `{}`, which is not a folder, and {launcher} needs one for its files: make that \
                 folder, or unset TMPDIR",
                path.display()
            ),
            Kind::Io { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

fn advice(family: Family) -> &'static str {
    match family {
        Family::OpenMpi => {
            "Install the launcher of that Open MPI (Debian and Ubuntu: `apt install openmpi-bin`), \
             or name it in PHALANX_MPIEXEC."
        }
        Family::Mpich => {
            "Install the launcher of that MPICH (Debian and Ubuntu: `apt install mpich`; from \
             PyPI it comes with `pip install mpich`), or name it in PHALANX_MPIEXEC."
        }
        Family::IntelMpi => {
            "Load the environment of Intel MPI (`source setvars.sh`), or name its mpiexec in \
             PHALANX_MPIEXEC."
        }
    }
}

// What the system said is in the text: as a source it would be told twice.
impl std::error::Error for Error {}

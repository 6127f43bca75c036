//! `cargo phalanx new`: a project to start from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::print;

/// Where Phalanx comes from, unless it is said.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.txt")),
    ("src/main.rs", include_str!("template/main.rs.txt")),
    ("src/lib.rs", include_str!("template/lib.rs.txt")),
    ("tests/ranks.rs", include_str!("template/ranks.rs.txt")),
    ("README.md", include_str!("template/README.md.txt")),
];

/// Create a project: a program for several ranks, and its test
#[derive(Debug, clap::Args)]
#[command(after_help = "Then:\n  cd NAME\n  cargo phalanx run -n 4\n  cargo phalanx test")]
pub struct Arguments {
    /// Folder to create; its last part is the name of the package
    path: PathBuf,
    /// Use the Phalanx in this folder instead of the published one
    #[arg(long, value_name = "FOLDER")]
    phalanx: Option<PathBuf>,
}

pub fn execute(arguments: &Arguments) -> Result<ExitCode> {
    let path = &arguments.path;
    let Some(name) = path.file_name() else {
        bail!("`{}`: give the name of a folder to create", path.display());
    };
    let name = name.to_str().context("the name is not UTF-8")?;
    check_name(name)?;
    let dependency = match &arguments.phalanx {
        Some(folder) => format!("path = {}", toml_string(&crate_in(folder)?)?),
        None => format!("git = \"{REPOSITORY}\""),
    };
    if path.exists() {
        bail!("`{}` already exists", path.display());
    }
    let is_alone = !is_in_a_project(path)?;
    for (file, text) in FILES {
        let target = path.join(file);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let text = text
            .replace("{{name}}", name)
            .replace("{{identifier}}", &name.replace('-', "_"))
            .replace("{{dependency}}", &dependency)
            .replace("{{workspace}}", if is_alone { "" } else { WORKSPACE });
        fs::write(&target, text).with_context(|| format!("cannot write {}", target.display()))?;
    }
    fs::write(path.join(".gitignore"), "/target\n")?;
    start_repository(path);
    print::out(format!(
        "created {}; in that folder:\n  cargo phalanx run -n 4     # builds and runs it on 4 ranks\n  cargo phalanx test         \
         # its test, on 1, 2, 3 and 4 ranks\n",
        path.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Folders above may be projects: this one is none of theirs.
const WORKSPACE: &str =
    "\n# It lies in the folder of another project, and is no part of that.\n[workspace]\n";

fn is_in_a_project(path: &Path) -> Result<bool> {
    let path = std::path::absolute(path)?;
    Ok(path.ancestors().skip(1).any(|folder| folder.join("Cargo.toml").is_file()))
}

/// Words of the language, of all editions.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "Self", "static", "struct", "super", "trait", "true", "try", "type",
    "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// What cargo puts beside programs in the target folder.
const FOLDERS: [&str; 4] = ["build", "deps", "examples", "incremental"];

/// What cargo takes for a name of a package, and rustc for one of a crate.
fn check_name(name: &str) -> Result<()> {
    const TAKEN: [&str; 9] =
        ["test", "core", "std", "alloc", "proc-macro", "proc_macro", "phalanx", "mpi", "self"];
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_keyword = KEYWORDS.contains(&name.replace('-', "_").as_str());
    if is_keyword || FOLDERS.contains(&name) {
        bail!("`{name}` is reserved by Rust or cargo: choose another name");
    }
    if !begins || !name.chars().all(allowed) {
        bail!(
            "`{name}` is not a valid package name: use letters, digits, - and _, and begin with a letter"
        );
    }
    if TAKEN.contains(&name) {
        bail!("`{name}` is the name of a crate that the project uses: choose another name");
    }
    Ok(())
}

/// The crate `phalanx` in a checkout, or the folder itself.
fn crate_in(folder: &Path) -> Result<PathBuf> {
    let folder =
        fs::canonicalize(folder).with_context(|| format!("no folder `{}`", folder.display()))?;
    let is_ours = |folder: &Path| {
        fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|text| text.lines().any(|line| line.trim() == "name = \"phalanx\""))
    };
    [folder.join("crates/phalanx"), folder.clone()]
        .into_iter()
        .find(|folder| is_ours(folder))
        .with_context(|| format!("`{}` does not contain Phalanx", folder.display()))
}

fn toml_string(path: &Path) -> Result<String> {
    let text = path.to_str().context("the path is not UTF-8")?;
    if text.contains(['"', '\\', '\n']) {
        bail!("`{text}` cannot be written into Cargo.toml");
    }
    Ok(format!("\"{text}\""))
}

/// As cargo new does, unless the folder lies in a repository, or there is no git.
fn start_repository(path: &Path) {
    let git = |arguments: &[&str]| {
        Command::new("git")
            .arg("-C")
            .arg(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !git(&["rev-parse", "--git-dir"]) {
        git(&["init", "--quiet"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_or_rustc_would_not_take_are_refused() {
        for name in ["a", "first-steps", "heat_2d"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "2d",
            "-x",
            "a b",
            "a.b",
            "phalanx",
            "std",
            "é",
            "fn",
            "Self",
            "async",
            "deps",
            "incremental",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}

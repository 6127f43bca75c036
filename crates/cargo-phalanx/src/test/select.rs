//! The tests that are declared for chosen numbers of ranks.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Message, TargetKind};

use super::Arguments;
use super::summary::ranks_of;
use crate::tools::Tools;

/// Tests of one program.
pub struct Program {
    /// The program, in cargo's words.
    pub target: Vec<OsString>,
    pub names: Vec<String>,
}

/// The tests of all programs that are declared for the chosen numbers of ranks.
pub fn tests(arguments: &Arguments, tools: &Tools) -> Result<Vec<Program>> {
    let is_chosen =
        |name: &String| ranks_of(name).is_some_and(|ranks| arguments.ranks.contains(&ranks));
    let mut programs = Vec::new();
    for (target, path) in built(arguments, tools)? {
        let names: Vec<String> = listed(arguments, &path)?.into_iter().filter(is_chosen).collect();
        if !names.is_empty() {
            programs.push(Program { target, names });
        }
    }
    Ok(programs)
}

/// What to say when there are none.
pub fn nothing(arguments: &Arguments, tools: &Tools) -> Result<String> {
    let mut declared = BTreeSet::new();
    for (_, path) in built(arguments, tools)? {
        declared.extend(listed(arguments, &path)?.iter().filter_map(|name| ranks_of(name)));
    }
    let text = |ranks: &mut dyn Iterator<Item = usize>| {
        ranks.map(|ranks| ranks.to_string()).collect::<Vec<_>>().join(", ")
    };
    let wanted = text(&mut arguments.ranks.iter().copied());
    let which = match &arguments.filter {
        Some(filter) => format!("no test with `{filter}` in its name"),
        None => "no test".to_owned(),
    };
    let known = if declared.is_empty() {
        "none is declared for any (`#[phalanx::test(ranks = [1, 2, 4])]`)".to_owned()
    } else {
        format!("there are tests for {}", text(&mut declared.into_iter()))
    };
    Ok(format!("{which} is declared for {wanted} ranks; {known}"))
}

/// Builds the test programs: each in cargo's words, and where it is.
fn built(arguments: &Arguments, tools: &Tools) -> Result<Vec<(Vec<OsString>, PathBuf)>> {
    let mut command = arguments.cargo_test(tools);
    command
        .args(arguments.targets())
        .args(["--no-run", "--message-format", "json-render-diagnostics"])
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot run cargo")?;
    let mut programs = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for message in Message::parse_stream(BufReader::new(stdout)) {
            let Message::CompilerArtifact(artifact) = message? else { continue };
            let (true, Some(path)) = (artifact.profile.test, artifact.executable) else { continue };
            let name = artifact.target.name.clone();
            let kind = match artifact.target.kind.first() {
                Some(TargetKind::Bin) => ["--bin".into(), name.into()].into(),
                Some(TargetKind::Test) => ["--test".into(), name.into()].into(),
                Some(TargetKind::Example) => ["--example".into(), name.into()].into(),
                Some(TargetKind::Bench) => ["--bench".into(), name.into()].into(),
                _ => vec![OsString::from("--lib")],
            };
            let mut target: Vec<OsString> = kind;
            // Without a package of the user's choice: names may occur in several.
            if arguments.build.package.is_none() {
                target.extend(["--package".into(), artifact.package_id.repr.into()]);
            }
            programs.push((target, path.into_std_path_buf()));
        }
    }
    if !child.wait()?.success() {
        bail!("the tests do not build");
    }
    Ok(programs)
}

fn listed(arguments: &Arguments, program: &Path) -> Result<Vec<String>> {
    let output = Command::new(program)
        .args(["--list", "--format", "terse"])
        .args(&arguments.filter)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

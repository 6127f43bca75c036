//! What is wrong in a picture. Pure functions: nothing here looks at the machine.

mod abi;
mod host;
mod launcher;
mod memory;
mod mpi;
mod pmi;
mod slots;
#[cfg(test)]
mod tests;
mod tools;

use serde::Serialize;

use super::machine::Machine;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// Worth knowing.
    Note,
    /// Works, but not well or not everywhere.
    Warning,
    /// MPI programs cannot be built or run.
    Problem,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Problem => "problem",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub level: Level,
    pub text: String,
    /// What helps.
    pub remedy: Option<String>,
}

/// A check: its name, and the findings as level, text and remedy.
type Check = (&'static str, fn(&Machine) -> Vec<Found>);
type Found = (Level, String, Option<String>);

const CHECKS: [Check; 11] = [
    ("mpi", mpi::check),
    ("trial", mpi::check_trials),
    ("launcher", launcher::check),
    ("program", launcher::check_program),
    ("abi", abi::check),
    ("tools", tools::check),
    ("slots", slots::check),
    ("single-copy", memory::check_single_copy),
    ("/dev/shm", memory::check_shared),
    ("host name", host::check),
    ("pmi", pmi::check),
];

/// Everything that is found, in the order in which a reader needs it.
pub fn all(machine: &Machine) -> Vec<Finding> {
    let of = |(name, check): &Check| {
        let check_name = *name;
        check(machine).into_iter().map(move |(level, text, remedy)| Finding {
            check: check_name,
            level,
            text,
            remedy,
        })
    };
    CHECKS.iter().flat_map(of).collect()
}

fn ok(text: impl Into<String>) -> Found {
    (Level::Ok, text.into(), None)
}

fn note(text: impl Into<String>, remedy: impl Into<String>) -> Found {
    (Level::Note, text.into(), Some(remedy.into()))
}

fn warning(text: impl Into<String>, remedy: impl Into<String>) -> Found {
    (Level::Warning, text.into(), Some(remedy.into()))
}

fn problem(text: impl Into<String>, remedy: impl Into<String>) -> Found {
    (Level::Problem, text.into(), Some(remedy.into()))
}

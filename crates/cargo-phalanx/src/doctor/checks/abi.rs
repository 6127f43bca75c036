//! Whether what programs load is what they were built for.

use phalanx_launch::Family;

use super::{Found, ok, problem, warning};
use crate::doctor::machine::{Installation, Machine, Run, Trial};

pub fn check(machine: &Machine) -> Vec<Found> {
    let mut found: Vec<Found> =
        machine.installations.iter().filter_map(|mpi| of(mpi, ran(mpi)?)).collect();
    if let Some(finding) = of_program(machine) {
        found.push(finding);
    }
    found
}

fn ran(mpi: &Installation) -> Option<&Run> {
    match &mpi.trial {
        Trial::Ran(run) => Some(run),
        _ => None,
    }
}

/// Header and library of one installation.
fn of(mpi: &Installation, run: &Run) -> Option<Found> {
    let library = run.library.display();
    if !same_abi(mpi.family, run.family) {
        return Some(problem(
            format!(
                "{} compiles with its mpi.h, but programs load {library} of {}",
                mpi.name, run.family
            ),
            "the two have different ABIs: take the other folder out of LD_LIBRARY_PATH or LD_PRELOAD",
        ));
    }
    if run.version.is_empty() {
        return None;
    }
    let header = mpi.name.rsplit(' ').next().unwrap_or_default();
    if mpi.family == Some(run.family) && !run.version.contains(header) {
        return Some(warning(
            format!(
                "{} is the version of mpi.h, but programs load {library}: {}",
                mpi.name, run.version
            ),
            "if this is not intended: take the other folder out of LD_LIBRARY_PATH",
        ));
    }
    Some(ok(format!("{}: mpi.h and {library} agree", mpi.name)))
}

/// A program and the MPI that builds take now.
fn of_program(machine: &Machine) -> Option<Found> {
    let program = machine.program.as_ref()?;
    let linked = program.linked.as_ref().ok()?;
    let mpi = machine.default_installation()?;
    let name = program.path.display();
    if same_abi(mpi.family, linked.family) {
        return Some(ok(format!("{name} and {} have the same ABI", mpi.name)));
    }
    Some(warning(
        format!("{name} is linked to {}, builds now use {}", linked.family, mpi.name),
        "the two have different ABIs: start it with its own launcher (cargo phalanx run --program), \
         or build it again",
    ))
}

/// What is not known may be the same.
fn same_abi(headers: Option<Family>, library: Family) -> bool {
    headers.is_none_or(|family| family.shares_abi(library))
}

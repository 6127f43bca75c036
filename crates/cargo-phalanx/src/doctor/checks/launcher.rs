//! Whether the launcher that people type belongs to the MPI that they build with.

use super::{Found, ok, problem, warning};
use crate::doctor::machine::Machine;

pub fn check(machine: &Machine) -> Vec<Found> {
    let Some(mpi) = machine.default_installation() else { return Vec::new() };
    let Some(launcher) = &machine.launcher_on_path else {
        return vec![warning(
            "no mpiexec on PATH",
            "cargo phalanx run finds the launcher by itself; to type mpiexec: \
             eval \"$(cargo phalanx setup)\"",
        )];
    };
    let path = launcher.path.display();
    let text =
        format!("mpiexec on PATH belongs to {} {} ({path})", launcher.family, launcher.version);
    if mpi.family.is_none_or(|family| launcher.family.starts(family)) {
        return vec![ok(text)];
    }
    vec![warning(
        format!(
            "{text}, but builds use {}:\nstarted with it, each process would be rank 0 of 1",
            mpi.name
        ),
        "cargo phalanx run uses the right one; by hand: eval \"$(cargo phalanx setup)\", \
         or change the order of PATH",
    )]
}

pub fn check_program(machine: &Machine) -> Vec<Found> {
    let Some(program) = &machine.program else { return Vec::new() };
    let name = program.path.display();
    let linked = match &program.linked {
        Ok(linked) => linked,
        Err(why) => {
            let remedy =
                "build it here with cargo phalanx run, or load the MPI that it was built with";
            return vec![problem(why.as_str(), remedy)];
        }
    };
    let library = linked.library.display();
    match &linked.launcher {
        Ok(launcher) => vec![ok(format!(
            "{name} is linked to {} ({library}), its launcher is {}",
            linked.family,
            launcher.path.display()
        ))],
        Err(why) => vec![problem(
            format!(
                "{name} is linked to {} ({library}), which has no launcher here",
                linked.family
            ),
            why.lines().last().unwrap_or_default(),
        )],
    }
}

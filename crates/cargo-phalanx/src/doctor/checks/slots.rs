//! Root, cores and slots: what Open MPI refuses unless it is told.

use phalanx_launch::Family;

use super::{Found, note, ok};
use crate::doctor::machine::Machine;

pub fn check(machine: &Machine) -> Vec<Found> {
    if let Some(batch) = &machine.batch {
        return vec![ok(format!("inside a job of {batch}, which assigns the slots"))];
    }
    let mut found = Vec::new();
    let has_open_mpi = machine.installations.iter().any(|mpi| mpi.family == Some(Family::OpenMpi));
    let (cores, ranks) = (machine.cores, machine.ranks);
    let plural = if cores == 1 { "core" } else { "cores" };
    if ranks <= cores {
        found.push(ok(format!("{cores} {plural} for {ranks} ranks")));
    } else if has_open_mpi {
        found.push(note(
            format!("{ranks} ranks share {cores} {plural}: slower, and Open MPI needs the setting `oversubscribe`"),
            "cargo phalanx run sets it; by hand: mpirun --oversubscribe",
        ));
    } else {
        found.push(note(
            format!("{ranks} ranks share {cores} {plural}: slower"),
            format!("cargo phalanx run -n {cores}, or more hosts: --hosts"),
        ));
    }
    if machine.root && has_open_mpi {
        found.push(note(
            "Open MPI refuses to run as root without two settings",
            "cargo phalanx run makes them; by hand: export OMPI_ALLOW_RUN_AS_ROOT=1 \
             OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
        ));
    }
    found
}

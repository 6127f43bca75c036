//! Which MPIs there are, and whether each works.

use super::{Found, note, ok, problem};
use crate::doctor::machine::{Installation, Machine, Trial};

pub fn check(machine: &Machine) -> Vec<Found> {
    if let Some(compiler) = &machine.missing_mpicc {
        return vec![problem(
            format!("MPICC names {}, which is not a program", compiler.display()),
            "set it to an MPI compiler wrapper, or unset it",
        )];
    }
    if machine.installations.is_empty() {
        return vec![problem(
            "no MPI: no mpicc on PATH, in MPICC, or in the usual folders",
            "cargo phalanx setup, or: apt install openmpi-bin libopenmpi-dev, or: module load openmpi",
        )];
    }
    let mut found: Vec<Found> = Vec::new();
    for mpi in &machine.installations {
        let role = if mpi.is_default { ", used by builds" } else { "" };
        found.push(ok(format!("{} ({}){role}", mpi.name, mpi.compiler.display())));
    }
    if machine.installations.len() > 1 {
        let remedy = "to choose one: cargo phalanx run --mpi openmpi or mpich, or MPICC=…";
        found.push(note("several MPIs are installed: programs and launchers must match", remedy));
    }
    found
}

pub fn check_trials(machine: &Machine) -> Vec<Found> {
    machine.installations.iter().filter_map(of).collect()
}

fn of(mpi: &Installation) -> Option<Found> {
    let name = &mpi.name;
    let found = match &mpi.trial {
        Trial::Skipped => return None,
        Trial::DoesNotBuild(why) => problem(
            format!("{name} cannot build a program:\n{why}"),
            "install its headers and a C compiler (apt install gcc libopenmpi-dev or libmpich-dev), \
             or reinstall it",
        ),
        Trial::NoLibrary(why) => problem(
            format!("a program of {name} does not find its library: {why}"),
            "add the folder of libmpi.so to LD_LIBRARY_PATH, or load the module of this MPI",
        ),
        Trial::NoLauncher { library, why } => problem(
            format!("{name} has no launcher for {}", library.display()),
            why.lines().last().unwrap_or_default(),
        ),
        Trial::Ran(run) if run.timed_out => problem(
            format!(
                "a program of {name} hangs under {}:\n{}",
                run.launcher.path.display(),
                run.output
            ),
            "check the network interfaces (ip addr): with Open MPI try OMPI_MCA_btl=self,vader, with MPICH \
             FI_PROVIDER=tcp or UCX_TLS=tcp,self,sm",
        ),
        Trial::Ran(run) if run.size == 1 => problem(
            format!(
                "under {} each process of {name} thinks it is alone (rank 0 of 1)",
                run.launcher.path.display()
            ),
            "this launcher belongs to another MPI: set PHALANX_MPIEXEC to the right one",
        ),
        Trial::Ran(run) if run.size != 2 || !run.output.is_empty() => problem(
            format!("a program of {name} does not run:\n{}", run.output),
            "see the launcher's message above; cargo phalanx run shows the settings that it makes",
        ),
        Trial::Ran(run) => ok(format!(
            "{name}: a program built and ran on 2 ranks ({})",
            run.launcher.path.display()
        )),
    };
    Some(found)
}

//! Whether Slurm can start programs of the MPIs that are here.

use phalanx_launch::Family;

use super::{Found, ok, problem, warning};
use crate::doctor::machine::Machine;

pub fn check(machine: &Machine) -> Vec<Found> {
    let inside = machine.batch.as_deref() == Some("Slurm");
    let Some(slurm) = &machine.slurm else {
        return if inside {
            vec![problem(
                "inside a job of Slurm, but there is no srun",
                "add Slurm's bin folder to PATH",
            )]
        } else {
            vec![ok("no Slurm here")]
        };
    };
    let has = |plugin: &str| slurm.plugins.iter().any(|known| known == plugin);
    let mut found = Vec::new();
    for mpi in &machine.installations {
        let (plugin, remedy) = match mpi.family {
            Some(Family::OpenMpi) => {
                ("pmix", "apt install libpmix-dev (Debian), or build Slurm with PMIx")
            }
            Some(Family::Mpich | Family::IntelMpi) => ("pmi2", "install Slurm's plugin mpi_pmi2"),
            _ => continue,
        };
        if has(plugin) {
            found.push(ok(format!("srun --mpi={plugin} starts programs of {}", mpi.name)));
            continue;
        }
        let text = format!(
            "srun has no plugin {plugin}, so that it cannot start programs of {}",
            mpi.name
        );
        let remedy = format!("{remedy}; mpirun works without");
        found.push(if inside { problem(text, remedy) } else { warning(text, remedy) });
    }
    found
}

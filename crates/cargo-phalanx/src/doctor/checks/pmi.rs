//! Whether Slurm can start programs of the MPIs that are here.

use phalanx_launch::{Family, slurm_plugin};

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
    let plugins = match &slurm.plugins {
        Ok(plugins) => plugins,
        Err(why) => {
            let remedy = "check Slurm (sinfo, scontrol ping); mpirun works without it";
            let level = if inside { problem } else { warning };
            return vec![level(why.clone(), remedy.to_owned())];
        }
    };
    let mut found = Vec::new();
    for mpi in &machine.installations {
        let Some(family) = mpi.family else { continue };
        let why = match slurm_plugin(family, plugins) {
            Ok(plugin) => {
                found.push(ok(format!("srun --mpi={plugin} starts programs of {}", mpi.name)));
                continue;
            }
            Err(why) => why,
        };
        let remedy = match family {
            Family::OpenMpi => "apt install libpmix-dev (Debian), or build Slurm with PMIx",
            _ => "install Slurm's plugin mpi_pmi2",
        };
        let remedy = format!("{remedy}; mpirun works without it");
        found.push(if inside { problem(why, remedy) } else { warning(why, remedy) });
    }
    found
}

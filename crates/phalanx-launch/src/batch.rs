use std::fmt;

use crate::Family;
use crate::settings::Environment;

/// The batch system that this process runs under.
///
/// Its launcher integration and its site's settings know the allocation; nothing is set then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Batch {
    /// Slurm.
    Slurm,
    /// PBS Pro, OpenPBS or Torque.
    Pbs,
    /// IBM Spectrum LSF.
    Lsf,
    /// Grid Engine and its descendants.
    GridEngine,
    /// Flux.
    Flux,
    /// Cobalt.
    Cobalt,
}

impl Batch {
    /// Recognises the batch system by the variables of its jobs.
    pub fn detect() -> Option<Batch> {
        Self::detect_in(&Environment::current())
    }

    pub(crate) fn detect_in(environment: &Environment) -> Option<Batch> {
        let has = |name| environment.has(name);
        if has("SLURM_JOB_ID") || has("SLURM_JOBID") {
            Some(Batch::Slurm)
        } else if has("PBS_JOBID") {
            Some(Batch::Pbs)
        } else if has("LSB_JOBID") {
            Some(Batch::Lsf)
        } else if has("JOB_ID") && has("PE_HOSTFILE") {
            // JOB_ID alone is a name that anybody might use.
            Some(Batch::GridEngine)
        } else if has("FLUX_URI") || has("FLUX_JOB_ID") {
            Some(Batch::Flux)
        } else if has("COBALT_JOBID") {
            Some(Batch::Cobalt)
        } else {
            None
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Batch::Slurm => "Slurm",
            Batch::Pbs => "PBS",
            Batch::Lsf => "LSF",
            Batch::GridEngine => "Grid Engine",
            Batch::Flux => "Flux",
            Batch::Cobalt => "Cobalt",
        })
    }
}

/// The plugin of Slurm that starts programs of the family, from what `srun --mpi=list` prints.
///
/// # Errors
/// With a phrase that says which one is missing.
pub fn slurm_plugin(family: Family, listed: &str) -> std::result::Result<&'static str, String> {
    let wanted: &[&str] = match family {
        Family::OpenMpi => &["pmix"],
        Family::Mpich | Family::IntelMpi => &["pmi2", "cray_shasta"],
    };
    let is_listed = |name: &&&str| listed.split_whitespace().any(|word| word == **name);
    wanted.iter().find(is_listed).copied().ok_or_else(|| {
        format!("srun has no plugin `{}`, which {family} needs (srun --mpi=list)", wanted[0])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(variables: &[&str]) -> Option<Batch> {
        Batch::detect_in(&Environment::from_iter(variables.iter().map(|name| (*name, "1"))))
    }

    #[test]
    fn batch_systems_are_known_by_their_variables() {
        assert_eq!(detect(&["SLURM_JOB_ID"]), Some(Batch::Slurm));
        assert_eq!(detect(&["PBS_JOBID"]), Some(Batch::Pbs));
        assert_eq!(detect(&["LSB_JOBID"]), Some(Batch::Lsf));
        assert_eq!(detect(&["JOB_ID", "PE_HOSTFILE"]), Some(Batch::GridEngine));
        assert_eq!(detect(&["FLUX_URI"]), Some(Batch::Flux));
        assert_eq!(detect(&["COBALT_JOBID"]), Some(Batch::Cobalt));
    }

    #[test]
    fn an_ordinary_shell_is_no_batch_job() {
        assert_eq!(detect(&[]), None);
        assert_eq!(detect(&["JOB_ID"]), None);
        assert_eq!(detect(&["PATH", "HOME"]), None);
    }

    #[test]
    fn slurm_needs_the_plugin_of_the_family() {
        let listed = "MPI plugin types are...\n\tnone\n\tpmi2\n\tpmix\nspecific pmix plugin versions \
                      available: pmix_v4\n";
        assert_eq!(slurm_plugin(Family::OpenMpi, listed), Ok("pmix"));
        assert_eq!(slurm_plugin(Family::Mpich, listed), Ok("pmi2"));
        let error = slurm_plugin(Family::OpenMpi, "none\npmi2\n").unwrap_err();
        assert!(error.contains("no plugin `pmix`, which Open MPI needs"), "{error}");
    }
}

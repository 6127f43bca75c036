//! Variables of a surrounding MPI job, which would confuse a launcher started inside it.

use crate::settings::Environment;

/// Variables that tell an MPI process who it is; no user sets them.
const OF_A_PROCESS: [&str; 24] = [
    "HYDI_CONTROL_FD",
    "MPIR_PMI",
    "MPI_LOCALNRANKS",
    "MPI_LOCALRANKID",
    "OMPI_APP_CTX_NUM_PROCS",
    "OMPI_ARGV",
    "OMPI_COMMAND",
    "OMPI_COMM_WORLD_",
    "OMPI_FILE_LOCATION",
    "OMPI_FIRST_RANKS",
    "OMPI_LIBDIR_LOC",
    "OMPI_MCA_PREFIXES",
    "OMPI_NUM_APP_CTX",
    "OMPI_TOOL_NAME",
    "OMPI_UNIVERSE_SIZE",
    "OMPI_VERSION",
    "OMPI_WORLD_",
    "OPAL_USER_PARAMS_GIVEN",
    "PMIX_",
    "PMI_",
    "PRTE_LAUNCHED",
    "PRTE_SHARED_FS",
    "MPD_",
    "MV2_COMM_WORLD_",
];

/// Parameters of Open MPI that its launcher hands to its ranks. A user may set some of them too:
/// they are taken for the launcher's inside a job alone.
const OF_A_JOB: [&str; 10] = [
    "OMPI_MCA_cpu_type",
    "OMPI_MCA_ess",
    "OMPI_MCA_initial_wdir",
    "OMPI_MCA_mpi_oversubscribe",
    "OMPI_MCA_num_procs",
    "OMPI_MCA_orte_",
    "OMPI_MCA_pmix",
    "OMPI_MCA_shmem_RUNTIME_QUERY_hint",
    "PRTE_MCA_ess",
    "PRTE_MCA_prte_",
];

/// The user's own, although their names begin like those of a process.
const KEPT: [&str; 3] = ["PMIX_MCA_", "PMIX_PREFIX", "PMIX_INSTALL_PREFIX"];

/// Variables of which each process of a job has at least one.
pub(crate) const SIGNS_OF_A_JOB: [&str; 4] =
    ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_FD"];

/// Names of the variables that a launcher must not inherit.
pub(crate) fn to_remove(environment: &Environment) -> Vec<String> {
    let inside = SIGNS_OF_A_JOB.iter().any(|name| environment.has(name));
    let begins = |name: &str, list: &[&str]| list.iter().any(|start| name.starts_with(start));
    environment
        .names()
        .filter(|name| {
            !begins(name, &KEPT)
                && (begins(name, &OF_A_PROCESS) || (inside && begins(name, &OF_A_JOB)))
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(names: &[&str]) -> Vec<String> {
        to_remove(&names.iter().map(|name| (*name, "1")).collect())
    }

    #[test]
    fn outside_a_job_all_parameters_stay() {
        let names = ["PATH", "OMPI_MCA_btl", "OMPI_MCA_orte_tmpdir_base", "OMPI_CC", "PMIX_MCA_x"];
        assert_eq!(removed(&names), Vec::<String>::new());
    }

    #[test]
    fn inside_an_open_mpi_job_its_traces_go_and_the_users_parameters_stay() {
        let names = [
            "OMPI_COMM_WORLD_SIZE",
            "OMPI_MCA_ess",
            "OMPI_MCA_orte_hnp_uri",
            "OMPI_MCA_btl",
            "OMPI_ALLOW_RUN_AS_ROOT",
            "PMIX_NAMESPACE",
            "PMIX_MCA_gds",
            "LD_LIBRARY_PATH",
        ];
        assert_eq!(
            removed(&names),
            ["OMPI_COMM_WORLD_SIZE", "OMPI_MCA_ess", "OMPI_MCA_orte_hnp_uri", "PMIX_NAMESPACE"]
        );
    }

    #[test]
    fn inside_a_hydra_job_its_traces_go() {
        let names =
            ["PMI_RANK", "PMI_FD", "PMI_SIZE", "MPI_LOCALNRANKS", "HYDI_CONTROL_FD", "HOME"];
        assert_eq!(removed(&names).len(), 5);
    }
}

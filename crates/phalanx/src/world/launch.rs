//! A launcher of one MPI with a program of another starts processes that each believe to be rank 0 of
//! 1, without a word. The launchers' own variables tell.

use std::env;
use std::fs;

use phalanx_sys::{Family, family};

use crate::error::{Error, ErrorKind, Result};
use crate::record::Call;

/// Variables that say how many processes a launcher has started, and which of them this is.
const LAUNCHERS: [(&str, &str, &str); 4] = [
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "Open MPI's mpirun"),
    ("PMI_SIZE", "PMI_RANK", "MPICH's or Intel MPI's mpiexec"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "MVAPICH's mpiexec"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun"),
];

const ALLOW: &str = "PHALANX_ALLOW_SINGLETON";

fn number(variable: &str) -> Option<usize> {
    env::var(variable).ok()?.trim().parse().ok()
}

fn started() -> Option<(usize, &'static str)> {
    LAUNCHERS
        .iter()
        .find_map(|&(size, _, launcher)| number(size).filter(|&n| n > 1).map(|n| (n, launcher)))
}

/// Whether this process is the one of its launcher that should speak.
pub(super) fn is_first_process() -> bool {
    LAUNCHERS.iter().find_map(|&(_, rank, _)| number(rank)).is_none_or(|rank| rank == 0)
}

fn is_allowed() -> bool {
    env::var_os(ALLOW).is_some_and(|value| value == "1")
}

/// Asked before MPI starts: an MPICH that was built without PMIx, the protocol of Open MPI's launcher,
/// may end the program in `MPI_Init`, on every rank and in words that name no remedy.
pub(super) fn refuse_before_start(call: &Call<'_>) -> Result<()> {
    let foreign = family() == Family::Mpich
        && number("OMPI_COMM_WORLD_SIZE").is_some_and(|size| size > 1)
        && number("PMI_SIZE").is_none();
    if !foreign || is_allowed() || speaks_pmix() {
        return Ok(());
    }
    refuse_mismatch(call, 1)
}

/// Whether a library of PMIx has been loaded with that of MPI.
fn speaks_pmix() -> bool {
    fs::read_to_string("/proc/self/maps").is_ok_and(|maps| maps.contains("/libpmix."))
}

pub(super) fn refuse_mismatch(call: &Call<'_>, size: usize) -> Result<()> {
    if size > 1 || is_allowed() {
        return Ok(());
    }
    let Some((processes, launcher)) = started() else { return Ok(()) };
    let (linked, hint) = match family() {
        Family::OpenMpi => ("Open MPI", "Open MPI's mpirun, or `srun --mpi=pmix`"),
        Family::Mpich => ("MPICH or one of its family", "its mpiexec, or `srun --mpi=pmi2`"),
        Family::Other => ("another MPI", "the launcher of that MPI"),
    };
    Err(Error::new(
        ErrorKind::Launch,
        call,
        format!(
            "{launcher} has started {processes} processes, but each of them is alone (rank 0 of 1): \
             this program is linked to {linked}. Start it with {hint}. (A process that is alone on \
             purpose says {ALLOW}=1.)"
        ),
    ))
}

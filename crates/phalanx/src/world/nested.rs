//! A program that was started by a rank, with the variables by which the launcher told that rank who it is.
//!
//! It would take the place of the rank in its job: MPICH waits for ever, Open MPI fails in words that
//! name no cause. So its ancestors are asked, up to the launcher: one that has the same number and uses
//! an MPI library is a rank. Shells and debuggers between launcher and rank use none.

use std::env;
use std::fs;

use super::failure;
use crate::error::{Error, ErrorKind, Result};
use crate::record::Call;

/// Variables in which launchers number their processes.
const RANKS: [&str; 5] =
    ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID"];

/// How the names of launchers and their daemons begin.
const LAUNCHERS: [&str; 16] = [
    "mpirun",
    "mpiexec",
    "orterun",
    "orted",
    "prterun",
    "prted",
    "prte",
    "hydra",
    "pmi_proxy",
    "srun",
    "slurmstepd",
    "pbs_",
    "palsd",
    "aprun",
    "jsrun",
    "sge_",
];

/// More processes than these are hardly between a launcher and its rank.
const MOST_ANCESTORS: usize = 16;

/// Asked before MPI starts.
pub(super) fn refuse_inside_a_rank(call: &Call<'_>) -> Result<()> {
    let Some((variable, rank)) =
        RANKS.iter().find_map(|&variable| Some((variable, env::var(variable).ok()?)))
    else {
        return Ok(());
    };
    let Some(process) = rank_among_ancestors(variable, &rank) else { return Ok(()) };
    // Its number is that of the rank that started it: it speaks for itself.
    failure::set_speaker(Some(true));
    Err(Error::new(
        ErrorKind::Launch,
        call,
        format!(
            "this program was started by rank {rank} of a running job (process {process}) and has its \
             environment: it cannot start MPI in the place of that rank. Start it as a job of its own with \
             `phalanx_launch::Job`, or remove {variable} and the launcher's other variables"
        ),
    ))
}

fn rank_among_ancestors(variable: &str, rank: &str) -> Option<u32> {
    let wanted = format!("{variable}={rank}");
    let mut process = std::os::unix::process::parent_id();
    for _ in 0..MOST_ANCESTORS {
        let ancestor = Ancestor::of(process)?;
        if LAUNCHERS.iter().any(|name| ancestor.name.starts_with(name)) {
            return None;
        }
        if has_variable(process, &wanted) && uses_mpi(process) {
            return Some(process);
        }
        process = ancestor.parent;
    }
    None
}

struct Ancestor {
    name: String,
    parent: u32,
}

impl Ancestor {
    /// What the system says of a process; nothing of the first one, and of those that are gone.
    fn of(process: u32) -> Option<Self> {
        if process <= 1 {
            return None;
        }
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let field = |name: &str| {
            let value = |line: &str| Some(line.strip_prefix(name)?.trim().to_owned());
            status.lines().find_map(value)
        };
        Some(Ancestor { name: field("Name:")?, parent: field("PPid:")?.parse().ok()? })
    }
}

fn has_variable(process: u32, wanted: &str) -> bool {
    let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|entry| entry == wanted.as_bytes())
}

fn uses_mpi(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/maps")).is_ok_and(|maps| maps.contains("/libmpi"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_of_a_process_is_known_by_its_name() {
        let own = Ancestor::of(std::process::id()).expect("this process");
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        assert!(!own.name.is_empty());
        assert!(Ancestor::of(0).is_none() && Ancestor::of(1).is_none());
    }

    #[test]
    fn what_no_rank_has_started_is_inside_of_none() {
        assert_eq!(rank_among_ancestors("PHALANX_NO_SUCH_RANK", "3"), None);
    }
}

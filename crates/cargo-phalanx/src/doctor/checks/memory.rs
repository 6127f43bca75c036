//! How ranks of one machine give each other data.

use super::{Found, ok, problem, warning};
use crate::doctor::machine::Machine;

/// What ranks of one machine need of /dev/shm, each: Open MPI's and MPICH's segments of a rank have
/// some MiB, and a container has 64 MiB if nothing else is said.
const NEEDED: u64 = 8 << 20;

pub fn check_single_copy(machine: &Machine) -> Vec<Found> {
    if !machine.cross_memory {
        return vec![warning(
            "ranks cannot read each other's memory (process_vm_readv): large messages are copied twice, \
             and MPICH 5 does not start",
            "cargo phalanx run makes the settings; in a container: docker run --cap-add=SYS_PTRACE; \
             by hand: OMPI_MCA_btl_vader_single_copy_mechanism=none, MPIR_CVAR_CH4_CMA_ENABLE=0",
        )];
    }
    match machine.ptrace_scope {
        Some(scope) if scope >= 2 => vec![warning(
            format!("kernel.yama.ptrace_scope is {scope}: ranks cannot read each other's memory"),
            "sysctl kernel.yama.ptrace_scope=1, or accept that large messages are copied twice",
        )],
        _ => vec![ok("ranks can read each other's memory: large messages are copied once")],
    }
}

pub fn check_shared(machine: &Machine) -> Vec<Found> {
    let Some(space) = machine.shared_memory else {
        return vec![problem(
            "no /dev/shm, through which ranks of one machine communicate",
            "mount -t tmpfs tmpfs /dev/shm, or in a container: docker run --shm-size=1g",
        )];
    };
    let mib = |bytes: u64| bytes >> 20;
    let needed = NEEDED * machine.ranks as u64;
    if space.free < needed {
        return vec![warning(
            format!(
                "/dev/shm has {} MiB left of {}; {} ranks need about {}",
                mib(space.free),
                mib(space.total),
                machine.ranks,
                mib(needed)
            ),
            "remove old files from it (ls -l /dev/shm), or in a container: docker run --shm-size=1g",
        )];
    }
    vec![ok(format!("{} MiB free", mib(space.free)))]
}

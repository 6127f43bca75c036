//! Settings that a job needs on this machine, each with its reason.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use crate::{Batch, Family, Host, Launcher, physical_cores, sys};

/// An environment variable for the launcher, and why it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Name of the variable.
    pub name: &'static str,
    /// Its value.
    pub value: &'static str,
    /// Why the job needs it, as the end of a sentence.
    pub why: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} ({})", self.name, self.value, self.why)
    }
}

/// What a decision depends on besides the job.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The variables that are set already.
    pub environment: Environment,
    /// Cores that this process may use; the hardware threads of one count once, as for Open MPI.
    pub cores: usize,
    /// Whether the effective user is root.
    pub root: bool,
    /// Whether processes may read each other's memory directly (`process_vm_readv`).
    pub cross_memory: bool,
}

impl Machine {
    /// This machine, this user, this environment.
    pub fn current() -> Machine {
        Machine {
            environment: Environment::current(),
            cores: physical_cores(),
            root: sys::effective_user() == 0,
            cross_memory: sys::cross_memory_allowed(),
        }
    }
}

/// Environment variables by name.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The variables of this process.
    pub fn current() -> Environment {
        Environment(std::env::vars_os().collect())
    }

    /// Whether the variable is set, whatever its value.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(std::ffi::OsStr::new(name))
    }

    /// Names of all variables that are valid UTF-8.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|name| name.to_str())
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Environment(
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        )
    }
}

/// The settings for a job of `ranks` ranks under `launcher`; `shared` when other jobs run on the
/// same cores at the same time, as those of tests do; on `hosts`, or on this one when there are none.
///
/// Nothing that is set already is set again, and under a batch system the answer is empty.
pub fn decide(
    launcher: &Launcher,
    ranks: usize,
    shared: bool,
    hosts: &[Host],
    machine: &Machine,
) -> Vec<Setting> {
    if Batch::detect_in(&machine.environment).is_some() {
        return Vec::new();
    }
    let places;
    let machine = if hosts.is_empty() {
        machine
    } else {
        let slots = Host::all_slots(hosts);
        places = Machine { cores: slots, ..machine.clone() };
        &places
    };
    let mut settings = match launcher.family() {
        Family::OpenMpi if launcher.major() >= 5 => open_mpi_5(ranks, shared, machine),
        Family::OpenMpi => open_mpi_4(ranks, shared, machine),
        // Hydra runs as root, oversubscribes and does not bind, all by default.
        Family::Mpich => mpich(machine),
        Family::IntelMpi => intel_mpi(ranks, shared, machine),
    };
    if launcher.family() == Family::OpenMpi && launcher.major() < 5 && !hosts.is_empty() {
        settings.extend(open_mpi_4_keepalive());
    }
    settings.retain(|setting| !machine.environment.has(setting.name));
    settings
}

/// A host that falls silent, without a word to close its connections.
fn open_mpi_4_keepalive() -> [Setting; 3] {
    let setting = |name, value, why: &str| Setting { name, value, why: why.into() };
    let why = "a host that falls silent ends the job after seconds, not minutes";
    [
        setting("OMPI_MCA_oob_tcp_keepalive_time", "2", why),
        setting("OMPI_MCA_oob_tcp_keepalive_intvl", "1", why),
        setting("OMPI_MCA_oob_tcp_keepalive_probes", "3", why),
    ]
}

fn open_mpi_4(ranks: usize, shared: bool, machine: &Machine) -> Vec<Setting> {
    let mut settings = open_mpi_root(machine);
    if ranks > machine.cores {
        settings.push(Setting {
            name: "OMPI_MCA_rmaps_base_oversubscribe",
            value: "1",
            why: more_ranks_than_cores(ranks, machine),
        });
    }
    if shared {
        settings.push(Setting {
            name: "OMPI_MCA_hwloc_base_binding_policy",
            value: "none",
            why: SHARED.into(),
        });
    }
    if !machine.cross_memory {
        settings.push(Setting {
            name: "OMPI_MCA_btl_vader_single_copy_mechanism",
            value: "none",
            why: NO_CROSS_MEMORY.into(),
        });
    }
    settings
}

fn open_mpi_5(ranks: usize, shared: bool, machine: &Machine) -> Vec<Setting> {
    let mut settings = open_mpi_root(machine);
    if ranks > machine.cores {
        settings.push(Setting {
            name: "PRTE_MCA_rmaps_default_mapping_policy",
            value: ":oversubscribe",
            why: more_ranks_than_cores(ranks, machine),
        });
    }
    if shared {
        settings.push(Setting {
            name: "PRTE_MCA_hwloc_default_binding_policy",
            value: "none",
            why: SHARED.into(),
        });
    }
    if !machine.cross_memory {
        settings.push(Setting {
            name: "OMPI_MCA_smsc",
            value: "^cma",
            why: NO_CROSS_MEMORY.into(),
        });
    }
    settings
}

fn open_mpi_root(machine: &Machine) -> Vec<Setting> {
    if !machine.root {
        return Vec::new();
    }
    ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"]
        .map(|name| Setting {
            name,
            value: "1",
            why: "Open MPI refuses to run as root without it".into(),
        })
        .into()
}

fn mpich(machine: &Machine) -> Vec<Setting> {
    if machine.cross_memory {
        return Vec::new();
    }
    vec![Setting { name: "MPIR_CVAR_CH4_CMA_ENABLE", value: "0", why: NO_CROSS_MEMORY.into() }]
}

fn intel_mpi(ranks: usize, shared: bool, machine: &Machine) -> Vec<Setting> {
    let mut settings = Vec::new();
    if shared {
        settings.push(Setting { name: "I_MPI_PIN", value: "0", why: SHARED.into() });
    }
    if ranks > machine.cores {
        settings.push(Setting {
            name: "I_MPI_WAIT_MODE",
            value: "1",
            why: more_ranks_than_cores(ranks, machine),
        });
    }
    settings
}

const SHARED: &str = "jobs that run at the same time must not be bound to the same cores";
const NO_CROSS_MEMORY: &str = "this container forbids reading another process's memory";

fn more_ranks_than_cores(ranks: usize, machine: &Machine) -> String {
    let plural = if machine.cores == 1 { "core" } else { "cores" };
    format!("{ranks} ranks share {} {plural}", machine.cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(variables: &[&str]) -> Machine {
        Machine {
            environment: variables.iter().map(|name| (*name, "x")).collect(),
            cores: 2,
            root: false,
            cross_memory: true,
        }
    }

    fn names(settings: &[Setting]) -> Vec<&str> {
        settings.iter().map(|setting| setting.name).collect()
    }

    fn open_mpi(version: &str) -> Launcher {
        Launcher::for_test(Family::OpenMpi, version)
    }

    #[test]
    fn an_ordinary_user_with_enough_cores_needs_nothing() {
        assert!(decide(&open_mpi("4.1.4"), 2, false, &[], &machine(&[])).is_empty());
        assert!(decide(&open_mpi("5.0.11"), 2, false, &[], &machine(&[])).is_empty());
    }

    #[test]
    fn root_and_oversubscription_are_allowed_for_each_open_mpi_in_its_own_way() {
        let machine = Machine { root: true, ..machine(&[]) };
        let four = decide(&open_mpi("4.1.4"), 4, false, &[], &machine);
        assert_eq!(
            names(&four),
            [
                "OMPI_ALLOW_RUN_AS_ROOT",
                "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
                "OMPI_MCA_rmaps_base_oversubscribe"
            ]
        );
        assert!(four[2].to_string().contains("4 ranks share 2 cores"), "{}", four[2]);
        let five = decide(&open_mpi("5.0.11"), 4, true, &[], &machine);
        assert_eq!(
            names(&five)[2..],
            ["PRTE_MCA_rmaps_default_mapping_policy", "PRTE_MCA_hwloc_default_binding_policy"]
        );
    }

    #[test]
    fn several_hosts_count_their_slots_and_notice_when_one_falls_silent() {
        let hosts: Vec<Host> = ["a:2", "b:2"].map(|text| text.parse().unwrap()).into();
        let settings = decide(&open_mpi("4.1.4"), 4, false, &hosts, &machine(&[]));
        assert_eq!(settings.len(), 3);
        assert!(names(&settings).iter().all(|name| name.contains("keepalive")), "{settings:?}");
        let settings = decide(&open_mpi("4.1.4"), 5, false, &hosts, &machine(&[]));
        assert!(settings[0].to_string().contains("5 ranks share 4"), "{}", settings[0]);
    }

    #[test]
    fn what_the_user_set_is_left_alone() {
        let machine = Machine {
            root: true,
            ..machine(&["OMPI_MCA_rmaps_base_oversubscribe", "OMPI_MCA_hwloc_base_binding_policy"])
        };
        assert_eq!(
            names(&decide(&open_mpi("4.1.4"), 4, true, &[], &machine)),
            ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"]
        );
    }

    #[test]
    fn under_a_batch_system_nothing_is_set() {
        let machine = Machine { root: true, ..machine(&["SLURM_JOB_ID"]) };
        assert!(decide(&open_mpi("4.1.4"), 64, true, &[], &machine).is_empty());
    }

    #[test]
    fn hydra_needs_nothing_and_intel_is_not_to_pin_tests() {
        let machine = Machine { root: true, ..machine(&[]) };
        assert!(
            decide(&Launcher::for_test(Family::Mpich, "5.0.2"), 4, true, &[], &machine).is_empty()
        );
        let intel = Launcher::for_test(Family::IntelMpi, "2021.19");
        assert_eq!(
            names(&decide(&intel, 4, true, &[], &machine)),
            ["I_MPI_PIN", "I_MPI_WAIT_MODE"]
        );
    }

    #[test]
    fn a_container_without_cross_memory_copies_another_way() {
        let machine = Machine { cross_memory: false, ..machine(&[]) };
        let settings = decide(&open_mpi("4.1.4"), 2, false, &[], &machine);
        assert_eq!(names(&settings), ["OMPI_MCA_btl_vader_single_copy_mechanism"]);
        let settings = decide(&Launcher::for_test(Family::Mpich, "5.0.2"), 2, false, &[], &machine);
        assert_eq!(names(&settings), ["MPIR_CVAR_CH4_CMA_ENABLE"]);
    }
}

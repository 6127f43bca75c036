//! A picture of a broken machine for each finding.

use phalanx_launch::Family;

use super::*;
use crate::doctor::machine::{
    Host, Installation, Launcher, Linked, Program, Run, Slurm, Space, Trial,
};

fn launcher(family: Family) -> Launcher {
    Launcher { path: "/usr/bin/mpiexec".into(), family, version: "4.1.4".into() }
}

fn run() -> Run {
    Run {
        library: "/usr/lib/libmpi.so.40".into(),
        family: Family::OpenMpi,
        version: "Open MPI v4.1.4, package: Debian".into(),
        launcher: launcher(Family::OpenMpi),
        size: 2,
        output: String::new(),
        timed_out: false,
    }
}

fn open_mpi(trial: Trial) -> Installation {
    Installation {
        family: Some(Family::OpenMpi),
        name: "Open MPI 4.1.4".into(),
        compiler: "/usr/bin/mpicc".into(),
        is_default: true,
        trial,
    }
}

fn mpich() -> Installation {
    Installation {
        family: Some(Family::Mpich),
        name: "MPICH 5.0.2".into(),
        compiler: "/opt/mpich/bin/mpicc".into(),
        is_default: false,
        trial: Trial::Skipped,
    }
}

fn healthy() -> Machine {
    Machine {
        installations: vec![open_mpi(Trial::Ran(run()))],
        launcher_on_path: Some(launcher(Family::OpenMpi)),
        missing_tools: Vec::new(),
        program: None,
        root: false,
        cores: 8,
        ranks: 4,
        cross_memory: true,
        ptrace_scope: Some(1),
        shared_memory: Some(Space { total: 8 << 30, free: 8 << 30 }),
        host: Host { name: "node1".into(), addresses: vec!["10.0.0.1".parse().unwrap()] },
        slurm: None,
        missing_mpicc: None,
        batch: None,
    }
}

/// The one thing that is wrong in the picture: of this check and level, with such words in its text
/// and its remedy.
#[track_caller]
fn finds(machine: &Machine, check: &str, level: Level, text: &str, remedy: &str) {
    let wrong: Vec<Finding> =
        all(machine).into_iter().filter(|finding| finding.level > Level::Ok).collect();
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    let found = &wrong[0];
    assert_eq!((found.check, found.level), (check, level), "{found:?}");
    assert!(found.text.contains(text), "{found:?}");
    assert!(found.remedy.as_ref().is_some_and(|found| found.contains(remedy)), "{found:?}");
}

fn with_trial(trial: Trial) -> Machine {
    Machine { installations: vec![open_mpi(trial)], ..healthy() }
}

fn with_program(linked: Result<Linked, String>) -> Machine {
    Machine { program: Some(Program { path: "pi".into(), linked }), ..healthy() }
}

#[test]
fn nothing_is_wrong_with_a_healthy_machine() {
    let findings = all(&healthy());
    assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:#?}");
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
    for (name, _) in CHECKS {
        assert!(name == "program" || checks.contains(&name), "nothing was said of {name}");
    }
}

#[test]
fn no_mpi() {
    let machine = Machine { installations: Vec::new(), launcher_on_path: None, ..healthy() };
    finds(&machine, "mpi", Level::Problem, "no MPI", "cargo phalanx setup");
}

#[test]
fn two_mpis() {
    let both = vec![open_mpi(Trial::Ran(run())), mpich()];
    let machine = Machine { installations: both, ..healthy() };
    finds(&machine, "mpi", Level::Note, "several MPIs", "--mpi");
}

#[test]
fn an_mpi_that_builds_nothing() {
    let machine = with_trial(Trial::DoesNotBuild("mpi.h: No such file".into()));
    finds(&machine, "trial", Level::Problem, "mpi.h: No such file", "libopenmpi-dev");
}

#[test]
fn a_library_that_is_not_found() {
    let machine = with_trial(Trial::NoLibrary("it needs libmpi.so.40".into()));
    finds(&machine, "trial", Level::Problem, "needs libmpi.so.40", "LD_LIBRARY_PATH");
}

#[test]
fn an_mpi_without_a_launcher() {
    let why = "no launcher found\nInstall the launcher: `apt install openmpi-bin`".to_owned();
    let machine = with_trial(Trial::NoLauncher { library: "/usr/lib/libmpi.so.40".into(), why });
    finds(&machine, "trial", Level::Problem, "no launcher", "openmpi-bin");
}

#[test]
fn processes_that_are_each_alone() {
    let machine = with_trial(Trial::Ran(Run { size: 1, output: "x".into(), ..run() }));
    finds(&machine, "trial", Level::Problem, "rank 0 of 1", "PHALANX_MPIEXEC");
}

#[test]
fn a_program_that_hangs() {
    let machine = with_trial(Trial::Ran(Run { size: 0, timed_out: true, ..run() }));
    finds(&machine, "trial", Level::Problem, "hangs", "btl");
}

#[test]
fn a_program_that_fails() {
    let trial = Run { size: 0, output: "ORTE was unable".into(), ..run() };
    finds(
        &with_trial(Trial::Ran(trial)),
        "trial",
        Level::Problem,
        "ORTE was unable",
        "message above",
    );
}

#[test]
fn a_launcher_of_another_mpi() {
    let machine = Machine { launcher_on_path: Some(launcher(Family::Mpich)), ..healthy() };
    finds(&machine, "launcher", Level::Warning, "rank 0 of 1", "cargo phalanx run");
}

#[test]
fn no_launcher_on_path() {
    let machine = Machine { launcher_on_path: None, ..healthy() };
    finds(&machine, "launcher", Level::Warning, "no mpiexec", "eval");
}

#[test]
fn a_program_without_mpi() {
    let machine = with_program(Err("`pi` is not linked to an MPI library".into()));
    finds(&machine, "program", Level::Problem, "not linked", "build it here");
}

#[test]
fn a_program_whose_mpi_has_no_launcher() {
    let linked = Linked {
        library: "/usr/lib/libmpi.so.40".into(),
        family: Family::OpenMpi,
        launcher: Err("none\nInstall the launcher: `apt install openmpi-bin`".into()),
    };
    finds(&with_program(Ok(linked)), "program", Level::Problem, "no launcher here", "openmpi-bin");
}

#[test]
fn a_program_of_another_abi() {
    let linked = Linked {
        library: "/opt/lib/libmpi.so.12".into(),
        family: Family::Mpich,
        launcher: Ok(launcher(Family::Mpich)),
    };
    finds(&with_program(Ok(linked)), "abi", Level::Warning, "linked to MPICH", "build it again");
}

#[test]
fn a_library_of_another_abi_than_the_header() {
    let machine = with_trial(Trial::Ran(Run { family: Family::Mpich, ..run() }));
    finds(&machine, "abi", Level::Problem, "of MPICH", "LD_LIBRARY_PATH");
}

#[test]
fn a_library_of_another_version_than_the_header() {
    let machine = with_trial(Trial::Ran(Run { version: "Open MPI v5.0.1".into(), ..run() }));
    finds(&machine, "abi", Level::Warning, "v5.0.1", "LD_LIBRARY_PATH");
}

#[test]
fn no_libclang() {
    let machine = Machine { missing_tools: vec!["libclang".into()], ..healthy() };
    finds(&machine, "tools", Level::Problem, "libclang", "libclang-dev");
}

#[test]
fn no_c_compiler() {
    let machine = Machine { missing_tools: vec!["compiler".into()], ..healthy() };
    finds(&machine, "tools", Level::Problem, "C compiler", "gcc");
}

#[test]
fn root() {
    let machine = Machine { root: true, ..healthy() };
    finds(&machine, "slots", Level::Note, "root", "OMPI_ALLOW_RUN_AS_ROOT=1");
}

/// Nothing but MPICH.
fn with_mpich() -> Machine {
    let launcher_on_path = Some(launcher(Family::Mpich));
    Machine { installations: vec![mpich()], launcher_on_path, ..healthy() }
}

#[test]
fn more_ranks_than_cores() {
    let machine = Machine { cores: 2, ..healthy() };
    finds(&machine, "slots", Level::Note, "4 ranks share 2 cores", "--oversubscribe");
    let machine = Machine { cores: 1, ..with_mpich() };
    finds(&machine, "slots", Level::Note, "4 ranks share 1 core: slower", "run -n 1");
}

#[test]
fn under_a_batch_system_slots_are_not_ours_to_judge() {
    let machine = Machine { root: true, cores: 1, batch: Some("PBS".into()), ..healthy() };
    assert!(all(&machine).iter().all(|finding| finding.level == Level::Ok));
}

#[test]
fn a_container_without_cross_memory() {
    let machine = Machine { cross_memory: false, ..healthy() };
    finds(&machine, "single-copy", Level::Warning, "copied twice", "SYS_PTRACE");
}

#[test]
fn a_kernel_that_forbids_to_trace() {
    let machine = Machine { ptrace_scope: Some(2), ..healthy() };
    finds(&machine, "single-copy", Level::Warning, "ptrace_scope is 2", "sysctl");
}

#[test]
fn no_shared_memory() {
    let machine = Machine { shared_memory: None, ..healthy() };
    finds(&machine, "/dev/shm", Level::Problem, "no /dev/shm", "--shm-size");
}

#[test]
fn little_shared_memory() {
    let shared_memory = Some(Space { total: 64 << 20, free: 3 << 20 });
    let machine = Machine { shared_memory, ..healthy() };
    finds(&machine, "/dev/shm", Level::Warning, "3 MiB left of 64", "--shm-size");
}

#[test]
fn a_host_name_that_stands_for_nothing() {
    let host = Host { name: "node1".into(), addresses: Vec::new() };
    let machine = Machine { host, ..healthy() };
    finds(&machine, "host name", Level::Warning, "no address", "/etc/hosts");
}

#[test]
fn a_host_name_for_this_host_alone() {
    let host = Host { name: "node1".into(), addresses: vec!["127.0.1.1".parse().unwrap()] };
    finds(&Machine { host, ..healthy() }, "host name", Level::Note, "127.0.1.1", "real address");
}

#[test]
fn a_host_name_that_is_none() {
    let host = Host { name: "my_node".into(), addresses: vec!["10.0.0.1".parse().unwrap()] };
    finds(
        &Machine { host, ..healthy() },
        "host name",
        Level::Warning,
        "contains a `_`",
        "hostnamectl",
    );
}

#[test]
fn a_host_without_a_name() {
    let host = Host { name: "localhost".into(), addresses: vec!["127.0.0.1".parse().unwrap()] };
    finds(&Machine { host, ..healthy() }, "host name", Level::Warning, "no name", "hostnamectl");
}

#[test]
fn slurm_without_the_plugin() {
    let slurm = Some(Slurm { plugins: Ok("MPI plugin types are...\n\tnone\n\tpmi2\n".into()) });
    let machine = Machine { slurm: slurm.clone(), ..healthy() };
    finds(&machine, "pmi", Level::Warning, "no plugin `pmix`", "libpmix-dev");
    let machine = Machine { slurm, batch: Some("Slurm".into()), ..healthy() };
    finds(&machine, "pmi", Level::Problem, "no plugin `pmix`", "mpirun works");
}

#[test]
fn slurm_of_a_cray_and_one_that_prints_in_its_old_way() {
    let old = "srun: MPI types are...\nsrun: pmix\nsrun: pmi2\n";
    for (mpi, listed, plugin) in [
        (open_mpi(Trial::Skipped), old, "pmix"),
        (mpich(), old, "pmi2"),
        (mpich(), "none\ncray_shasta\n", "cray_shasta"),
    ] {
        let slurm = Some(Slurm { plugins: Ok(listed.into()) });
        let machine =
            Machine { slurm, installations: vec![mpi], batch: Some("Slurm".into()), ..healthy() };
        let found = all(&machine);
        let pmi = found.iter().find(|finding| finding.check == "pmi").unwrap();
        assert_eq!(pmi.level, Level::Ok, "{found:?}");
        assert!(pmi.text.contains(&format!("--mpi={plugin} ")), "{}", pmi.text);
    }
}

#[test]
fn slurm_without_the_plugin_for_mpich() {
    let slurm = Some(Slurm { plugins: Ok("none\npmix\n".into()) });
    let machine = Machine { slurm, ..with_mpich() };
    finds(&machine, "pmi", Level::Warning, "no plugin `pmi2`", "mpi_pmi2");
}

#[test]
fn slurm_that_does_not_answer() {
    let slurm = Some(Slurm { plugins: Err("srun says nothing within 10 s".into()) });
    finds(&Machine { slurm, ..healthy() }, "pmi", Level::Warning, "says nothing", "scontrol ping");
}

#[test]
fn a_compiler_that_is_not_there() {
    let machine = Machine { missing_mpicc: Some("/nope/mpicc".into()), ..healthy() };
    finds(&machine, "mpi", Level::Problem, "MPICC names /nope/mpicc", "unset");
}

#[test]
fn a_job_of_slurm_without_srun() {
    let machine = Machine { batch: Some("Slurm".into()), ..healthy() };
    finds(&machine, "pmi", Level::Problem, "no srun", "PATH");
}

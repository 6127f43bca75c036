//! The watch on two hosts: namespaces of this machine with a cable between them. A host has its own name,
//! network, processes and shared memory, and all of that goes with the first of its processes.
//!
//! Needs root, `ip`, util-linux and Open MPI; where one of them is missing the tests say so and pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use phalanx_launch::{Family, Launcher, Mpi};

const WATCHED: &str = env!("CARGO_BIN_EXE_watched");

/// Makes the hosts and runs a command on the first.
const TWO_HOSTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hosts/two");
/// Runs a command on the second.
const SSH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hosts/ssh");

/// The exit code of a job that the watch ends.
const DEADLOCK: i32 = 86;

/// A job that has not ended after so many seconds is ended, with both hosts.
const LONGEST: &str = "60";

/// The namespaces in which the first host lives; what is started in them ends with `unshare`.
const NAMESPACES: [&str; 8] =
    ["--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// The launcher, or what is missing here.
fn launcher() -> &'static Result<Launcher, String> {
    static LAUNCHER: OnceLock<Result<Launcher, String>> = OnceLock::new();
    LAUNCHER.get_or_init(|| {
        // SAFETY: a question to the operating system.
        if unsafe { libc::geteuid() } != 0 {
            return Err("root".to_owned());
        }
        for (tool, argument) in [("ip", "-V"), ("unshare", "-V"), ("nsenter", "-V")] {
            if Command::new(tool).arg(argument).output().is_err() {
                return Err(format!("the command `{tool}`"));
            }
        }
        let mpi = Mpi::of_executable(WATCHED).map_err(|error| error.to_string())?;
        let launcher = Launcher::of(&mpi).map_err(|error| error.to_string())?;
        if mpi.family() != Family::OpenMpi || launcher.major() >= 5 {
            return Err(format!("Open MPI 4 (this is {} {})", mpi.family(), launcher.version()));
        }
        // What a container may not be allowed to do.
        let cable = "mount -t tmpfs tmpfs /dev/shm && ip link add eth0 type veth peer name eth1";
        let tried = Command::new("unshare").args(NAMESPACES).args(["sh", "-c", cable]).output();
        let tried = tried.map_err(|error| error.to_string())?;
        if !tried.status.success() {
            let why = String::from_utf8_lossy(&tried.stderr).trim().replace('\n', "; ");
            return Err(format!("the right to make namespaces ({why})"));
        }
        Ok(launcher)
    })
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    took: Duration,
}

impl Ended {
    fn text(&self) -> String {
        format!("exit code {:?} after {:?}\n{}\n{}", self.code, self.took, self.stdout, self.stderr)
    }

    #[track_caller]
    fn says(&self, part: &str) -> &Self {
        assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.text());
        self
    }

    #[track_caller]
    fn ends_with(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.text());
        self
    }

    /// One report for both hosts, and no other word of ours.
    #[track_caller]
    fn says_once(&self, headline: &str) -> &Self {
        let said: Vec<_> =
            self.stderr.lines().filter(|line| line.starts_with("phalanx: ")).collect();
        assert_eq!(said.len(), 1, "{}", self.text());
        assert!(said[0].starts_with(headline), "{}", self.text());
        self
    }

    #[track_caller]
    fn proves_nothing(&self) -> &Self {
        assert!(!self.stderr.contains("(proved)"), "{}", self.text());
        self
    }
}

/// What the first host does meanwhile, and the environment of the ranks.
#[derive(Default)]
struct Plan<'a> {
    meanwhile: &'a str,
    environment: &'a [(&'a str, &'a str)],
}

/// Runs `watched` with two ranks on each of two hosts, or says why it cannot.
#[track_caller]
fn run(arguments: &[&str], plan: &Plan<'_>) -> Option<Ended> {
    let launcher = match launcher() {
        Ok(launcher) => launcher,
        Err(missing) => {
            eprintln!("SKIPPED, two hosts cannot be made here: this needs {missing}");
            return None;
        }
    };
    // One job at a time: its ranks share the cores already.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    let mut command = Command::new("timeout");
    // Without mercy: what is in a namespace of processes goes with its first one.
    command.args(["-s", "KILL", LONGEST, "unshare"]).args(NAMESPACES).arg(TWO_HOSTS);
    let meanwhile = format!("({}) >/dev/null & exec \"$0\" \"$@\"", plan.meanwhile);
    if !plan.meanwhile.is_empty() {
        command.args(["sh", "-c", &meanwhile]);
    }
    command.arg(launcher.path()).args(["--allow-run-as-root", "--oversubscribe"]);
    // A daemon that leaves its parent would end its host.
    command.args(["--leave-session-attached", "--host", "host1:2,host2:2", "-np", "4"]);
    for (name, value) in [
        ("plm_rsh_agent", SSH),
        ("plm_rsh_no_tree_spawn", "1"),
        ("pml", "ob1"),
        ("btl", "tcp,self,vader"),
        ("btl_vader_single_copy_mechanism", "none"),
        ("oob_tcp_if_include", "10.0.0.0/24"),
        ("btl_tcp_if_include", "10.0.0.0/24"),
    ] {
        command.args(["--mca", name, value]);
    }
    let settings = [("RUST_BACKTRACE", "0"), ("PHALANX_WATCH_AFTER", "700ms")];
    for (name, value) in settings.iter().chain(plan.environment) {
        command.env(name, value).args(["-x", name]);
    }
    command.arg(WATCHED).args(arguments).stdin(Stdio::null());
    let output = command.output().expect("`timeout` starts");
    Some(Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: start.elapsed(),
    })
}

#[test]
fn the_hosts_are_two_nodes_that_share_no_memory() {
    let Some(ended) = run(&["nodes"], &Plan::default()) else { return };
    ended.ends_with(0);
    let mut lines: Vec<_> = ended.stdout.lines().collect();
    lines.sort_unstable();
    let wanted = [
        "rank 0 is 0 of 2 on host1",
        "rank 1 is 1 of 2 on host1",
        "rank 2 is 0 of 2 on host2",
        "rank 3 is 1 of 2 on host2",
    ];
    assert_eq!(lines, wanted, "{}", ended.text());
}

#[test]
fn a_cycle_across_hosts_is_proved_and_printed_once() {
    let Some(ended) = run(&["cycle"], &Plan::default()) else { return };
    ended
        .ends_with(DEADLOCK)
        .says_once("phalanx: deadlock (proved): ranks 0-3 of 4 wait for each other")
        .says("receive cycle")
        .says("rank 0  recv from rank 3, any tag, on `world`")
        .says("rank 2  recv from rank 1, any tag, on `world`");
}

#[test]
fn two_ranks_of_different_hosts_are_told_apart_from_those_that_wait_for_them() {
    let Some(ended) = run(&["cycle-of-two"], &Plan::default()) else { return };
    ended
        .ends_with(DEADLOCK)
        .says_once("phalanx: deadlock (proved): ranks 0 and 3 of 4 wait for each other")
        .says("also waiting for them:")
        .says("ranks 1 and 2  barrier on `world`");
}

#[test]
fn a_rank_that_computes_is_slow_for_the_other_host_too() {
    let Some(ended) = run(&["slow", "3"], &Plan::default()) else { return };
    ended.ends_with(0).proves_nothing().says("waiting for a rank outside MPI: rank 0");
}

#[test]
fn busy_hosts_are_no_deadlock() {
    let plan = Plan { environment: &[("PHALANX_WATCH_AFTER", "100ms")], ..Plan::default() };
    let Some(ended) = run(&["busy", "5"], &plan) else { return };
    ended.ends_with(0).proves_nothing();
}

#[test]
fn hosts_whose_watches_do_not_talk_find_each_other_s_files() {
    let folder = Folder::new();
    // With the longer time a host writes its files more rarely than the other one looks twice.
    for after in ["700ms", "8s"] {
        let plan = Plan {
            environment: &[
                ("PHALANX_WATCH_AFTER", after),
                ("PHALANX_WATCH_TCP", "off"),
                ("PHALANX_WATCH_DIR", folder.0.to_str().expect("a path that is text")),
            ],
            ..Plan::default()
        };
        let Some(ended) = run(&["cycle"], &plan) else { return };
        ended
            .ends_with(DEADLOCK)
            .says_once("phalanx: deadlock (proved): ranks 0-3 of 4 wait for each other");
        let left: Vec<_> = fs::read_dir(&folder.0).expect("the folder").collect();
        assert!(left.is_empty(), "{left:?} of:\n{}", ended.text());
        println!("proved after {:?}", ended.took);
    }
}

#[test]
fn a_cable_that_is_out_for_a_while_is_no_deadlock() {
    let folder = Folder::new();
    let plan = Plan {
        meanwhile: "sleep 2; ip link set eth0 down; sleep 4; ip link set eth0 up",
        environment: &[
            ("PHALANX_WATCH_AFTER", "100ms"),
            ("PHALANX_WATCH_DIR", folder.0.to_str().expect("a path that is text")),
        ],
    };
    let Some(ended) = run(&["busy", "8"], &plan) else { return };
    // That nothing is proved means something only if it was noticed.
    ended.ends_with(0).proves_nothing().says("goes on after");
}

/// A folder that both hosts see, and that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: Mutex<u32> = Mutex::new(0);
        let mut number = NUMBER.lock().unwrap_or_else(PoisonError::into_inner);
        *number += 1;
        let name = format!("hosts-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a folder of this test");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

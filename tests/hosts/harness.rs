//! Two hosts: namespaces of this machine with a cable between them. A host has its own name, network,
//! processes and shared memory, and all of that goes with the first of its processes.
//!
//! Needs root, `ip`, util-linux and, but for `hosts_run`, Open MPI; where one of them is missing the tests say
//! so and pass.

// Each of the tests that include this uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use phalanx_launch::{Family, Launcher, Mpi};

pub const WATCHED: &str = env!("CARGO_BIN_EXE_watched");
/// Makes a bad cable.
pub const WIRE: &str = env!("CARGO_BIN_EXE_wire");

/// Makes the hosts and runs a command on the first.
pub const TWO_HOSTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hosts/two");
/// Runs a command on the second.
pub const SSH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hosts/ssh");

/// The exit code of a job that the watch ends.
pub const DEADLOCK: i32 = 86;

/// A job that has not ended after so many seconds is ended, with both hosts.
const LONGEST: &str = "60";

/// The namespaces in which the first host lives; what is started in them ends with `unshare`.
pub const NAMESPACES: [&str; 8] =
    ["--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Whether two hosts can be made, or what is missing here.
fn hosts() -> &'static Result<(), String> {
    static HOSTS: OnceLock<Result<(), String>> = OnceLock::new();
    HOSTS.get_or_init(|| {
        // SAFETY: a question to the operating system.
        if unsafe { libc::geteuid() } != 0 {
            return Err("root".to_owned());
        }
        for (tool, argument) in [("ip", "-V"), ("unshare", "-V"), ("nsenter", "-V")] {
            if Command::new(tool).arg(argument).output().is_err() {
                return Err(format!("the command `{tool}`"));
            }
        }
        // What a container may not be allowed to do.
        let cable = "mount -t tmpfs tmpfs /dev/shm && ip link add eth0 type veth peer name eth1";
        let tried = Command::new("unshare").args(NAMESPACES).args(["sh", "-c", cable]).output();
        let tried = tried.map_err(|error| error.to_string())?;
        if !tried.status.success() {
            let why = String::from_utf8_lossy(&tried.stderr).trim().replace('\n', "; ");
            return Err(format!("the right to make namespaces ({why})"));
        }
        Ok(())
    })
}

/// The launcher of Open MPI, or what is missing here.
pub fn launcher() -> &'static Result<Launcher, String> {
    static LAUNCHER: OnceLock<Result<Launcher, String>> = OnceLock::new();
    LAUNCHER.get_or_init(|| {
        hosts().clone()?;
        let mpi = Mpi::of_executable(WATCHED).map_err(|error| error.to_string())?;
        let launcher = Launcher::of(&mpi).map_err(|error| error.to_string())?;
        if mpi.family() != Family::OpenMpi || launcher.major() >= 5 {
            return Err(format!("Open MPI 4 (this is {} {})", mpi.family(), launcher.version()));
        }
        Ok(launcher)
    })
}

/// The family of the programs, where two hosts can be made.
pub fn family_or_skip() -> Option<Family> {
    hosts().as_ref().inspect_err(|missing| skipped(missing)).ok()?;
    Some(Mpi::of_executable(WATCHED).expect("a program that is linked to MPI").family())
}

fn skipped(missing: &str) {
    eprintln!("SKIPPED, two hosts cannot be made here: this needs {missing}");
}

pub fn launcher_or_skip() -> Option<&'static Launcher> {
    launcher().as_ref().inspect_err(|missing| skipped(missing)).ok()
}

/// One job at a time: its ranks share the cores already.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    pub fn text(&self) -> String {
        format!("exit code {:?} after {:?}\n{}\n{}", self.code, self.took, self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn says(&self, part: &str) -> &Self {
        assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.text());
        self
    }

    #[track_caller]
    pub fn ends_with(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.text());
        self
    }

    /// One report for both hosts, and no other word of ours.
    #[track_caller]
    pub fn says_once(&self, headline: &str) -> &Self {
        let said: Vec<_> =
            self.stderr.lines().filter(|line| line.starts_with("phalanx: ")).collect();
        assert_eq!(said.len(), 1, "{}", self.text());
        assert!(said[0].starts_with(headline), "{}", self.text());
        self
    }

    #[track_caller]
    pub fn proves_nothing(&self) -> &Self {
        assert!(!self.stderr.contains("(proved)"), "{}", self.text());
        self
    }
}

/// What the first host does meanwhile, and the environment of the ranks.
#[derive(Default)]
pub struct Plan<'a> {
    pub meanwhile: &'a str,
    pub environment: &'a [(&'a str, &'a str)],
    /// Loss and delay of the cable, as `wire` takes them; a good one without.
    pub wire: Option<&'a str>,
}

/// Runs `watched` with two ranks on each of two hosts, or says why it cannot.
#[track_caller]
pub fn run(arguments: &[&str], plan: &Plan<'_>) -> Option<Ended> {
    let launcher = launcher_or_skip()?;
    let _alone = alone();
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
    if let Some(wire) = plan.wire {
        command.env("WIRE", format!("{WIRE} {wire}"));
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

/// A folder that both hosts see, and that goes when the test does.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
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

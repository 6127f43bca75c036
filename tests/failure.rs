//! What happens to a job when a rank fails, and when a program starts in an unusual way. Each test
//! starts small programs (`programs/`) as jobs and looks at them from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use phalanx_launch::{Family, Job, Launcher, Mpi, Output};

const FAIL: &str = env!("CARGO_BIN_EXE_fail");
const START: &str = env!("CARGO_BIN_EXE_start");

/// How long other ranks may live after the one that failed.
const PROMISE: Duration = Duration::from_secs(2);

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    /// Nanoseconds of the clock at which no rank was left.
    gone: u128,
}

impl Ended {
    /// The reports of Phalanx on stderr, each with the lines that belong to it.
    fn reports(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("phalanx: rank ")).collect()
    }

    fn errors(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("error:")).collect()
    }

    /// How long it took from the failure until no rank was left.
    fn outlived(&self) -> Duration {
        let happened = self.stdout.lines().filter_map(|line| line.split("it happens at ").nth(1));
        let first = happened.filter_map(|text| text.trim().parse::<u128>().ok()).min();
        let first = first.unwrap_or_else(|| panic!("nothing happened:\n{}", self.text()));
        Duration::from_nanos(self.gone.saturating_sub(first) as u64)
    }

    fn text(&self) -> String {
        format!("exit code {:?}\n{}\n{}", self.code, self.stdout, self.stderr)
    }
}

fn now() -> u128 {
    UNIX_EPOCH.elapsed().expect("a clock after 1970").as_nanos()
}

fn is_rank(pid: u32, program: &str) -> bool {
    let name = program.rsplit('/').next().expect("a name");
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
}

/// Runs a job to its end, which is watched: a job that hangs fails the test.
#[track_caller]
fn run(job: Job, program: &str) -> Ended {
    let job = job.output(Output::Capture).share_cores(true).timeout(Duration::from_secs(30));
    let mut job = job.env("RUST_BACKTRACE", "0").start().expect("a launcher");
    let (mut seen, mut gone) = (false, now());
    for _ in 0..3000 {
        let ranks = job.process_ids().into_iter().filter(|&pid| is_rank(pid, program)).count();
        seen |= ranks > 0;
        if seen && ranks == 0 {
            gone = now();
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let in_time = job.wait();
    let finished = job.finish();
    let ended = Ended {
        code: finished.status.and_then(|status| status.code()),
        stdout: String::from_utf8_lossy(&finished.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&finished.stderr).into_owned(),
        gone,
    };
    assert!(in_time, "the job hangs:\n{}", ended.text());
    assert_eq!(finished.survivors, [], "{}", ended.text());
    ended
}

/// Runs `fail` on some ranks. The machine may be busy with something else for a moment, so a try
/// that takes long is repeated; a hang is one every time.
#[track_caller]
fn fail(mode: &str, ranks: usize) -> Ended {
    let mut slow = Vec::new();
    for _ in 0..3 {
        let ended = run(Job::new(FAIL).ranks(ranks).arg(mode), FAIL);
        let outlived = ended.outlived();
        if outlived < PROMISE {
            return ended;
        }
        slow.push(outlived);
    }
    panic!("{mode}: other ranks lived on for {slow:?}");
}

#[track_caller]
fn assert_one_report(ended: &Ended, parts: &[&str]) {
    let text = ended.text();
    assert_eq!(ended.reports().len(), 1, "{text}");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    assert!(ended.reports()[0].contains(&format!(" on {} ", host.trim())), "{text}");
    for part in parts {
        assert!(ended.stderr.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn a_rank_that_panics_ends_all_with_one_report() {
    for ranks in [2, 4] {
        let ended = fail("panic", ranks);
        assert_eq!(ended.code, Some(101), "{}", ended.text());
        let first_line = format!("phalanx: rank 1 of {ranks} on ");
        assert_one_report(
            &ended,
            &[&first_line, "panicked at ", "programs/fail.rs:", "the roof is on fire"],
        );
        assert_eq!(ended.stderr.matches("the roof is on fire").count(), 1, "{}", ended.text());
    }
}

#[test]
#[ignore = "builds everything again: cargo test --workspace --test failure -- --ignored"]
fn a_panic_that_aborts_has_the_report_of_its_rank() {
    let build = Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--bin", "fail", "--profile", "abort"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let target = Path::new(FAIL).ancestors().nth(2).expect("the target folder");
    let program = target.join("abort/fail");
    let program = program.to_str().expect("a path that is text");
    for mode in ["panic", "panic-on-all"] {
        let ended = run(Job::new(program).arg(mode).ranks(3), program);
        assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.text());
        assert_one_report(&ended, &["of 3 on ", "panicked at ", "the roof is on fire"]);
        assert!(ended.outlived() < PROMISE, "{}", ended.text());
    }
}

#[test]
fn when_all_ranks_fail_at_once_one_of_them_reports() {
    for (mode, code, message) in [
        ("panic-on-all", 101, "the roof is on fire"),
        ("error-on-all", 1, "the input makes no sense"),
        ("abort-on-all", 42, "the user said stop"),
    ] {
        let ended = fail(mode, 4);
        assert_eq!(ended.code, Some(code), "{}", ended.text());
        assert_one_report(&ended, &[message]);
        assert_eq!(ended.stderr.matches(message).count(), 1, "{}", ended.text());
    }
}

#[test]
fn a_rank_that_returns_an_error_ends_all_with_one_report() {
    let ended = fail("error", 3);
    assert_eq!(ended.code, Some(1), "{}", ended.text());
    assert_one_report(
        &ended,
        &["rank 1 of 3", "failed:", "the input makes no sense", "programs/fail.rs:"],
    );

    let ended = fail("phalanx-error", 3);
    assert_eq!(ended.code, Some(1), "{}", ended.text());
    assert_one_report(&ended, &["send to rank 8", "rank 1 of 3 in `world`", "programs/fail.rs:"]);
}

#[test]
fn abort_ends_all_ranks_with_the_code_and_the_message() {
    let ended = fail("abort", 3);
    assert_eq!(ended.code, Some(42), "{}", ended.text());
    assert_one_report(&ended, &["rank 1 of 3", "the user said stop"]);
}

#[test]
fn a_rank_that_is_killed_leaves_nobody_waiting() {
    let ended = fail("killed", 4);
    assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.text());
    assert_eq!(ended.reports().len(), 0, "the dead do not speak: {}", ended.text());
}

#[test]
fn a_rank_that_leaves_without_finalizing_ends_the_job_with_an_error() {
    for (mode, ranks, code, message) in [
        ("exit-3", 4, 3, "left with exit code 3"),
        ("exit-0", 4, 1, "left with exit code 0"),
        ("exit-0-on-all", 3, 1, "left with exit code 0"),
    ] {
        let ended = fail(mode, ranks);
        assert_eq!(ended.code, Some(code), "{}", ended.text());
        assert_one_report(&ended, &[message, "before MPI was finalized"]);
    }
}

#[test]
fn a_session_that_is_dropped_ends_all_ranks() {
    let ended = fail("session-dropped", 3);
    assert_eq!(ended.code, Some(1), "{}", ended.text());
    assert_one_report(&ended, &["rank 1 of 3", "the session was dropped before `finalize`"]);

    let ended = fail("session-panic", 3);
    assert_eq!(ended.code, Some(101), "{}", ended.text());
    assert_one_report(&ended, &["rank 1 of 3", "the roof is on fire", "programs/fail.rs:"]);
}

#[test]
fn a_thread_that_panics_ends_all_ranks_when_it_is_joined() {
    for mode in ["thread", "scope"] {
        let ended = fail(mode, 2);
        assert_eq!(ended.code, Some(101), "{}", ended.text());
        assert_one_report(&ended, &["rank 1 of 2", "the thread gives up", "programs/fail.rs:"]);
    }
}

#[test]
fn an_exit_code_is_that_of_the_job_and_a_panic_that_is_caught_is_no_failure() {
    let ended = run(Job::new(FAIL).ranks(2).arg("code"), FAIL);
    assert_eq!(ended.code, Some(7), "{}", ended.text());
    assert_eq!(ended.reports().len(), 0, "{}", ended.text());
    let ended = run(Job::new(FAIL).ranks(2).arg("caught"), FAIL);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    assert_eq!(ended.reports().len(), 0, "{}", ended.text());
}

#[test]
fn without_a_launcher_there_is_a_world_of_one_rank() {
    let output = Command::new(START).arg("hello").output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "rank 0 of 1\n");

    // A panic is reported there too.
    let output = Command::new(FAIL).arg("panic-on-all").output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{text}");
    assert!(
        text.contains("phalanx: rank 0 of 1 on ") && text.contains("the roof is on fire"),
        "{text}"
    );
}

#[test]
fn mpi_runs_once_in_a_process() {
    let ended = run(Job::new(START).ranks(2).arg("sessions"), START);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    assert_eq!(ended.stdout.lines().filter(|line| *line == "done").count(), 2);

    let ended = run(Job::new(START).ranks(1).arg("twice"), START);
    assert_eq!(ended.code, Some(1), "{}", ended.text());
    assert_eq!(ended.stdout, "rank 0 of 1\n");
    assert_eq!(ended.errors().len(), 1, "{}", ended.text());
    assert!(ended.stderr.contains("cannot be started twice"), "{}", ended.text());
}

#[test]
fn a_program_in_which_rsmpi_came_first_keeps_its_mpi() {
    for ranks in [1, 3] {
        let ended = run(Job::new(START).ranks(ranks).arg("guest"), START);
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        assert_eq!(ended.stdout.lines().filter(|line| *line == "done").count(), ranks);
    }
}

#[test]
fn a_wrong_value_for_the_way_of_waiting_is_one_message() {
    let job = Job::new(START).ranks(3).arg("hello").env("PHALANX_WAIT", "quickly");
    let ended = run(job, START);
    assert_eq!(ended.code, Some(1), "{}", ended.text());
    assert_eq!(ended.errors().len(), 1, "{}", ended.text());
    for part in ["PHALANX_WAIT=quickly", "auto", "library", "poll"] {
        assert!(ended.errors()[0].contains(part), "{}", ended.text());
    }
    assert_eq!(ended.stdout, "");
}

/// A launcher of the family that the programs are not linked to, if there is one here: on `PATH`, or
/// where `scripts/test` puts the ones that it fetches.
fn launcher_of_the_other_family() -> Option<Launcher> {
    let family = Mpi::of_executable(START).expect("an MPI program").family();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/mpi");
    let fetched = fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
    folders.extend(fetched.map(|entry| entry.path().join("bin")));
    let names = ["mpiexec", "mpiexec.openmpi", "mpiexec.mpich", "mpiexec.hydra", "mpirun"];
    let candidates = folders.iter().flat_map(|folder| names.map(|name| folder.join(name)));
    let is_mpich = |family| matches!(family, Family::Mpich | Family::IntelMpi);
    candidates
        .filter(|path| path.is_file())
        .filter_map(|path| Launcher::at(path).ok())
        .find(|launcher| is_mpich(launcher.family()) != is_mpich(family))
}

#[test]
fn a_launcher_of_another_mpi_is_refused_with_one_message() {
    let Some(other) = launcher_of_the_other_family() else {
        eprintln!("skipped: there is no launcher of another MPI here");
        return;
    };
    let job = Job::new(START).ranks(3).arg("hello").launcher(other.clone());
    let ended = run(job, START);
    assert_eq!(ended.code, Some(1), "{}", ended.text());
    assert_eq!(ended.stdout, "", "{}", ended.text());
    assert_eq!(ended.errors().len(), 1, "{}", ended.text());
    for part in ["started 3 processes", "rank 0 of 1", "this program is linked to"] {
        assert!(ended.errors()[0].contains(part), "{}", ended.text());
    }
    // Who wants it can have it, from an MPI that starts alone under any launcher.
    if other.family() == Family::Mpich {
        let job = Job::new(START).ranks(2).arg("hello").launcher(other);
        let ended = run(job.env("PHALANX_ALLOW_SINGLETON", "1"), START);
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        assert_eq!(ended.stdout, "rank 0 of 1\nrank 0 of 1\n");
    }
}

#[test]
fn ranks_that_wait_leave_the_cores_to_the_one_that_works() {
    let job = Job::new(START).ranks(4).arg("idle").env("PHALANX_WAIT", "poll");
    let ended = run(job, START);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    for way in ["barrier", "recv", "request", "probe"] {
        let used: Vec<u64> = ended
            .stdout
            .lines()
            .filter_map(|line| line.strip_prefix(way)?.trim().strip_suffix(" ms")?.parse().ok())
            .collect();
        assert_eq!(used.len(), 3, "{}", ended.text());
        // Of a second. Spinning would be 1000 for one and what two cores give for all.
        assert!(used.iter().all(|&used| used < 250), "{way}: {used:?} ms");
    }
}

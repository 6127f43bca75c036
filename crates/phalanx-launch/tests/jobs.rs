//! Real jobs, with the MPI that `MPICC` (or `mpicc`) belongs to. Without one they say so and pass.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use phalanx_launch::{CoreTokens, Family, Finished, Job, Launcher, Mpi, Output};

const HELLO: &str = r#"
#include <mpi.h>
#include <stdio.h>
int main(void) {
    int rank, size;
    MPI_Init(0, 0);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    printf("rank %d of %d\n", rank, size);
    MPI_Finalize();
    return 0;
}
"#;

/// A C program linked to MPI, made once.
fn hello() -> Option<&'static Path> {
    static HELLO_PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let program = HELLO_PROGRAM.get_or_init(|| {
        let compiler = env::var("MPICC").unwrap_or("mpicc".into());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(compiler.replace('/', "_"));
        fs::create_dir_all(&folder).unwrap();
        // Test processes that run at the same time each make it, and then put it in its place.
        let source = folder.join(format!("{}.c", std::process::id()));
        let (made, program) = (source.with_extension("made"), folder.join("hello"));
        fs::write(&source, HELLO).unwrap();
        let status = Command::new(compiler).arg(&source).arg("-o").arg(&made).status();
        fs::remove_file(source).unwrap();
        let done = status.is_ok_and(|status| status.success());
        done.then(|| fs::rename(made, &program).unwrap()).map(|()| program)
    });
    if program.is_none() {
        eprintln!("skipped: no working mpicc");
    }
    program.as_deref()
}

fn launcher() -> Option<Launcher> {
    Some(Launcher::of(&Mpi::of_executable(hello()?).unwrap()).unwrap())
}

fn shell(script: &str) -> Option<Job> {
    let job = Job::new("sh").launcher(launcher()?).args(["-c", script]);
    Some(job.output(Output::Capture).share_cores(true))
}

fn lines(finished: &Finished) -> Vec<String> {
    let mut lines: Vec<String> =
        String::from_utf8_lossy(&finished.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Processes whose command line contains `part`.
fn processes_with(part: &str) -> usize {
    let of_others = |entry: &fs::DirEntry| entry.file_name() != *std::process::id().to_string();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter(of_others)
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(part))
        .count()
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_program_is_started_by_the_launcher_of_its_own_mpi() {
    let Some(program) = hello() else { return };
    let finished =
        Job::new(program).ranks(4).output(Output::Capture).share_cores(true).run().unwrap();
    assert!(finished.success(), "{finished:?}");
    assert_eq!(
        lines(&finished),
        ["rank 0 of 4", "rank 1 of 4", "rank 2 of 4", "rank 3 of 4"],
        "{finished:?}"
    );
}

#[test]
fn variables_reach_every_rank_and_exit_codes_come_back() {
    let Some(job) = shell("echo got $PHALANX_X; exit 7") else {
        return;
    };
    let finished = job.ranks(2).env("PHALANX_X", "a b").run().unwrap();
    assert_eq!(finished.status.unwrap().code(), Some(7));
    assert!(lines(&finished).contains(&"got a b".to_owned()), "{finished:?}");
}

#[test]
fn a_job_inside_a_job_is_a_job_of_its_own() {
    let Some(program) = hello() else { return };
    let job = Job::new(env::current_exe().unwrap()).launcher(launcher().unwrap());
    let finished = job
        .args(HELPER_ARGUMENTS)
        .env("HELPER_PROGRAM", program)
        .output(Output::Capture)
        .share_cores(true)
        .run()
        .unwrap();
    assert!(finished.success(), "{finished:?}");
    let mut lines = lines(&finished);
    lines.retain(|line| line.starts_with("rank"));
    assert_eq!(lines, ["rank 0 of 2", "rank 1 of 2"]);
}

#[test]
fn a_time_out_ends_the_whole_tree_of_the_job_and_nothing_else() {
    // A child in a session of its own, one without environment, and one that ignores the request.
    let script = "setsid sleep 302.5 & env -i sleep 302.5 & trap '' TERM; sleep 302.5; sleep 302.5";
    let Some(job) = shell(script) else { return };
    let mut bystander = Command::new("sleep").arg("301.5").spawn().unwrap();
    let mut running = job.ranks(2).timeout(Duration::from_secs(2)).start().unwrap();
    wait_for("the ranks", || processes_with("302.5") >= 6);
    assert!(!running.wait());
    let finished = running.finish();
    assert!(finished.timed_out && !finished.success());
    assert!(finished.ended >= 7, "{finished:?}");
    assert!(finished.survivors.is_empty(), "{finished:?}");
    assert_eq!(processes_with("302.5"), 0);
    assert!(bystander.try_wait().unwrap().is_none());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn jobs_may_run_at_the_same_time_on_cores_that_are_held_for_them() {
    let Some(launcher) = launcher() else { return };
    let tokens = Arc::new(CoreTokens::acquire(phalanx_launch::cores()));
    let job = Job::new("sleep").launcher(launcher).arg("0.2").ranks(2).output(Output::Capture);
    let job = job.timeout(Duration::from_secs(60));
    let running: Vec<_> = (0..3)
        .map(|_| job.clone().share_held_cores(Arc::clone(&tokens)).start().unwrap())
        .collect();
    // No job waits for tokens of its own, which would be for ever; each has a part in these.
    assert_eq!(Arc::strong_count(&tokens), 1 + running.len());
    for mut job in running {
        assert!(job.wait());
        assert!(job.finish().success());
    }
    assert_eq!(Arc::strong_count(&tokens), 1);
}

#[test]
fn a_missing_temporary_folder_is_named() {
    let Some(job) = shell("echo started") else { return };
    let finished = job.env("TMPDIR", "/no/such/folder").run();
    match launcher().unwrap().family() {
        Family::OpenMpi => {
            let error = finished.unwrap_err().to_string();
            assert!(error.contains("TMPDIR is set to `/no/such/folder`"), "{error}");
        }
        // Its launcher needs none.
        _ => assert!(finished.unwrap().success()),
    }
}

#[test]
fn dropping_a_running_job_ends_it() {
    let Some(job) = shell("sleep 303.5") else {
        return;
    };
    let running = job.ranks(2).start().unwrap();
    wait_for("the ranks", || processes_with("303.5") >= 2);
    drop(running);
    assert_eq!(processes_with("303.5"), 0);
}

#[test]
fn ranks_orphaned_by_the_death_of_their_launcher_are_ended() {
    let Some(job) = shell("sleep 304.5") else {
        return;
    };
    let mut running = job.ranks(2).start().unwrap();
    wait_for("the ranks", || processes_with("304.5") >= 2);
    Command::new("kill").args(["-9", &running.launcher_id().to_string()]).status().unwrap();
    assert!(running.wait());
    assert!(!running.finish().success());
    assert_eq!(processes_with("304.5"), 0);
}

#[test]
fn a_job_does_not_outlive_the_process_that_started_it() {
    if hello().is_none() {
        return;
    }
    let mut parent = Command::new(env::current_exe().unwrap())
        .args(HELPER_ARGUMENTS)
        .env("HELPER_PROGRAM", "sleep")
        .env("HELPER_ARGUMENT", "305.5")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the ranks", || processes_with("305.5") >= 3);
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_for("the end of the ranks", || processes_with("305.5") == 0);
}

const HELPER_ARGUMENTS: [&str; 4] =
    ["--exact", "helper_that_starts_a_job_of_two_ranks", "--ignored", "--nocapture"];

#[test]
#[ignore = "started by other tests as a process of its own"]
fn helper_that_starts_a_job_of_two_ranks() {
    let Some(program) = env::var_os("HELPER_PROGRAM") else {
        return;
    };
    let mut job = Job::new(&program).ranks(2);
    if let Some(argument) = env::var_os("HELPER_ARGUMENT") {
        job = job.arg(argument).launcher(launcher().unwrap());
    }
    assert!(job.run().unwrap().success());
}

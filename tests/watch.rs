//! What the watch says of jobs that do not go on, and that it is silent about those that do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use phalanx::prelude::*;
use phalanx_launch::{Job, Output};

const WATCHED: &str = env!("CARGO_BIN_EXE_watched");

/// The exit code of a job that the watch ends.
const DEADLOCK: i32 = 86;

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    took: Duration,
}

impl Ended {
    /// The lines of the watch: a headline, and those below it.
    fn reports(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("phalanx: ")).collect()
    }

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

    #[track_caller]
    fn is_ended_by_the_watch(&self) -> &Self {
        // MPICH's launcher may tell the code of a rank that it has killed itself when the first one ended.
        assert!(matches!(self.code, Some(DEADLOCK | 9)), "{}", self.text());
        self
    }

    #[track_caller]
    fn is_silent(&self) -> &Self {
        assert_eq!(self.reports(), Vec::<&str>::new(), "{}", self.text());
        self
    }
}

fn job(mode: &str, ranks: usize) -> Job {
    Job::new(WATCHED).ranks(ranks).arg(mode).env("PHALANX_WATCH_AFTER", "700ms")
}

/// Runs a job to its end; `meanwhile` is called with its processes until it says that it is done.
#[track_caller]
fn run_and(job: Job, meanwhile: impl FnMut(&[u32]) -> bool) -> Ended {
    let start = Instant::now();
    let job = job.output(Output::Capture).share_cores(true).timeout(Duration::from_secs(200));
    let mut running = job.env("RUST_BACKTRACE", "0").start().expect("a launcher");
    let mut meanwhile = meanwhile;
    while start.elapsed() < Duration::from_secs(60) && !meanwhile(&running.process_ids()) {
        thread::sleep(Duration::from_millis(50));
    }
    let in_time = running.wait();
    let finished = running.finish();
    let ended = Ended {
        code: finished.status.and_then(|status| status.code()),
        stdout: String::from_utf8_lossy(&finished.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&finished.stderr).into_owned(),
        took: start.elapsed(),
    };
    assert!(in_time, "the job hangs:\n{}", ended.text());
    assert_eq!(finished.survivors, [], "{}", ended.text());
    ended
}

#[track_caller]
fn run(job: Job) -> Ended {
    run_and(job, |_| true)
}

#[test]
fn a_cycle_of_receives_is_explained_and_ended() {
    for ranks in [2, 3, 4] {
        let ended = run(job("cycle", ranks));
        let who = if ranks == 2 {
            "ranks 0 and 1 of 2".into()
        } else {
            format!("ranks 0-{} of {ranks}", ranks - 1)
        };
        ended
            .is_ended_by_the_watch()
            .says(&format!("phalanx: deadlock (proved): {who} wait for each other"))
            .says("receive cycle")
            .says("recv from rank 0, any tag, on `world`")
            .says("programs/watched.rs:");
        assert_eq!(ended.reports().len(), 1, "{}", ended.text());
    }
}

#[test]
fn ranks_that_wait_for_a_deadlock_are_told_apart_from_it() {
    run(job("cycle-of-two", 4))
        .is_ended_by_the_watch()
        .says("ranks 0 and 3 of 4 wait for each other")
        .says("also waiting for them:")
        .says("ranks 1 and 2  barrier on `world`");
}

#[test]
fn a_deadlock_that_only_warns_leaves_the_job_alone() {
    let job = job("cycle", 2).env("PHALANX_WATCH_ACTION", "warn").timeout(Duration::from_secs(4));
    let mut running = job.output(Output::Capture).share_cores(true).start().expect("a launcher");
    assert!(!running.wait(), "nothing should have ended the job but its time-out");
    let finished = running.finish();
    let stderr = String::from_utf8_lossy(&finished.stderr);
    assert_eq!(stderr.matches("phalanx: deadlock (proved)").count(), 1, "{stderr}");
}

#[test]
fn without_the_watch_nothing_is_said() {
    let job = job("cycle", 2).env("PHALANX_WATCH", "off").timeout(Duration::from_secs(3));
    let mut running = job.output(Output::Capture).share_cores(true).start().expect("a launcher");
    assert!(!running.wait(), "nothing should have ended the job but its time-out");
    assert!(!String::from_utf8_lossy(&running.finish().stderr).contains("phalanx: "));
}

#[test]
fn a_rank_that_computes_is_slow_and_no_deadlock() {
    let ended = run(job("slow", 3).arg("3"));
    ended.ends_with(0).says("waiting for a rank outside MPI: rank 0").says("it was slow");
    assert!(!ended.stderr.contains("deadlock (proved)"), "{}", ended.text());
    assert_eq!(
        ended.stderr.matches("waiting for a rank outside MPI").count(),
        1,
        "{}",
        ended.text()
    );
}

#[test]
fn a_rank_that_is_stopped_by_a_signal_is_slow_and_no_deadlock() {
    let start = Instant::now();
    let is_stopped = |pid: &&u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("(watched) T")
    };
    let mut stopped_at = None;
    let ended = run_and(job("stopped", 3), |processes| {
        let Some(&process) = processes.iter().find(is_stopped) else { return false };
        // Long enough for a warning, and for a wrong conclusion.
        let since = *stopped_at.get_or_insert_with(Instant::now);
        if since.elapsed() < Duration::from_secs(4) {
            return false;
        }
        // SAFETY: a signal to a process of this test.
        assert_eq!(unsafe { libc::kill(process as i32, libc::SIGCONT) }, 0);
        true
    });
    assert!(
        stopped_at.is_some(),
        "no rank was stopped in {:?}:\n{}",
        start.elapsed(),
        ended.text()
    );
    ended.ends_with(0).says("rank 1 is stopped by a signal");
    assert!(!ended.stderr.contains("deadlock (proved)"), "{}", ended.text());
}

#[test]
fn a_cycle_across_nodes_is_proved_and_printed_once() {
    for (ranks, nodes) in [(2, "2"), (3, "3"), (4, "2")] {
        let ended = run(job("cycle", ranks).env("PHALANX_NODES", nodes));
        ended.is_ended_by_the_watch().says("receive cycle");
        assert_eq!(ended.reports().len(), 1, "{}", ended.text());
    }
}

#[test]
fn nodes_that_cannot_reach_each_other_leave_files() {
    let folder = Folder::new("files");
    let ended = run(job("cycle", 3)
        .env("PHALANX_NODES", "3")
        .env("PHALANX_WATCH_TCP", "off")
        .env("PHALANX_WATCH_DIR", &folder.0));
    ended.is_ended_by_the_watch().says("receive cycle").says("ranks 0-2 of 3");
}

#[test]
fn nodes_that_know_nothing_of_each_other_conclude_nothing() {
    let job = job("cycle", 2)
        .env("PHALANX_NODES", "2")
        .env("PHALANX_WATCH_TCP", "off")
        .env("PHALANX_WATCH_DIR", "/nowhere/at/all")
        .timeout(Duration::from_secs(5));
    let mut running = job.output(Output::Capture).share_cores(true).start().expect("a launcher");
    assert!(!running.wait(), "nothing should have ended the job but its time-out");
    let finished = running.finish();
    let stderr = String::from_utf8_lossy(&finished.stderr);
    assert!(!stderr.contains("deadlock (proved)"), "{stderr}");
    assert!(stderr.contains("cannot be reached"), "{stderr}");
}

#[test]
fn messages_that_nobody_received_are_told_at_the_end() {
    let ended = run(job("lost", 3));
    ended.ends_with(0).says(
        "phalanx: rank 0: send to rank 1, tag 7, 12 bytes on `world` was never received \
         [tests/programs/watched.rs:",
    );
    assert_eq!(ended.reports().len(), 1, "{}", ended.text());
}

#[test]
fn strict_mode_tells_what_was_left_behind() {
    let ended = run(job("left-behind", 3).env("PHALANX_WATCH", "strict"));
    ended
        .ends_with(0)
        .says("the communicator `kept` was never freed [tests/programs/watched.rs:")
        .says("isend to rank 1, tag 0, on `world` was dropped without wait");
    run(job("left-behind", 3)).ends_with(0).is_silent();
}

#[test]
fn settings_that_make_no_sense_are_refused_once() {
    for (name, value) in
        [("PHALANX_WATCH", "maybe"), ("PHALANX_WATCH_AFTER", "soon"), ("PHALANX_WATCH_DELAY", "x")]
    {
        let ended = run(job("lost", 2).env(name, value));
        assert_ne!(ended.code, Some(0), "{}", ended.text());
        ended.says(&format!("invalid setting: {name}={value}: the values are "));
        assert_eq!(ended.stderr.matches("the values are").count(), 1, "{}", ended.text());
    }
}

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("phalanx-watch-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Many ranks on few cores, with traffic and pauses longer than the patience of the watch.
fn healthy_for(seconds: u64, ranks: usize, mode: &str) {
    let mut load: Vec<_> = (0..2)
        .map(|_| {
            let loops = format!("timeout {} sh -c 'while :; do :; done'", seconds + 20);
            Command::new("sh").args(["-c", &loops]).spawn().expect("a shell")
        })
        .collect();
    let job = Job::new(WATCHED)
        .ranks(ranks)
        .arg("busy")
        .arg(seconds.to_string())
        .env("PHALANX_WATCH", mode)
        .env("PHALANX_WATCH_AFTER", if mode == "strict" { "60s" } else { "50ms" })
        .env("PHALANX_WATCH_ACTION", "warn");
    let ended = run(job);
    for process in &mut load {
        let _ = process.kill();
        let _ = process.wait();
    }
    ended.ends_with(0);
    // With so little patience the watch may say that somebody is slow, and never more.
    assert!(!ended.stderr.contains("(proved)"), "{}", ended.text());
    println!("{}", ended.stdout);
}

#[test]
fn eight_busy_ranks_on_few_cores_are_no_deadlock() {
    healthy_for(8, 8, "on");
}

#[test]
fn eight_busy_ranks_are_no_deadlock_in_strict_mode() {
    healthy_for(8, 8, "strict");
}

#[test]
#[ignore = "two minutes of load: cargo test -p phalanx-tests --test watch -- --ignored"]
fn eight_busy_ranks_are_no_deadlock_for_two_minutes() {
    healthy_for(60, 8, "on");
    healthy_for(60, 8, "strict");
}

/// Each rank is told by its own watch: who goes on at once might receive what another still sends.
fn until_all_are_told() {
    thread::sleep(Duration::from_millis(500));
}

#[phalanx::test(ranks = [2, 3, 4], strict)]
fn strict_calls_return_deadlocks_as_errors_and_the_ranks_go_on(world: Comm) -> phalanx::Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let (left, right) = ((rank + size - 1) % size, (rank + 1) % size);
    let start = Instant::now();
    let error = world.recv::<usize>(left).expect_err("nobody sends");
    assert!(error.is_deadlock(), "{error}");
    assert!(error.to_string().contains("receive cycle"), "{error}");
    println!("rank {rank} was told after {:?}", start.elapsed());
    until_all_are_told();
    // The receives were taken back: the next messages arrive.
    let got = world.sendrecv(&rank, right, left)?;
    assert_eq!(got, left);
    let error = world.send(&[1, 2, 3], right).expect_err("nobody receives");
    assert!(error.is_deadlock() && error.to_string().contains("send cycle"), "{error}");
    until_all_are_told();
    // The messages that were given up may still arrive: they are on their way.
    let given_up: Vec<i32> = world.recv(left)?;
    assert_eq!(given_up, [1, 2, 3]);
    Ok(())
}

#[phalanx::test(ranks = [2, 3], strict)]
fn strict_collectives_that_differ_are_errors_on_every_rank(world: Comm) -> phalanx::Result<()> {
    let rank = world.rank();
    let mut number = [rank as i64];
    let error = world.bcast(&mut number, rank % 2).expect_err("the roots differ");
    assert!(error.is_mismatch() && error.to_string().contains("different root"), "{error}");
    assert_eq!(number, [rank as i64], "the call was not made");
    let error = if rank == 0 {
        world.allreduce(&1.5, Sum).map(drop)
    } else {
        world.allreduce(&1.5, Max).map(drop)
    };
    let error = error.expect_err("the operations differ");
    assert!(error.to_string().contains("different reduction"), "{error}");
    let error = if rank == 0 {
        world.allgather(&[1_i32; 2]).map(drop)
    } else {
        world.allgather(&[1_i32; 3]).map(drop)
    };
    assert!(error.expect_err("the lengths differ").to_string().contains("different count"));
    // Nothing was broken.
    assert_eq!(world.allreduce(&1, Sum)? as usize, world.size());
    Ok(())
}

#[phalanx::test(ranks = [2, 3], strict)]
fn strict_messages_of_another_type_are_errors_with_the_sender_s_line(
    world: Comm,
) -> phalanx::Result<()> {
    if world.rank() == 0 {
        world.send(&[1_i32, 2], 1)?;
        world.send(&[3_i32, 4], to(1).tag(1))?;
    }
    if world.rank() == 1 {
        let error = world.recv::<Vec<f32>>(0).expect_err("floats are no integers");
        assert!(error.is_type_mismatch(), "{error}");
        assert!(
            error.to_string().contains("i32") && error.to_string().contains("watch.rs:"),
            "{error}"
        );
        let receiving = world.irecv_into(vec![0_u32; 2], from(0).tag(1))?;
        let error = receiving.wait().expect_err("unsigned numbers are not signed");
        assert!(error.is_type_mismatch(), "{error}");
    }
    world.barrier()
}

#[phalanx::test(ranks = [2, 4], strict)]
fn strict_scopes_give_borrowed_buffers_back(world: Comm) -> phalanx::Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let (left, right) = ((rank + size - 1) % size, (rank + 1) % size);
    let mut buffer = [0_u8; 4];
    let error = world
        .scope(|s| {
            s.irecv_into(&mut buffer, from(left).tag(5))?;
            Ok(())
        })
        .expect_err("nobody sends with that tag");
    assert!(error.is_deadlock(), "{error}");
    until_all_are_told();
    let data = vec![rank as u8; 4];
    let error = world
        .scope(|s| {
            s.isend(&data, to(right).tag(6))?;
            Ok(())
        })
        .expect_err("nobody receives");
    assert!(error.is_deadlock(), "{error}");
    drop(data);
    until_all_are_told();
    assert_eq!(world.recv::<Vec<u8>>(from(left).tag(6))?, [left as u8; 4]);
    world.barrier()
}

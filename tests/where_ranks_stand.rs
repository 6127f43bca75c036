//! What a program says of its ranks when somebody ends it, when threads wait, and when it leaves something
//! behind.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use phalanx_launch::{Job, Output};

const STUCK: &str = env!("CARGO_BIN_EXE_stuck");

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    timed_out: bool,
}

impl Ended {
    fn text(&self) -> String {
        format!("exit code {:?}\n{}\n{}", self.code, self.stdout, self.stderr)
    }

    /// The headlines of all reports.
    fn reports(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("phalanx: ")).collect()
    }

    /// Looks for a part, blanks aside.
    #[track_caller]
    fn says(&self, part: &str) -> &Self {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&self.stderr).contains(&words(part)), "`{part}` is not in:\n{}", self.text());
        self
    }

    #[track_caller]
    fn says_nothing_of(&self, part: &str) -> &Self {
        assert!(!self.stderr.contains(part), "`{part}` is in:\n{}", self.text());
        self
    }

    #[track_caller]
    fn is_well(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{}", self.text());
        assert_eq!(self.reports(), Vec::<&str>::new(), "{}", self.text());
        self
    }
}

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("phalanx-stand-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    fn has_ready(&self, ranks: usize) -> bool {
        (0..ranks).all(|rank| self.0.join(format!("ready-{rank}")).exists())
    }

    fn write(&self, name: &str) {
        fs::write(self.0.join(name), "").expect("a folder that can be written to");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn job(mode: &str, ranks: usize) -> Job {
    Job::new(STUCK)
        .ranks(ranks)
        .arg(mode)
        .env("RUST_BACKTRACE", "0")
        .output(Output::Capture)
        .share_cores(true)
        .timeout(Duration::from_secs(150))
}

#[track_caller]
fn run(job: Job) -> Ended {
    ended(job.run().expect("a launcher"))
}

fn ended(finished: phalanx_launch::Finished) -> Ended {
    Ended {
        code: finished.status.and_then(|status| status.code()),
        stdout: String::from_utf8_lossy(&finished.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&finished.stderr).into_owned(),
        timed_out: finished.timed_out,
    }
}

/// Whom a signal is sent to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whom {
    Launcher,
    Ranks,
    FirstRank,
}

/// The processes of a job that run its program.
fn ranks_of(processes: &[u32]) -> Vec<u32> {
    let is_rank = |pid: &&u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "stuck"
    };
    processes.iter().filter(is_rank).copied().collect()
}

/// Starts a job, sends a signal when its ranks are ready, and waits for its end.
#[track_caller]
fn signalled(job: Job, ranks: usize, folder: &Folder, signal: i32, whom: Whom) -> Ended {
    let mut running = job.arg(&folder.0).start().expect("a launcher");
    let start = Instant::now();
    while !folder.has_ready(ranks) {
        assert!(start.elapsed() < Duration::from_secs(100), "the ranks are not ready");
        thread::sleep(Duration::from_millis(20));
    }
    // They have yet to come to where they are going to stand.
    thread::sleep(Duration::from_secs(2));
    let processes = ranks_of(&running.process_ids());
    assert_eq!(processes.len(), ranks, "{processes:?}");
    match whom {
        Whom::Launcher => running.signal(signal).expect("the launcher runs"),
        Whom::Ranks | Whom::FirstRank => {
            let number = if whom == Whom::Ranks { ranks } else { 1 };
            for &pid in &processes[..number] {
                // SAFETY: a signal to a process of this test.
                assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
            }
        }
    }
    assert!(running.wait(), "the job does not end");
    ended(running.finish())
}

/// The same for a job whose ranks are to say where they stand, which is so many texts. A launcher kills the
/// others a second after the signal, or when the first one has ended, and on a busy machine that may be too
/// early: then it is tried again.
#[track_caller]
fn stood(job: impl Fn() -> Job, ranks: usize, signal: i32, whom: Whom, texts: usize) -> Ended {
    const TRIES: usize = 5;
    let mut tries = 0;
    loop {
        let ended = signalled(job(), ranks, &Folder::new(), signal, whom);
        tries += 1;
        if ended.stderr.matches("phalanx: ended by").count() >= texts || tries == TRIES {
            return ended;
        }
    }
}

/// All ranks of a job that somebody ends, in one text.
#[track_caller]
fn says_where_all_stand(ended: &Ended, ranks: usize) {
    let reports: Vec<&str> =
        ended.reports().into_iter().filter(|it| it.contains("ended by")).collect();
    assert_eq!(reports.len(), 1, "{}", ended.text());
    assert_ne!(ended.code, Some(0), "{}", ended.text());
    let whose = if ranks == 1 { "the 1 rank was:" } else { &format!("the {ranks} ranks were:") };
    ended.says(&format!("where {whose}"));
    if ranks > 1 {
        ended.says(&format!("rank 0 recv from rank {}, tag 3, on `world`", ranks - 1));
    }
    if ranks > 2 {
        ended.says("barrier on `world`");
    }
    ended.says("in the program's own code since").says("stuck.rs:");
}

#[test]
fn a_launcher_that_is_told_to_end_makes_the_ranks_say_where_they_stand() {
    for (ranks, signal) in [(1, libc::SIGTERM), (2, libc::SIGINT), (4, libc::SIGTERM)] {
        says_where_all_stand(
            &stood(|| job("stand", ranks), ranks, signal, Whom::Launcher, 1),
            ranks,
        );
    }
}

#[test]
fn ranks_that_are_told_to_end_say_where_they_stand_in_one_text() {
    for ranks in [1, 2, 3, 4] {
        says_where_all_stand(
            &stood(|| job("stand", ranks), ranks, libc::SIGTERM, Whom::Ranks, 1),
            ranks,
        );
    }
}

#[test]
fn one_rank_that_is_told_to_end_says_where_those_stand_that_are_known_to() {
    let ended = stood(|| job("stand", 3), 3, libc::SIGTERM, Whom::FirstRank, 1);
    ended.says("phalanx: ended by SIGTERM; where the 3 ranks were:");
    assert_ne!(ended.code, Some(0), "{}", ended.text());
}

#[test]
fn each_node_says_where_its_own_ranks_stand() {
    let job = || job("stand", 4).env("PHALANX_NODES", "2");
    let ended = stood(job, 4, libc::SIGTERM, Whom::Ranks, 2);
    ended.says("where ranks 0 and 1 of 4 on ").says("where ranks 2 and 3 of 4 on ");
}

/// The launcher ends the others with a signal, and why has been said.
#[test]
fn a_rank_that_fails_leaves_the_others_nothing_to_say() {
    for ranks in [2, 3, 4] {
        let ended = run(job("fails", ranks));
        assert_eq!(ended.code, Some(1), "{}", ended.text());
        ended.says("phalanx: rank 0 of").says("invalid rank").says_nothing_of("ended by");
        let ended = run(job("fails", ranks).env("PHALANX_NODES", "2"));
        let failures = ended.reports().into_iter().filter(|it| it.contains("failed:")).count();
        assert_eq!(failures, 1, "{}", ended.text());
    }
}

#[test]
fn without_the_watch_a_signal_ends_the_ranks_without_a_word() {
    let folder = Folder::new();
    let job = job("stand", 2).env("PHALANX_WATCH", "off");
    let ended = signalled(job, 2, &folder, libc::SIGTERM, Whom::Ranks);
    assert_eq!(ended.reports(), Vec::<&str>::new(), "{}", ended.text());
    assert_ne!(ended.code, Some(0), "{}", ended.text());
}

#[test]
fn a_program_that_handles_the_signal_itself_is_left_alone() {
    for mode in ["handler", "handler-before", "signals"] {
        let folder = Folder::new();
        let ended = signalled(job(mode, 2), 2, &folder, libc::SIGTERM, Whom::Ranks);
        ended.is_well();
        assert_eq!(ended.stdout.matches("has handled it").count(), 2, "{mode}: {}", ended.text());
    }
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let folder = Folder::new();
    let running = job("ignored", 2).arg(&folder.0).start().expect("a launcher");
    let mut running = running;
    let start = Instant::now();
    while !folder.has_ready(2) {
        assert!(start.elapsed() < Duration::from_secs(100), "the ranks are not ready");
        thread::sleep(Duration::from_millis(20));
    }
    for pid in ranks_of(&running.process_ids()) {
        // SAFETY: a signal to a process of this test.
        assert_eq!(unsafe { libc::kill(pid as i32, libc::SIGTERM) }, 0);
    }
    thread::sleep(Duration::from_secs(1));
    folder.write("end");
    assert!(running.wait(), "the job does not end");
    ended(running.finish()).is_well();
}

#[test]
fn a_deadlock_is_told_after_three_seconds_and_a_warning_after_thirty() {
    let start = Instant::now();
    let ended = run(job("first-collective", 2));
    // Half a minute is when a warning would come. MPI may end the ranks itself.
    let took = start.elapsed();
    if ended.stderr.contains("(proved)") {
        assert!(took < Duration::from_secs(25), "{took:?}: {}", ended.text());
        ended.says("different collectives: collective call number 1 on `world`");
    }
}

#[test]
fn threads_that_wait_are_named_with_their_lines() {
    let cases = [
        ("threads-multiple", 1, "recv"),
        ("threads-multiple", 2, "recv,object"),
        ("threads-multiple", 3, "into,irecv,recv"),
        ("threads-serialized", 2, "recv"),
        ("threads-multiple", 2, "barrier"),
    ];
    for (mode, ranks, ways) in cases {
        let job = job(mode, ranks).arg(ways).env("PHALANX_WATCH_AFTER", "700ms");
        let ended = run(job.timeout(Duration::from_secs(12)));
        assert!(ended.timed_out, "{}", ended.text());
        ended.says("a deadlock is neither proved nor ruled out").says("several threads of");
        ended.says("tag").says("programs/stuck.rs:").says_nothing_of("(proved)");
        let warnings = ended.reports().into_iter().filter(|it| it.contains("waited for")).count();
        assert_eq!(warnings, 1, "{mode} {ways}: {}", ended.text());
    }
}

#[test]
fn a_dropped_send_that_is_received_later_is_no_leak() {
    for ranks in [2, 3] {
        run(job("dropped", ranks)).is_well();
    }
}

#[test]
fn a_hundred_equal_leaks_are_one_line_with_their_number() {
    for ranks in [1, 2, 3] {
        let ended = run(job("leaks", ranks).arg("60"));
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        ended.says("was dropped and never completed").says("(60 times)");
        assert_eq!(ended.reports().len(), ranks, "{}", ended.text());
    }
}

#[test]
fn the_last_call_of_a_rank_that_fails_is_one_of_its_own() {
    let ended = run(job("dropped-operation", 3));
    assert_ne!(ended.code, Some(0), "{}", ended.text());
    ended.says("not so many").says("last MPI call: allreduce at").says_nothing_of("src/raw/");
}

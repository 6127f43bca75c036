//! What a rank does to the memory that it shares with others harms none of them.

use std::time::Duration;

use phalanx_launch::{Job, Output};

const OVERWRITTEN: &str = env!("CARGO_BIN_EXE_overwritten");

/// Zero, small numbers, what a text looks like, addresses, and all bits.
const VALUES: [&str; 5] = ["0", "1", "4141414141414141", "414141414141", "ffffffffffffffff"];

/// Runs the program to its end: exit code, stdout, stderr.
#[track_caller]
fn run(ranks: usize, value: &str, end: &str, mode: &str) -> (Option<i32>, String, String) {
    let job = Job::new(OVERWRITTEN).ranks(ranks).args([value, end]);
    let job = job.env("PHALANX_WATCH", mode).env("PHALANX_WATCH_AFTER", "200ms");
    let job = job.env("RUST_BACKTRACE", "0").output(Output::Capture).share_cores(true);
    let mut running = job.timeout(Duration::from_secs(200)).start().expect("a launcher");
    let in_time = running.wait();
    let finished = running.finish();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&finished.stdout), text(&finished.stderr));
    assert!(in_time, "the job hangs: {value}\n{stdout}\n{stderr}");
    assert!(stdout.contains("written over: "), "{value}\n{stdout}\n{stderr}");
    (finished.status.and_then(|status| status.code()), stdout, stderr)
}

#[test]
fn ranks_go_on_whose_shared_memory_another_rank_has_written_over() {
    let modes = ["on", "strict", "on", "on", "strict"];
    for ((value, mode), ranks) in VALUES.into_iter().zip(modes).zip([2, 3, 3, 2, 3]) {
        let (code, stdout, stderr) = run(ranks, value, "success", mode);
        assert_eq!(code, Some(0), "{value}, {mode}\n{stdout}\n{stderr}");
        assert!(!stderr.contains("deadlock (proved)"), "{value}, {mode}\n{stderr}");
    }
}

#[test]
fn a_failure_is_reported_once_and_a_deadlock_is_proved_after_shared_memory_was_written_over() {
    for value in ["1", "4141414141414141"] {
        let (code, _, stderr) = run(3, value, "panic", "on");
        assert_eq!(code, Some(101), "{value}\n{stderr}");
        assert_eq!(stderr.matches("the first rank fails afterwards").count(), 1, "{stderr}");
    }
    let (code, _, stderr) = run(3, "4141414141414141", "deadlock", "on");
    // MPICH's launcher may tell the code of a rank that it has killed itself when the first one ended.
    assert!(matches!(code, Some(86 | 9)), "{stderr}");
    assert_eq!(stderr.matches("deadlock (proved)").count(), 1, "{stderr}");
}

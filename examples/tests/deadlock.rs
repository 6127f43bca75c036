//! Runs the mistakes of the example `deadlock`: each is explained, with the words that its reader can
//! look for, and none hangs.

use std::time::Duration;

use phalanx_launch::{Job, Output};

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(job: Job) -> Ended {
    let finished = job
        .output(Output::Capture)
        .share_cores(true)
        .timeout(Duration::from_secs(30))
        .run()
        .expect("the launcher of the MPI that the example is linked to");
    let ended = Ended {
        code: finished.status.and_then(|status| status.code()),
        stdout: String::from_utf8_lossy(&finished.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&finished.stderr).into_owned(),
    };
    assert!(!finished.timed_out, "it hangs:\n{}\n{}", ended.stdout, ended.stderr);
    ended
}

fn deadlock(ranks: usize, arguments: &[&str]) -> Job {
    Job::new(env!("CARGO_BIN_EXE_deadlock")).ranks(ranks).args(arguments)
}

fn lines_with<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

#[track_caller]
fn explains(ranks: usize, case: &str, phrase: &str) {
    let Ended { code, stdout, stderr } = run(deadlock(ranks, &[case]));
    let text = format!("{case} on {ranks} ranks: exit code {code:?}\n{stdout}\n{stderr}");
    assert!(code.is_some_and(|code| code != 0), "{text}");
    assert!(stderr.contains(phrase), "`{phrase}` is not said of {text}");
    assert!(!lines_with(&stderr, "phalanx: ").is_empty(), "{text}");
}

/// Number of ranks, case, and the words that explain it.
const CASES: [(usize, &str, &str); 23] = [
    (2, "receive-cycle", "receive cycle"),
    (2, "send-cycle", "send cycle"),
    (2, "small-send-cycle", "send cycle"),
    (3, "any-source-knot", "any-source knot"),
    (2, "wait-cycle", "wait cycle"),
    (2, "waiting-for-itself", "waiting for itself"),
    (2, "peer-gone", "peer gone"),
    (2, "tag-near-miss", "tag near miss"),
    (2, "wrong-communicator", "wrong communicator"),
    (3, "missing-in-a-collective", "missing in a collective"),
    (3, "rank-outside-mpi", "waiting for a rank outside MPI"),
    (2, "polling", "polling without progress"),
    (2, "message-truncated", "message truncated"),
    (2, "never-completed", "never completed"),
    (2, "different-collectives", "different collectives"),
    (3, "different-root", "different root"),
    (2, "different-reduction", "different reduction"),
    (2, "different-count", "different count"),
    (2, "different-type", "different type"),
    (2, "type-mismatch", "type mismatch"),
    (2, "dropped-without-wait", "dropped without wait"),
    (2, "never-received", "never received"),
    (2, "never-freed", "never freed"),
];

/// Those that wait, and those that would run through without strict mode.
const WAITING: usize = 14;

#[test]
fn what_waits_for_ever_is_explained() {
    for (ranks, case, phrase) in &CASES[..WAITING] {
        explains(*ranks, case, phrase);
    }
}

#[test]
fn what_would_run_through_is_explained() {
    for (ranks, case, phrase) in &CASES[WAITING..] {
        explains(*ranks, case, phrase);
    }
}

#[test]
fn more_ranks_do_no_harm() {
    for (case, phrase) in [
        ("receive-cycle", "receive cycle"),
        ("tag-near-miss", "tag near miss"),
        ("different-root", "different root"),
    ] {
        explains(4, case, phrase);
    }
}

#[test]
fn the_list_names_them_all_once() {
    let Ended { code, stdout, stderr } = run(deadlock(3, &["--list"]));
    assert_eq!(code, Some(0), "{stderr}");
    let names: Vec<&str> =
        stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, CASES.map(|(_, case, _)| case));
}

#[test]
fn a_wrong_name_and_no_name_are_one_message_and_exit_code_2() {
    let Ended { code, stdout, stderr } = run(deadlock(3, &["nonsense"]));
    assert_eq!(code, Some(2), "{stderr}");
    assert_eq!(lines_with(&stderr, "error:").len(), 1, "{stderr}");
    assert!(stderr.contains("nonsense") && stderr.contains("--list"), "{stderr}");
    assert_eq!(stdout, "");

    let Ended { code, stdout, stderr } = run(deadlock(3, &[]));
    assert_eq!(code, Some(2), "{stderr}");
    assert_eq!(lines_with(&stderr, "Usage:").len(), 1, "{stderr}");
    assert!(stderr.contains("--list") && stderr.contains("receive-cycle"), "{stderr}");
    assert_eq!(stdout, "");
}

#[test]
fn too_few_ranks_are_told_how_to_start_it() {
    for (ranks, case) in [(1, "receive-cycle"), (1, "never-freed"), (2, "missing-in-a-collective")]
    {
        let Ended { code, stderr, .. } = run(deadlock(ranks, &[case]));
        assert_eq!(code, Some(2), "{case}: {stderr}");
        let errors = lines_with(&stderr, "error:");
        assert_eq!(errors.len(), 1, "{case}: {stderr}");
        assert!(errors[0].contains("mpirun -n "), "{case}: {stderr}");
        assert!(errors[0].ends_with(&format!("deadlock {case}")), "{case}: {stderr}");
    }
}

#[test]
fn what_the_user_has_set_stays() {
    let job = deadlock(2, &["type-mismatch"]).env("PHALANX_WATCH", "off");
    let Ended { code, stdout, stderr } = run(job);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stdout.contains("received [4607182418800017408, "), "{stdout}\n{stderr}");
    assert!(lines_with(&stderr, "phalanx: ").is_empty(), "{stderr}");
}

//! The watch finds mistakes and leaves correct programs alone: a representative part of
//! `watch_score`, and all of it behind `--ignored`.

use std::process::Command;

const SCORE: &str = env!("CARGO_BIN_EXE_watch_score");

/// One or more for each kind of explanation.
const PART: [&str; 32] = [
    "receive-cycle",
    "receive-cycle-of-3",
    "receive-cycle-irecv-into",
    "send-cycle",
    "sendrecv-against-each-other",
    "barrier-before-allreduce",
    "root-of-gather",
    "root-of-reduce-object",
    "reduction-of-allreduce",
    "type-of-allgather",
    "count-of-bcast",
    "type-in-recv",
    "too-long-for-recv-into",
    "other-tag",
    "other-communicator",
    "other-communicator-with-other-ranks",
    "barrier-on-other-communicator",
    "freed-instead-of-sent",
    "igather-that-not-all-begin",
    "any-takes-what-is-needed-next",
    "negative-tag",
    "isend-not-waited-for",
    "irecv-into-that-nothing-matches",
    "dup-not-freed",
    "bsend-without-receive",
    "allreduce-left-out",
    "small-send-cycle",
    "any-source-knot-of-3",
    "sender-gone",
    "polling-test",
    "receive-from-itself",
    "sender-is-busy",
];

/// Runs the score; its exit code says whether the goals are reached.
fn score(arguments: &[&str]) {
    let output = Command::new(SCORE).args(arguments).output().expect("watch_score starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    // The reader of a log wants the figures of a test that passed, too.
    println!("{text}");
}

#[test]
fn a_part_of_the_faulty_programs_is_found_and_their_twins_are_not() {
    let arguments: Vec<&str> = PART.iter().flat_map(|&name| ["--case", name]).collect();
    score(&arguments);
}

#[test]
#[ignore = "takes 10 minutes: cargo test -p phalanx-tests --test watch_score -- --ignored"]
fn all_of_the_faulty_programs() {
    score(&[]);
}

#[test]
fn a_case_that_does_not_exist_is_a_mistake() {
    let output = Command::new(SCORE).args(["--case", "nonsense"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no case `nonsense`"));
    let output = Command::new(SCORE).args(["--class", "nonsense"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("receive") || output.stdout.is_empty()
    );
}

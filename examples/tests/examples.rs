//! Runs the examples as people do: with the launcher, on several numbers of ranks. Each example
//! checks its own result, so that its exit code is the verdict.

use std::time::Duration;

use phalanx_launch::{Finished, Job, Output};

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(program: &str, ranks: usize, arguments: &[&str]) -> Ended {
    let Finished { status, timed_out, stdout, stderr, .. } = Job::new(program)
        .ranks(ranks)
        .args(arguments)
        .output(Output::Capture)
        .share_cores(true)
        .timeout(Duration::from_secs(60))
        .run()
        .expect("the launcher of the MPI that the example is linked to");
    let ended = Ended {
        code: status.and_then(|status| status.code()),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    };
    assert!(!timed_out, "{program} on {ranks} ranks hangs: {} {}", ended.stdout, ended.stderr);
    ended
}

fn works_on(ranks: impl IntoIterator<Item = usize>, program: &str) {
    for ranks in ranks {
        let Ended { code, stdout, stderr } = run(program, ranks, &[]);
        assert_eq!(code, Some(0), "{program} on {ranks} ranks:\n{stdout}\n{stderr}");
        assert!(!stdout.is_empty(), "{program} on {ranks} ranks says nothing");
    }
}

fn lines_with<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

macro_rules! examples {
    ($($name:ident on $ranks:expr;)*) => {
        $(
            #[test]
            fn $name() {
                works_on($ranks, env!(concat!("CARGO_BIN_EXE_", stringify!($name))));
            }
        )*
    };
}

examples! {
    alltoall on 1..=4;
    avoid_deadlock on 1..=4;
    broadcast on 1..=4;
    gather on 1..=4;
    hello on 1..=4;
    objects on 2..=4;
    pi on 1..=4;
    point_to_point on 2..=4;
    pool_ranks on 1..=4;
    reduce on 1..=4;
    ring on 1..=4;
    sample_sort on 1..=4;
    scatter on 1..=4;
}

#[test]
fn an_argument_that_is_not_taken_is_told_once() {
    for program in [env!("CARGO_BIN_EXE_hello"), env!("CARGO_BIN_EXE_point_to_point")] {
        let Ended { code, stdout, stderr } = run(program, 2, &["--verbose"]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        let told = "takes no arguments, and was given `--verbose`";
        assert_eq!(stderr.matches(told).count(), 1, "{stderr}");
        let Ended { code, stdout, stderr } = run(program, 2, &["--help"]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
        assert_eq!(stdout.matches("Usage: mpirun -n 4 ").count(), 1, "{stdout}");
    }
}

#[test]
fn an_example_that_needs_two_ranks_says_so_once() {
    for program in [env!("CARGO_BIN_EXE_objects"), env!("CARGO_BIN_EXE_point_to_point")] {
        let Ended { code, stderr, .. } = run(program, 1, &[]);
        assert_eq!(code, Some(2), "{stderr}");
        assert_eq!(lines_with(&stderr, "error:").len(), 1, "{stderr}");
    }
}

#[test]
fn sample_sort_sorts_even_fewer_numbers_than_samples() {
    for numbers in ["0", "1", "20"] {
        let program = env!("CARGO_BIN_EXE_sample_sort");
        let Ended { code, stdout, stderr } = run(program, 3, &["--numbers", numbers]);
        assert_eq!(code, Some(0), "{numbers} numbers:\n{stdout}\n{stderr}");
    }
}

#[test]
fn the_hang_is_shown_and_ended() {
    let program = env!("CARGO_BIN_EXE_avoid_deadlock");
    let Ended { code, stdout, stderr } = run(program, 2, &["--hang", "--seconds", "1"]);
    assert_eq!(code, Some(1), "{stdout}\n{stderr}");
    assert!(stdout.contains("still waits"), "{stdout}");
}

#[test]
fn pi_has_the_same_bits_on_any_number_of_ranks() {
    let arguments = ["--steps", "20_000_000", "--json"];
    let on = |ranks| {
        let Ended { code, stdout, stderr } = run(env!("CARGO_BIN_EXE_pi"), ranks, &arguments);
        assert_eq!(code, Some(0), "{stdout}\n{stderr}");
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        let report: serde_json::Value = serde_json::from_str(&stdout).expect("a JSON object");
        assert_eq!(report["ranks"], ranks);
        assert_eq!(report["steps"], 20_000_000);
        assert!(report["error"].as_f64().is_some_and(|error| error <= 1e-15), "{stdout}");
        report["pi"].as_f64().expect("a number").to_bits()
    };
    let alone = on(1);
    for ranks in [2, 3, 4, 7] {
        assert_eq!(on(ranks), alone, "another π on {ranks} ranks");
    }
}

const HEAT: &str = env!("CARGO_BIN_EXE_heat");

/// A place of its own for a file that a test writes.
fn place(name: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&folder);
    folder.to_str().expect("a path in UTF-8").to_owned()
}

#[test]
fn heat_has_the_bits_of_the_serial_result_on_any_number_of_ranks() {
    let on = |ranks, size: &str| {
        let arguments = ["--size", size, "--steps", "60", "--json"];
        let Ended { code, stdout, stderr } = run(HEAT, ranks, &arguments);
        assert_eq!(code, Some(0), "{stdout}\n{stderr}");
        assert_eq!(stderr, "", "progress where there is no terminal");
        let report: serde_json::Value = serde_json::from_str(&stdout).expect("a JSON object");
        assert_eq!((&report["identical"], &report["ranks"]), (&true.into(), &ranks.into()));
        report["mean"].as_f64().expect("a number").to_bits()
    };
    for size in ["7", "61"] {
        let alone = on(1, size);
        for ranks in [2, 3, 4, 6] {
            assert_eq!(on(ranks, size), alone, "another mean on {ranks} ranks");
        }
    }
}

#[test]
fn heat_says_that_it_has_compared_nothing() {
    let Ended { code, stdout, stderr } =
        run(HEAT, 2, &["--size", "20", "--steps", "0", "--no-check"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("not compared"), "{stdout}");
}

#[test]
fn heat_draws_a_picture() {
    let path = place("heat.png");
    let arguments = ["--size", "30", "--steps", "9", "--quiet", "--output", &path];
    let Ended { code, stdout, stderr } = run(HEAT, 4, &arguments);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    let picture = std::fs::read(path).expect("a picture");
    assert_eq!(picture[..8], *b"\x89PNG\r\n\x1a\n");
    assert_eq!(picture[picture.len() - 8..picture.len() - 4], *b"IEND");
}

#[test]
fn a_picture_that_cannot_be_written_is_one_error_and_exit_code_1() {
    for path in ["/nowhere/heat.png", "/dev/full", &place("folder/heat.png")] {
        let arguments = ["--size", "30", "--steps", "9", "--output", path];
        let Ended { code, stderr, .. } = run(HEAT, 3, &arguments);
        assert_eq!(code, Some(1), "{path}: {stderr}");
        let errors = lines_with(&stderr, "error:");
        assert_eq!(errors.len(), 1, "{stderr}");
        assert!(errors[0].starts_with(&format!("error: cannot write {path}: ")), "{stderr}");
    }
}

#[test]
fn a_plate_that_is_too_small_for_the_ranks_is_one_error_and_exit_code_2() {
    let Ended { code, stderr, .. } = run(HEAT, 6, &["--size", "2"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert_eq!(lines_with(&stderr, "error:").len(), 1, "{stderr}");
}

#[test]
fn bad_arguments_are_one_message_and_exit_code_2() {
    let wrong = [
        &["--steps", "0"][..],
        &["--steps", "-3"],
        &["--steps", "2.5"],
        &["--steps", "many"],
        &["--steps", "1e13"],
        &["--steps"],
        &["--stepz"],
    ];
    for arguments in wrong {
        let Ended { code, stdout, stderr } = run(env!("CARGO_BIN_EXE_pi"), 3, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert_eq!(lines_with(&stderr, "error:").len(), 1, "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_printed_once() {
    let Ended { code, stdout, stderr } = run(env!("CARGO_BIN_EXE_pi"), 3, &["--help"]);
    assert_eq!((code, lines_with(&stdout, "Usage:").len()), (Some(0), 1), "{stdout}\n{stderr}");
    assert!(!stdout.contains('\u{1b}'), "colours where there is no terminal");
    let Ended { code, stdout, .. } = run(env!("CARGO_BIN_EXE_pi"), 3, &["--version"]);
    assert_eq!((code, lines_with(&stdout, "pi ").len()), (Some(0), 1), "{stdout}");
}

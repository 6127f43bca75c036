//! The comparison runs, with so little work that its figures mean nothing.

use std::process::Command;

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bench-process"))
        .args(["--blocks", "1", "--scale", "0.0005"])
        .args(arguments)
        .output()
        .expect("the benchmark");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

fn has_python() -> bool {
    let python = if std::path::Path::new("/usr/bin/python3").exists() {
        "/usr/bin/python3"
    } else {
        "python3"
    };
    Command::new(python).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn each_row_runs_on_our_side() {
    let (code, text) = run(&["--no-python"]);
    assert_eq!(code, Some(0), "{text}");
    for row in ["queue 1 to 1", "queue of bytes, 1 MiB", "condition, ping-pong", "start and join"] {
        assert!(text.contains(row), "{row} in {text}");
    }
}

#[test]
fn each_row_runs_beside_python() {
    if !has_python() {
        eprintln!("not tested: there is no Python here");
        return;
    }
    let (code, text) = run(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("CPython"), "{text}");
    assert!(text.trim_end().ends_with("goals met"), "{text}");
}

#[test]
fn a_python_that_is_not_there_is_an_error() {
    let (code, text) = run(&["--python", "/nowhere/python3"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("error: /nowhere/python3"), "{text}");
}

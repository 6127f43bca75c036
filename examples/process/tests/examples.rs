//! Runs the examples as people do. Each example checks its own result, so that its exit code is the verdict.

use std::fs;
use std::path::Path;
use std::process::Command;

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(program: &str, arguments: &[&str]) -> Ended {
    let output = Command::new(program).args(arguments).output().expect("an example");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

macro_rules! examples {
    ($($name:ident $arguments:expr, says $text:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let program = env!(concat!("CARGO_BIN_EXE_", stringify!($name)));
                let arguments: &[&str] = &$arguments;
                let Ended { code, stdout, stderr } = run(program, arguments);
                assert_eq!(code, Some(0), "{stdout}\n{stderr}");
                assert!(stdout.contains($text), "{stdout}\n{stderr}");
                assert_eq!(stderr, "");
            }
        )*

        const PROGRAMS: &[(&str, &str)] =
            &[$((stringify!($name), env!(concat!("CARGO_BIN_EXE_", stringify!($name))))),*];
    };
}

examples! {
    account ["--runs", "50"], says "with the lock: 1 different balances\n    100     50 times";
    background ["--work", "200"], says "0 more came later";
    barrier [], says "phase 3 is over";
    event [], says "the event came: false";
    fetch ["--pages", "12", "--delay", "10"], says "12 workers";
    hello_lock [], says "hello world from process 3\n";
    kill [], says "terminated -15, killed -9, exited 3, returned 0";
    named ["--name", "painter"], says "painter is running; ps shows painter";
    no_sharing [], says "in the parent:     []";
    philosophers ["--meals", "10"], says "try again           50 meals";
    pi_process ["--steps", "100_000", "--processes", "3"], says "pi = 3.14159265";
    producer_consumer [], says "30 items produced";
    queue_of_squares [], says "1\n4\n9\n16\n25\nthe queue is empty: true\n";
    records ["--name", "Linus"], says "Grace        11\nAlan          9\nLinus        40\n";
    shared_array [], says "array: [1, 4, 9, 16]\nsum:   30\n";
    spawn [], says "5 processes have ended";
    squares [], says "by index: [1, 4, 9, 16, 25]";
    sum_many ["--processes", "3", "--numbers", "1000"], says "3 processes, 1000 numbers each";
    sum_two ["--numbers", "1000"], says " + ";
    work_queue ["--tasks", "30"], says "30 tasks in ";
}

#[test]
fn wrong_arguments_are_one_message_and_exit_code_2() {
    for (name, program) in PROGRAMS {
        for arguments in [&["--nonsense"][..], &["stray"]] {
            let Ended { code, stdout, stderr } = run(program, arguments);
            assert_eq!((code, stdout.as_str()), (Some(2), ""), "{name}: {stderr}");
            assert_eq!(stderr.matches("error:").count(), 1, "{name}: {stderr}");
        }
        let Ended { code, stdout, .. } = run(program, &["--help"]);
        assert_eq!(code, Some(0), "{name}");
        assert!(stdout.contains("Usage:"), "{name}: {stdout}");
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    let programs = [
        (env!("CARGO_BIN_EXE_squares"), "--numbers"),
        (env!("CARGO_BIN_EXE_pi_process"), "--steps"),
        (env!("CARGO_BIN_EXE_philosophers"), "--philosophers"),
    ];
    for (program, argument) in programs {
        for value in ["0", "many", "1.5"] {
            let Ended { code, stderr, .. } = run(program, &[argument, value]);
            assert_eq!(code, Some(2), "{program} {argument} {value}: {stderr}");
        }
    }
}

#[test]
fn every_program_is_tested_and_has_a_chapter_in_the_book() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let book = package.join("../../docs/book/src");
    let summary = fs::read_to_string(book.join("SUMMARY.md")).expect("the book's list of chapters");
    let mut chapters = String::new();
    for link in summary.split("](").skip(1) {
        let file = link.split(')').next().expect("a link ends");
        let path = book.join(file);
        let chapter = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        for included in chapter.split("{{#include ").skip(1) {
            let included = included.split("}}").next().expect("an include ends");
            let source = path.parent().expect("a folder").join(included);
            assert!(source.is_file(), "{file} includes {included}, which does not exist");
        }
        chapters += &chapter;
    }
    let mut programs = 0;
    for entry in fs::read_dir(package.join("src/bin")).expect("the programs") {
        let file = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
        let name = file.trim_end_matches(".rs");
        assert!(PROGRAMS.iter().any(|(tested, _)| *tested == name), "{name} is not tested");
        let include = format!("examples/process/src/bin/{name}.rs}}}}");
        assert!(chapters.contains(&include), "{name} has no chapter");
        programs += 1;
    }
    assert_eq!(programs, PROGRAMS.len());
}

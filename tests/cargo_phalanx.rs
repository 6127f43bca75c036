//! `cargo phalanx`, as it is typed: with real programs, launchers, shells and projects.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use phalanx_launch::{Family, Mpi};
use phalanx_tests::transcript::Transcript;

const FAIL: &str = env!("CARGO_BIN_EXE_fail");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project").to_owned()
}

/// A program that lies beside those of the tests.
fn built(name: &str) -> String {
    let path = Path::new(FAIL).with_file_name(name);
    assert!(path.exists(), "{} is not built: cargo build --bins", path.display());
    path.to_str().expect("a path in UTF-8").to_owned()
}

fn phalanx(arguments: &[&str]) -> Command {
    let mut command = Command::new(built("cargo-phalanx"));
    // As cargo calls it.
    command.arg("phalanx").args(arguments).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    fn text(&self) -> String {
        format!("exit code {:?}\n{}\n{}", self.code, self.stdout, self.stderr)
    }

    #[track_caller]
    fn leaves_with(&self, code: i32) -> &Said {
        assert_eq!(self.code, Some(code), "{}", self.text());
        self
    }

    #[track_caller]
    fn prints(&self, part: &str) -> &Said {
        assert!(self.stdout.contains(part), "no `{part}` in:\n{}", self.text());
        self
    }

    #[track_caller]
    fn tells(&self, part: &str) -> &Said {
        assert!(self.stderr.contains(part), "no `{part}` in:\n{}", self.text());
        self
    }
}

#[track_caller]
fn said(command: &mut Command) -> Said {
    command.output().expect("cargo-phalanx runs").into()
}

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        // Outside of this workspace.
        let path = env::temp_dir().join(format!("cargo-phalanx-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder of this test");
        Folder(path)
    }

    fn program(&self, name: &str, script: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.0.join(name);
        fs::write(&path, script).expect("a file of this test");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How many processes run the program.
fn running(program: &str, argument: &str) -> usize {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .filter(|line| {
            let mut words = line.split(|byte| *byte == 0);
            words.next() == Some(program.as_bytes())
                && words.any(|word| word == argument.as_bytes())
        })
        .count()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_program_runs_on_so_many_ranks_and_what_is_set_is_said() {
    let pi = built("pi");
    for ranks in ["1", "2", "3", "5"] {
        let run = ["run", "-n", ranks, "--program", &pi, "--", "--steps", "100000"];
        let ended = said(&mut phalanx(&run));
        ended.leaves_with(0).prints("pi = 3.14159").prints(&format!("on {ranks} rank"));
        ended.tells("phalanx: launcher /").tells(&format!("{ranks} rank"));
    }
    let quiet = said(&mut phalanx(&["run", "-q", "-n", "2", "--program", &pi]));
    quiet.leaves_with(0);
    assert_eq!(quiet.stderr, "", "nothing is said with -q");
}

#[test]
fn a_project_s_program_is_built_and_run() {
    // What is built already is found without building, by the same cargo and flags.
    let mut command = phalanx(&["run", "-n", "2", "--bin", "pi", "--", "--steps", "1000"]);
    let ended = said(command.current_dir(root()));
    ended.leaves_with(0).prints("pi = 3.14159").prints("on 2 ranks");
}

#[test]
fn the_exit_code_is_that_of_the_first_rank_that_fails() {
    for (mode, code) in [("exit-3", 3), ("abort", 42), ("killed", 137), ("code-on-all", 7)] {
        let run = ["run", "-q", "-n", "3", "--program", FAIL, "--", mode];
        said(&mut phalanx(&run)).leaves_with(code);
    }
    let ended = said(&mut phalanx(&["run", "-q", "-n", "4", "--program", FAIL, "--", "panic"]));
    assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.text());
    ended.tells("the roof is on fire");
}

/// Parts of what launchers say about the end of a job.
const BANNERS: [&str; 7] = [
    "MPI_ABORT was invoked",
    "Primary job",
    "non-zero status",
    "ORTE_ERROR_LOG",
    "application called MPI_Abort",
    "BAD TERMINATION",
    "EXIT STRING",
];

#[test]
fn a_rank_s_report_is_the_last_word() {
    for more in [&[][..], &["--tag-output"]] {
        let run = |first: &[&str], mode: &str| {
            let run = [&["run", "-q", "-n", "3"], first, more, &["--program", FAIL, "--", mode]];
            said(&mut phalanx(&run.concat()))
        };
        for (mode, words) in [
            ("panic", "the roof is on fire"),
            ("error", "the input makes no sense"),
            ("abort", "the user said stop"),
            ("exit-3", "left with exit code 3"),
        ] {
            let ended = run(&[], mode);
            ended.tells(words);
            let (all, last) = (ended.text(), ended.stderr.lines().last().unwrap_or_default());
            let banner = BANNERS.iter().find(|it| all.contains(**it));
            assert_eq!(banner, None, "{all}");
            assert!(last.contains("phalanx: ending all 3 ranks"), "{all}");
        }
        // Nobody else says how it ended.
        let killed = run(&[], "killed");
        killed.leaves_with(137);
        assert!(killed.text().contains("ignal 9"), "{}", killed.text());
        // Launchers themselves sometimes fail to print their text.
        let has_banner = |all: &str| BANNERS.iter().any(|it| all.contains(it));
        let shown = (0..5).any(|_| has_banner(&run(&["--verbose"], "panic").text()));
        assert!(shown, "--verbose hides the words of the launcher");
    }
}

#[test]
fn lines_are_labelled_in_one_form_and_in_colour_when_wanted() {
    let hello = built("hello");
    let run = ["run", "-q", "-n", "3", "--tag-output", "--program", &hello];
    let plain = said(&mut phalanx(&run));
    for rank in 0..3 {
        let line = format!("hello from rank {rank} of 3");
        assert!(
            plain.stdout.lines().any(|found| found.starts_with("[0] ") && found.contains(&line)),
            "{}",
            plain.text()
        );
    }
    assert!(!plain.stdout.contains('\u{1b}'), "no colours in a pipe: {}", plain.text());
    let colored = said(phalanx(&run).args(["--color", "always"]));
    colored.prints("\u{1b}[36m[0]\u{1b}[0m hello");
    let errors = ["run", "-q", "-n", "2", "--tag-output", "--program", FAIL, "--", "panic"];
    said(&mut phalanx(&errors)).tells("[1] phalanx: rank 1 of 2");
    // The ranks write to a pipe, and colour their reports all the same.
    let report = said(phalanx(&errors[..7]).args(["--color", "always", "--", "panic"]));
    report.tells("\u{1b}[31m").tells("rank 1 of 2");
}

#[test]
fn a_job_that_takes_too_long_is_ended() {
    let watched = built("watched");
    let run = ["run", "-n", "2", "--timeout", "1s", "--program", &watched, "--", "busy", "61"];
    let start = Instant::now();
    said(&mut phalanx(&run))
        .leaves_with(124)
        .tells("the job was ended after its time limit of 1 s");
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(running(&watched, "61"), 0);
}

#[test]
fn control_c_ends_all_ranks() {
    let watched = built("watched");
    for (seconds, signal, code) in [("62", libc::SIGINT, 130), ("63", libc::SIGTERM, 143)] {
        let run = ["run", "-n", "3", "--program", &watched, "--", "busy", seconds];
        let child = phalanx(&run).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child: Child = child.expect("cargo-phalanx runs");
        wait_until("the ranks start", || running(&watched, seconds) == 3);
        // SAFETY: a signal to a child that was not waited for yet.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        let ended = Said::from(child.wait_with_output().expect("it ends"));
        ended.leaves_with(code).tells("ending the job");
        assert_eq!(running(&watched, seconds), 0, "ranks are left");
    }
}

#[test]
fn a_dry_run_prints_a_command_that_does_the_same() {
    let pi = built("pi");
    let run = ["run", "--dry-run", "-n", "3", "--program", &pi, "--", "--steps", "1000"];
    let dry = said(&mut phalanx(&run));
    dry.leaves_with(0);
    assert_eq!(dry.stdout.lines().count(), 1, "{}", dry.text());
    let output = Command::new("sh").args(["-c", &dry.stdout]).stdin(Stdio::null()).output();
    Said::from(output.expect("sh runs")).leaves_with(0).prints("on 3 ranks");
    let odd = ["run", "--dry-run", "--program", &pi, "--", "a b", "it's", "$HOME"];
    let dry = said(&mut phalanx(&odd));
    let words = format!("printf '%s|' {}", dry.stdout);
    let output = Command::new("sh").args(["-c", &words]).output().expect("sh runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.ends_with("|a b|it's|$HOME|"), "{text}");
}

#[test]
fn hosts_are_given_to_the_launcher_in_its_words() {
    let pi = built("pi");
    let run = ["run", "--dry-run", "--hosts", "node1:2,node2:4", "--program", &pi];
    let dry = said(phalanx(&run).env("PHALANX_WATCH", "on"));
    dry.leaves_with(0).prints("node1:2,node2:4").prints("-n 6 ");
    match Mpi::of_executable(&pi).expect("linked to MPI").family() {
        Family::OpenMpi => {
            dry.prints("--host ").prints("-x PHALANX_WATCH").prints("oob_tcp_keepalive_time=2")
        }
        _ => dry.prints("-hosts "),
    };
    for wrong in ["node1:0", "a b", ";reboot", "-x"] {
        let run = ["run", "--dry-run", &format!("--hosts={wrong}"), "--program", &pi];
        said(&mut phalanx(&run)).leaves_with(2).tells("--hosts <HOST[:N],…>");
    }
}

#[test]
fn a_reader_who_leaves_ends_the_job_and_a_full_disk_is_no_success() {
    for more in [&[][..], &["--tag-output"]] {
        let run = [
            &["run", "-q", "-n", "2", "--timeout", "60s"],
            more,
            &["--program", FAIL, "--", "prints"],
        ];
        let run: Vec<&str> = run.concat();
        let mut child = phalanx(&run)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cargo-phalanx runs");
        let mut first = [0; 5];
        child.stdout.take().expect("a pipe").read_exact(&mut first).expect("a word");
        let start = Instant::now();
        // The pipe is closed now.
        let ended = Said::from(child.wait_with_output().expect("it ends"));
        ended.leaves_with(141);
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        assert_eq!(ended.stderr, "", "nobody wants to hear how it ended");

        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let mut child = phalanx(&run).stdout(full).stderr(Stdio::piped()).spawn();
        let child = child.as_mut().expect("cargo-phalanx runs");
        let mut text = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut text).expect("words");
        assert_eq!(child.wait().expect("it ends").code(), Some(101), "{text}");
        assert!(text.contains("the output of the job cannot be written: No space left"), "{text}");
    }
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let dry = ["run", "--dry-run", "--program", FAIL];
    for arguments in [&dry[..], &["doctor", "--no-trial"], &["man"], &["completions", "bash"]] {
        let child = phalanx(arguments).stdout(full()).stderr(Stdio::piped()).spawn();
        let ended = Said::from(child.and_then(|it| it.wait_with_output()).expect("it ends"));
        ended.leaves_with(101).tells("error: No space left on device");
    }
}

#[test]
fn a_last_line_without_an_end_stays_as_it_is_and_so_does_the_exit_code() {
    for more in [&[][..], &["--tag-output"]] {
        let run = [&["run", "-q", "-n", "3"], more, &["--program", FAIL, "--", "unfinished-line"]];
        let ended = said(&mut phalanx(&run.concat()));
        assert!(matches!(ended.code, Some(3 | 5)), "{}", ended.text());
        assert_eq!(ended.stdout.matches("progress 10%").count(), 3, "{}", ended.text());
        assert!(!ended.stdout.contains("Exit codes"), "{}", ended.text());
    }
}

#[test]
fn ranks_that_leave_long_before_the_others_are_told_of() {
    let run = ["run", "-n", "2", "--timeout", "90.5s", "--program", FAIL, "--", "one-stays"];
    let mut child = phalanx(&run)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cargo-phalanx runs");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let told = lines.find(|line| {
        let line = line.as_deref().unwrap_or_default();
        line.contains("1 of 2 ranks exited more than 10 s ago") || line.contains("--timeout)")
    });
    let told = told.and_then(Result::ok).unwrap_or_default();
    assert!(told.contains("1 of 2 ranks exited"), "{told}");
    // SAFETY: a signal to a child that was not waited for yet.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}

#[test]
fn one_rank_is_started_by_a_debugger() {
    let folder = Folder::new("debugger");
    let debugger =
        folder.program("debugger", "#!/bin/sh\necho \"debugging $2\"\nshift\nexec \"$@\"\n");
    let hello = built("hello");
    let command = format!("'{}' --args", debugger.display());
    for (ranks, rank) in [("1", "0"), ("3", "0"), ("3", "1"), ("4", "3")] {
        let run = ["run", "-n", ranks, "--debug", rank, "--debugger", &command, "--tag-output"];
        let ended = said(phalanx(&run).args(["--program", &hello]));
        ended.leaves_with(0).prints(&format!("[{rank}] debugging {hello}"));
        assert_eq!(ended.stdout.matches("debugging").count(), 1, "{}", ended.text());
        assert_eq!(ended.stdout.matches("hello from rank").count().to_string(), ranks);
    }
    let run = ["run", "-n", "2", "--debug", "2", "--program", &hello];
    said(&mut phalanx(&run)).leaves_with(101).tells("a job of 2 ranks has ranks 0 to 1");
}

#[test]
fn gdb_gets_the_terminal_and_the_rank() {
    let has = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    if !has("gdb") || !has("gdbserver") {
        eprintln!("SKIPPED: there is no gdb and gdbserver");
        return;
    }
    let hello = built("hello");
    let mut command = phalanx(&["run", "-n", "3", "--debug", "1", "--program", &hello]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("cargo-phalanx runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(b"break main\ncontinue\nbacktrace 1\ndelete\ncontinue\nquit\n")
        .expect("gdb listens");
    drop(stdin);
    let ended = Said::from(child.wait_with_output().expect("it ends"));
    ended.leaves_with(0).tells("rank 1 is in the debugger").prints("Breakpoint 1").prints("#0 ");
    ended.prints("exited normally").prints("hello from rank 2 of 3");
}

#[test]
fn wrong_calls_are_explained() {
    let wrong = |arguments: &[&str], code: i32, part: &str| {
        said(phalanx(arguments).current_dir(root())).leaves_with(code).tells(part);
    };
    wrong(&["run", "--program", "/no/such"], 101, "no program `/no/such`");
    wrong(&["run", "--program", "/bin/sh"], 101, "not linked to an MPI library");
    let script = built("cargo-phalanx");
    wrong(&["run", "--program", &script], 101, "not linked to an MPI library");
    let script = root().join("scripts/pi");
    wrong(&["run", "--program", script.to_str().unwrap()], 101, "it is a script");
    wrong(&["run", "-n", "0"], 2, "not a number of ranks");
    wrong(&["run", "-n", "-1"], 2, "`-1` is not a number of ranks");
    wrong(&["run", "-n", "2147483648"], 2, "not a number of ranks");
    let colon = ["run", "--program", &built("hello"), "--", "a", ":", "b"];
    wrong(&colon, 101, "an argument of the program is `:`");
    wrong(&["run", "--timeout", "soon"], 2, "`soon` is not a time");
    wrong(&["run"], 101, "several programs: choose one with --bin: ");
    wrong(&["run", "--bin", "nope"], 101, "no bin `nope` here");
    wrong(&["run", "-p", "nope"], 101, "no package `nope`");
    wrong(&["batch", "--scheduler", "slurm"], 2, "PROGRAM");
    wrong(&["batch", "--scheduler", "slurm", "--warn", "1h", "--", "pi"], 101, "shorter");
    wrong(&["doctor", "--program", "/no/such"], 101, "no program `/no/such`");
    wrong(&["new", "2d"], 101, "not a valid package name");
    wrong(&["new", "fn"], 101, "is reserved by Rust or cargo");
    wrong(&["new", "."], 101, "give the name of a folder to create");
    wrong(&["new", "crates"], 101, "already exists");
    wrong(&["frobnicate"], 2, "unrecognized subcommand");
    let mut nowhere = phalanx(&["run"]);
    said(nowhere.current_dir("/")).leaves_with(101).tells("could not find `Cargo.toml`");
}

#[test]
fn scripts_for_batch_systems_are_written_once() {
    let folder = Folder::new("batch");
    let path = folder.0.join("job.sh");
    let path = path.to_str().unwrap();
    let batch = ["batch", "--scheduler", "pbs", "-n", "8", "--time", "1h", "-o", path];
    let program = ["--", "target/release/heat", "--size", "500"];
    said(phalanx(&batch).args(program)).leaves_with(0).tells("qsub ");
    let text = fs::read_to_string(path).expect("the script");
    assert!(text.contains("\ncommand=(target/release/heat --size 500)\n"), "{text}");
    said(phalanx(&batch).args(program)).leaves_with(101).tells("--force");
    said(phalanx(&batch).arg("--force").args(program)).leaves_with(0);
    let full = ["batch", "--scheduler", "pbs", "-o", "/dev/full", "--force", "--", "pi"];
    said(&mut phalanx(&full)).leaves_with(101).tells("cannot write /dev/full");
}

#[test]
fn a_new_project_is_formatted_whatever_its_name() {
    let folder = Folder::new("formatted");
    for name in
        ["aaa", "phalanx-x", "zebra", "a-name-that-is-as-long-as-names-of-projects-ever-are"]
    {
        let project = folder.0.join(name);
        let mut new = phalanx(&["new", project.to_str().unwrap(), "--phalanx"]);
        said(new.arg(root())).leaves_with(0);
        let sources = ["src/main.rs", "src/lib.rs", "tests/ranks.rs"];
        let mut command = Command::new("rustfmt");
        command.args(["--check", "--edition", "2024"]).args(sources).current_dir(&project);
        Said::from(command.output().expect("rustfmt runs")).leaves_with(0);
    }
}

#[test]
fn a_new_project_builds_runs_and_passes_its_test() {
    let folder = Folder::new("new");
    let project = folder.0.join("first-steps");
    let new = ["new", project.to_str().unwrap(), "--phalanx", root().to_str().unwrap()]
        .map(str::to_owned);
    said(&mut phalanx(&new.each_ref().map(String::as_str)))
        .leaves_with(0)
        .prints("cargo phalanx run -n 4");
    // The versions that this workspace has been tested with, and no network.
    fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).expect("a lock file");
    let within = |arguments: &[&str]| said(phalanx(arguments).current_dir(&project));

    let formatted = Command::new("cargo").args(["fmt", "--check"]).current_dir(&project).output();
    Said::from(formatted.expect("cargo fmt runs")).leaves_with(0);
    within(&["run", "-n", "4", "--offline"]).leaves_with(0).prints("pi = 3.1415926536 on 4 ranks");
    let all = within(&["test", "--offline"]);
    all.leaves_with(0).prints("watch strict: passed");
    for ranks in 1..=4 {
        all.prints(&format!("\n{ranks:>8} {:>8} {:>8} {:>8}\n", 1, 0, 0));
    }
    let some = within(&["test", "--offline", "-n", "2,3"]);
    some.leaves_with(0).prints("::ranks_2 ... ok").prints("::ranks_3 ... ok");
    assert!(!some.stdout.contains("ranks_4"), "{}", some.text());
    within(&["test", "--offline", "-n", "7"])
        .leaves_with(101)
        .tells("no test is declared for 7 ranks; there are tests for 1, 2, 3, 4");
    within(&["test", "--offline", "-n", "2", "nothing-like-it"]).leaves_with(101);

    let tests = project.join("tests/ranks.rs");
    let text = fs::read_to_string(&tests).expect("the test");
    // A mistake that only the strict watch sees: both send first, and rely on buffering.
    let faulty = "\n#[phalanx::test(ranks = [2])]\nfn both_send_first(world: Comm) -> phalanx::Result<()> {\n    \
                  let other = 1 - world.rank();\n    world.send(&1, other)?;\n    let _: i32 = world.recv(other)?;\n    Ok(())\n}\n";
    fs::write(&tests, text + faulty).expect("a test with a mistake");
    let strict = within(&["test", "--offline", "-n", "2"]);
    strict.leaves_with(101).prints("FAILED").prints("failed: both_send_first::ranks_2");
    within(&["test", "--offline", "-n", "2", "--watch", "on"]).leaves_with(0);
    fs::write(project.join("src/main.rs"), "fn main() { nonsense }").expect("a broken program");
    within(&["run", "--offline"]).leaves_with(101).tells("`first-steps` does not build");
}

#[test]
fn the_doctor_sees_that_this_machine_is_healthy() {
    let ended = said(phalanx(&["doctor", "--program", &built("pi")]).current_dir(root()));
    ended.leaves_with(0).prints("a program built and ran on 2 ranks").prints("no problems");
    ended.prints("is linked to ").prints("C compiler and libclang found");

    let json = said(phalanx(&["doctor", "--json", "--no-trial"]).current_dir(root()));
    json.leaves_with(0);
    let report: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(report["healthy"], true);
    assert!(report["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0));
    assert!(report["findings"].as_array().is_some_and(|findings| findings.len() > 5));

    let mut page = Transcript::new(
        "doctor",
        "A healthy machine",
        "What `cargo phalanx doctor` says of a machine on which all is well. This page is written by `tests/cargo_phalanx.rs`.",
    );
    page.hide(built("pi"), "target/release/pi").hide(root().to_str().unwrap(), "~/phalanx");
    let doctor = said(phalanx(&["doctor", "--program", &built("pi")]).current_dir(root()));
    page.command("cargo phalanx doctor --program target/release/pi", &doctor.stdout);
    page.say("The exit code is 0. A script that needs the details asks for JSON:");
    let findings = serde_json::to_string(&report["findings"][0]).expect("JSON");
    page.command("cargo phalanx doctor --json | jq -c '.findings[0]'", &findings);
    println!("{}", page.save().display());
}

/// Makes a folder with what every machine has, and neither a compiler nor an MPI.
fn only_tools(folder: &Path) -> PathBuf {
    fs::create_dir(folder).expect("a folder");
    for tool in [
        "bash", "sh", "sed", "dirname", "realpath", "mkdir", "cat", "cut", "tr", "rm", "grep",
        "sort", "cargo", "rustc",
    ] {
        let real = env::split_paths(&env::var_os("PATH").unwrap_or_default())
            .map(|folder| folder.join(tool))
            .find(|path| path.exists());
        std::os::unix::fs::symlink(real.expect("a tool of every machine"), folder.join(tool))
            .expect("a link");
    }
    folder.to_owned()
}

#[test]
fn the_doctor_sees_a_broken_machine() {
    let folder = Folder::new("doctor");
    // A launcher of another family is the first on PATH.
    let family = Mpi::of_executable(built("pi")).expect("linked to MPI").family();
    let other = match family {
        Family::OpenMpi => "printf 'HYDRA build details:\\n    Version:   4.0.2\\n'",
        _ => "echo 'mpiexec (OpenRTE) 4.1.4'",
    };
    folder.program("mpiexec", &format!("#!/bin/sh\n{other}\n"));
    let path = format!("{}:{}", folder.0.display(), env::var("PATH").unwrap_or_default());
    let mut command = phalanx(&["doctor", "--no-trial", "--strict"]);
    let ended = said(command.current_dir(root()).env("PATH", &path));
    ended
        .leaves_with(1)
        .prints("warning  launcher")
        .prints("rank 0 of 1")
        .prints("> cargo phalanx run");

    // A compiler wrapper that compiles nothing.
    let wrapper = folder.program(
        "mpicc-broken",
        "#!/bin/sh\n[ \"$1\" = -show ] && echo cc -lmpi && exit 0\necho 'mpi.h: no such file' >&2\nexit 1\n",
    );
    let ended = said(phalanx(&["doctor"]).current_dir(root()).env("MPICC", wrapper));
    ended.leaves_with(1).prints("problem  trial").prints("mpi.h: no such file");

    // An empty machine, with a shell and nothing else.
    let empty = only_tools(&folder.0.join("bin"));
    let mut command = phalanx(&["doctor"]);
    command
        .current_dir(&folder.0)
        .env("PATH", &empty)
        .env("CARGO_TARGET_DIR", folder.0.join("target"))
        .env("XDG_DATA_HOME", folder.0.join("data"));
    for variable in ["CARGO", "MPICC", "LIBCLANG_PATH", "MPI_HOME"] {
        command.env_remove(variable);
    }
    let ended = said(&mut command);
    ended
        .leaves_with(1)
        .prints("no MPI")
        .prints("no working C compiler")
        .prints("cargo phalanx setup");
}

#[test]
fn setup_prints_what_a_shell_needs_and_check_installs_nothing() {
    // Nothing is missing, so that it installs nothing.
    let ended = said(phalanx(&["setup"]).current_dir(root()));
    ended.leaves_with(0).prints("export CARGO_TARGET_DIR=").tells("launcher /");
    let script = format!("set -eu\n{}\nmpiexec --version >/dev/null\n", ended.stdout);
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
    assert!(output.status.success(), "{}\n{output:?}", ended.text());

    let folder = Folder::new("setup");
    // Where there is no project, nothing is said of one.
    let ended = said(phalanx(&["setup"]).current_dir(&folder.0).env_remove("CARGO_TARGET_DIR"));
    ended.leaves_with(0).tells("launcher /");
    assert!(!ended.stdout.contains("CARGO_TARGET_DIR"), "{}", ended.text());
    // A list for people.
    let ended =
        said(phalanx(&["setup", "--check"]).current_dir(&folder.0).env_remove("CARGO_TARGET_DIR"));
    ended.leaves_with(0);
    for (line, name) in
        ended.stdout.lines().zip(["Rust", "C compiler", "libclang", "MPI", "launcher"])
    {
        assert!(line.starts_with("ok       ") && line.contains(name), "{}", ended.text());
    }
    assert!(!ended.stdout.contains("export "), "{}", ended.text());
    assert_eq!(fs::read_dir(&folder.0).expect("the folder").count(), 0, "nothing is written");
    let missing = folder.0.join("no-such-mpicc");
    let ended = said(phalanx(&["setup", "--check"]).current_dir(root()).env("MPICC", &missing));
    ended.leaves_with(101).tells("MPICC names");
    if env::var_os("LIBCLANG_PATH").is_none() {
        // What is missing is listed, and how to get it.
        let mut command = phalanx(&["setup", "--check"]);
        command.current_dir(&folder.0).env("PATH", only_tools(&folder.0.join("bin")));
        command.env("XDG_DATA_HOME", &folder.0).env("CARGO_TARGET_DIR", folder.0.join("target"));
        for variable in ["MPICC", "MPI_HOME"] {
            command.env_remove(variable);
        }
        let ended = said(&mut command);
        ended.leaves_with(101).prints("missing  C compiler").prints("missing  MPI");
        ended.prints("cargo phalanx setup");
    }
}

#[test]
fn completions_work_in_the_shells() {
    let folder = Folder::new("completions");
    let script = |shell: &str| {
        let ended = said(&mut phalanx(&["completions", shell]));
        ended.leaves_with(0);
        let path = folder.0.join(format!("_cargo-phalanx.{shell}"));
        fs::write(&path, &ended.stdout).expect("a file of this test");
        path
    };
    let bash = script("bash");
    let ask = "source $1; COMP_WORDS=(cargo phalanx do); COMP_CWORD=2; COMP_LINE='cargo phalanx do'
               _cargo_phalanx_hook cargo do phalanx; echo \"${COMPREPLY[@]}\"
               COMP_WORDS=(cargo phalanx run --tag); COMP_CWORD=3
               _cargo_phalanx_hook cargo --tag run; echo \"${COMPREPLY[@]}\"";
    let output =
        Command::new("bash").args(["-c", ask, "bash"]).arg(bash).output().expect("bash runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text, "doctor\n--tag-output\n", "{output:?}");

    let (zsh, fish) = (script("zsh"), script("fish"));
    let has = |shell: &str| Command::new(shell).arg("--version").output().is_ok();
    if has("zsh") {
        let output = Command::new("zsh").arg("-n").arg(&zsh).output().expect("zsh runs");
        assert!(output.status.success(), "{output:?}");
    }
    if has("fish") {
        let ask = format!("source {}; complete -C 'cargo phalanx do'", fish.display());
        let output =
            Command::new("fish").args(["--no-config", "-c", &ask]).output().expect("fish runs");
        assert!(String::from_utf8_lossy(&output.stdout).contains("doctor"), "{output:?}");
    }
    let text = fs::read_to_string(zsh).expect("the script");
    assert!(text.starts_with("#compdef cargo-phalanx") && text.contains("--tag-output"));
    assert!(fs::read_to_string(fish).expect("the script").contains("-l tag-output"));
}

#[test]
fn there_is_help_and_a_manual_page_for_each_command() {
    let help = said(&mut phalanx(&["--help"]));
    help.leaves_with(0);
    let folder = Folder::new("man");
    said(&mut phalanx(&["man", "--output", folder.0.to_str().unwrap()])).leaves_with(0);
    for command in ["run", "test", "doctor", "batch", "setup", "new", "completions", "man"] {
        help.prints(&format!("\n  {command} "));
        said(&mut phalanx(&[command, "--help"]))
            .leaves_with(0)
            .prints(&format!("cargo phalanx {command}"));
        let page = fs::read_to_string(folder.0.join(format!("cargo-phalanx-{command}.1")));
        assert!(page.expect("a page").contains(".TH"), "{command}");
    }
    // What a command does is said in full, not only in the line of the list.
    let setup = said(&mut phalanx(&["setup", "--help"]));
    setup.leaves_with(0).prints("What is installed already is not changed.");
    let run = said(&mut phalanx(&["run", "--help"]));
    run.leaves_with(0).prints("Arguments:\n  [ARGUMENTS]...");
    said(&mut phalanx(&["man"])).leaves_with(0).prints(".SH NAME");
    said(&mut phalanx(&["man", "--output", "/dev/null/x"]))
        .leaves_with(101)
        .tells("cannot write to");
}

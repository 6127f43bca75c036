//! What `#[phalanx::test]` promises: which tests there are, what they report, and that nothing is
//! left behind. The tests that are meant to fail do so only when another test starts them.

use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use phalanx::prelude::*;

/// Tests that fail, for others to look at.
mod meant {
    use super::*;

    /// Whether another test started this one.
    fn for_real() -> bool {
        env::var_os("HARNESS_TEST").is_some()
    }

    #[phalanx::test(ranks = 3)]
    #[ignore = "fails when it is started by another test"]
    fn to_panic(world: Comm) {
        println!("hello from rank {}", world.rank());
        world.barrier().unwrap();
        if for_real() && world.rank() == 2 {
            panic!("rank two\ngives up");
        }
        world.barrier().unwrap();
    }

    #[phalanx::test(ranks = 2)]
    #[ignore = "fails when it is started by another test"]
    fn to_return_an_error(world: Comm) -> Result<(), String> {
        if for_real() && world.rank() == 1 {
            return Err("one says no".to_owned());
        }
        world.barrier().map_err(|error| error.to_string())
    }

    #[phalanx::test(ranks = 3, timeout = "3s")]
    #[ignore = "hangs when it is started by another test"]
    fn to_time_out(world: Comm) {
        println!("hello from rank {}", world.rank());
        // Outside MPI: nobody could say that it never ends.
        while for_real() && world.rank() != 1 {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    #[phalanx::test(ranks = 3, timeout = "6s")]
    #[ignore = "hangs when it is started by another test"]
    fn to_hang(world: Comm) {
        if for_real() && world.rank() != 1 {
            world.barrier().unwrap();
        }
    }

    #[phalanx::test(ranks = 3)]
    #[ignore = "fails when it is started by another test"]
    fn to_be_killed(world: Comm) {
        if for_real() && world.rank() == 1 {
            let myself = std::process::id().to_string();
            Command::new("kill").args(["-9", &myself]).status().unwrap();
        }
        world.barrier().unwrap();
    }

    #[phalanx::test(ranks = 2)]
    #[ignore = "fails when it is started by another test"]
    fn to_leave_early(world: Comm) {
        if for_real() && world.rank() == 1 {
            std::process::exit(0);
        }
        world.barrier().unwrap();
    }

    #[phalanx::test(ranks = 3, timeout = "10m")]
    #[ignore = "hangs when it is started by another test"]
    fn to_lose_its_parent(world: Comm) {
        if for_real() && world.rank() != 1 {
            world.barrier().unwrap();
        } else if for_real() {
            thread::sleep(Duration::from_secs(600));
        }
    }

    #[phalanx::test(ranks = 3, timeout = "10m")]
    #[ignore = "hangs when it is started by another test"]
    fn to_lose_its_launcher(world: Comm) {
        if for_real() && world.rank() != 1 {
            world.barrier().unwrap();
        } else if for_real() {
            thread::sleep(Duration::from_secs(600));
        }
    }
}

fn start(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("HARNESS_TEST", "1")
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null());
    command
}

/// Runs a test that is meant to fail, and gives what it wrote.
#[track_caller]
fn report_of(test: &str) -> String {
    let output = start(test).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(!output.status.success(), "{test} passed:\n{text}");
    assert!(text.contains("1 failed"), "{text}");
    text
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

/// Living processes of a test: its own, the launcher's and those of the ranks.
fn processes_of(test: &str) -> Vec<(u32, String)> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter_map(|pid| Some((pid, fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?)))
        .filter(|(_, line)| line.contains(test))
        .collect()
}

#[track_caller]
fn wait_until(what: &str, patience: u64, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(patience);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the three ranks of the test run.
fn wait_for_ranks(test: &str) {
    let ranks = || {
        let is_rank = |line: &str| !line.contains("\0-n\0") && line.contains("--include-ignored");
        processes_of(test).iter().filter(|(_, line)| is_rank(line)).count()
    };
    wait_until("the ranks start", 60, || ranks() >= 3);
    // They are to be inside MPI when something happens to them.
    thread::sleep(Duration::from_millis(700));
}

#[phalanx::test]
fn a_test_runs_on_one_to_four_ranks_unless_told_otherwise(world: Comm) -> phalanx::Result<()> {
    assert!((1..=4).contains(&world.size()));
    assert_eq!(world.allreduce(&1_usize, Sum)?, world.size());
    Ok(())
}

#[phalanx::test(ranks = 2, threads = "multiple", env("HARNESS_A" = "b c", HARNESS_D = "e"))]
fn options_reach_every_rank(world: Comm) {
    assert_eq!(world.size(), 2);
    assert_eq!(env::var("HARNESS_A").unwrap(), "b c");
    assert_eq!(env::var("HARNESS_D").unwrap(), "e");
    assert_eq!(phalanx::threading(), phalanx::Threading::Multiple);
}

#[phalanx::test(ranks = 2)]
#[should_panic(expected = "the expected words")]
fn a_panic_that_is_expected_is_found_in_the_report(world: Comm) {
    if world.rank() == 1 {
        panic!("these are the expected words");
    }
    world.barrier().unwrap();
}

#[test]
fn the_report_leads_with_the_rank_that_panicked_and_shows_the_output_of_each() {
    let report = report_of("meant::to_panic::ranks_3");
    assert_contains(
        &report,
        &[
            "meant::to_panic::ranks_3: rank 2 of 3 panicked at ",
            "harness.rs:",
            "\n    rank two\n    gives up\n",
            "rank 0: was ended because rank 2 failed",
            "--- output of rank 0 ---\nhello from rank 0",
            "--- output of rank 1 ---\nhello from rank 1",
        ],
    );
    // Once, and without what the launcher says of it.
    assert_eq!(report.matches("gives up").count(), 1, "{report}");
    assert_contains(&report, &["(last MPI call: barrier at "]);
    for banner in
        ["MPI_ABORT was", "application called MPI_Abort", "Primary job", "BAD TERMINATION"]
    {
        assert!(!report.contains(banner), "{report}");
    }
    let position = |part| report.find(part).unwrap();
    assert!(position("output of rank 2") < position("output of rank 0"), "{report}");
}

#[test]
fn an_error_of_a_rank_fails_the_test_with_its_text() {
    let report = report_of("meant::to_return_an_error::ranks_2");
    assert_contains(&report, &["rank 1 of 2 failed:\n    one says no"]);
}

#[test]
fn a_time_out_names_the_ranks_that_were_running_and_leaves_none() {
    let test = "meant::to_time_out::ranks_3";
    let report = report_of(test);
    assert_contains(
        &report,
        &["timed out after ", "s: rank", "0", "2 still running", "hello from"],
    );
    assert_eq!(processes_of(test), []);
}

#[test]
fn a_test_that_hangs_is_explained_before_its_time_is_over() {
    let report = report_of("meant::to_hang::ranks_3");
    let cause = "missing in a collective: rank 1 has not called barrier on `world`, and never can";
    assert_contains(&report, &["deadlock (proved)", cause, "tests/harness.rs:"]);
}

#[test]
fn a_rank_that_is_killed_fails_the_test_and_is_named() {
    let report = report_of("meant::to_be_killed::ranks_3");
    assert_contains(&report, &["rank 1 of 3 was killed", "was ended because rank 1 failed"]);
}

#[test]
fn a_rank_that_leaves_early_fails_the_test_even_with_exit_code_0() {
    let report = report_of("meant::to_leave_early::ranks_2");
    assert_contains(&report, &["rank 1 of 2", "left the process before its test ended"]);
}

#[test]
fn no_rank_outlives_a_test_process_that_is_killed() {
    let test = "meant::to_lose_its_parent::ranks_3";
    let mut parent = start(test).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_ranks(test);
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until("all processes of the test end", 10, || processes_of(test).is_empty());
}

#[test]
fn no_rank_outlives_a_launcher_that_is_killed() {
    let test = "meant::to_lose_its_launcher::ranks_3";
    let parent = start(test).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_ranks(test);
    let launcher = processes_of(test).into_iter().find(|(_, line)| line.contains("\0-n\0"));
    let (launcher, _) = launcher.unwrap();
    Command::new("kill").args(["-9", &launcher.to_string()]).status().unwrap();
    let output = parent.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert_eq!(processes_of(test), []);
}

#[test]
fn a_missing_temporary_folder_is_named() {
    let missing = "/no/such/folder";
    let output = start("meant::to_panic::ranks_3").env("TMPDIR", missing).output();
    let text = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    assert_contains(&text, &["could not be started", missing, "TMPDIR"]);
}

#[test]
fn a_launcher_that_does_not_fit_fails_the_test_with_the_reason() {
    let output = start("meant::to_panic::ranks_3").env("PHALANX_MPIEXEC", "/bin/true").output();
    let text = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    assert_contains(&text, &["could not be started on 3 ranks", "named in PHALANX_MPIEXEC"]);
}

#[test]
fn a_program_can_run_a_part_of_itself_on_ranks() {
    let output = start("helper_of_on_ranks").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}

#[test]
#[ignore = "started by another test as a process of its own"]
fn helper_of_on_ranks() {
    // Its ranks have its arguments, and are to run nothing else.
    if env::var_os("HARNESS_TEST").is_none() {
        return;
    }
    for ranks in [2, 3] {
        phalanx::testing::on_ranks(ranks, |world| assert_eq!(world.size(), ranks));
    }
}

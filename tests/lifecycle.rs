//! Start and end of MPI, threads that are still inside, panics of all kinds, and ways to leave. Most
//! tests start `programs/life.rs` as a job and look at it from outside.

use std::env;
use std::process::Command;
use std::time::Duration;

use phalanx::prelude::*;
use phalanx::{RequestSet, Result};
use phalanx_launch::{Family, Job, Launcher, Mpi, Output};

const LIFE: &str = env!("CARGO_BIN_EXE_life");

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn text(&self) -> String {
        format!("exit code {:?}\n{}\n{}", self.code, self.stdout, self.stderr)
    }

    /// The reports of failing ranks.
    fn reports(&self) -> usize {
        let is_report = |line: &&str| {
            line.starts_with("phalanx: rank ")
                && (line.contains("failed:") || line.contains("panicked"))
        };
        self.stderr.lines().filter(is_report).count()
    }

    #[track_caller]
    fn assert_says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.text());
        }
    }

    #[track_caller]
    fn assert_done(&self, ranks: usize) {
        assert_eq!(self.code, Some(0), "{}", self.text());
        let done = self.stdout.lines().filter(|line| *line == "done").count();
        assert_eq!(done, ranks, "{}", self.text());
    }
}

/// How long a job may take on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn run(job: Job) -> Ended {
    let factor = env::var("PHALANX_TEST_TIME_FACTOR").ok().and_then(|text| text.parse().ok());
    let job = job.output(Output::Capture).share_cores(true).env("RUST_BACKTRACE", "0");
    let finished = job.timeout(PATIENCE * factor.unwrap_or(1)).run().expect("a launcher");
    let ended = Ended {
        code: finished.status.and_then(|status| status.code()),
        stdout: String::from_utf8_lossy(&finished.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&finished.stderr).into_owned(),
    };
    assert!(!finished.timed_out, "the job hangs:\n{}", ended.text());
    ended
}

fn life(mode: &str, ranks: usize) -> Job {
    Job::new(LIFE).ranks(ranks).arg(mode)
}

fn is_mpich() -> bool {
    let family = Mpi::of_executable(LIFE).expect("an MPI program").family();
    matches!(family, Family::Mpich | Family::IntelMpi)
}

/// A job in which one rank has a variable that the others have not.
fn with_variable_on_rank(rank: usize, variable: &str, mode: &str, ranks: usize) -> Job {
    let mpi = Mpi::of_executable(LIFE).expect("an MPI program");
    let script = format!(
        "if [ \"${{OMPI_COMM_WORLD_RANK:-$PMI_RANK}}\" = {rank} ]; then export {variable}; fi; \
         exec \"$0\" {mode}"
    );
    let job = Job::new("sh").launcher(Launcher::of(&mpi).expect("its launcher"));
    job.args(["-c", &script, LIFE]).ranks(ranks)
}

#[test]
fn threads_that_are_busy_when_mpi_ends_are_waited_for_and_then_refused() {
    for (mode, ranks) in
        [("busy-at-the-end", 1), ("busy-at-the-end", 3), ("busy-at-the-end-serialized", 2)]
    {
        let ended = run(life(mode, ranks));
        assert_eq!(ended.code, Some(0), "{mode}: {}", ended.text());
        assert_eq!(ended.reports(), 0, "{mode}: {}", ended.text());
    }
}

#[test]
fn a_thread_that_stays_inside_is_named_with_its_line() {
    let ended = run(life("stuck-at-the-end", 2));
    if ended.stdout.contains("not granted") {
        println!("not tested: this MPI does not grant the level Multiple");
        return;
    }
    assert_eq!(ended.code, Some(1), "{}", ended.text());
    let line = ended.stdout.lines().find_map(|line| line.strip_prefix("it waits at "));
    let line = line.unwrap_or_else(|| panic!("{}", ended.text()));
    ended.assert_says(&[
        "a thread is still inside an MPI call: recv at ",
        line,
        "Join the threads",
    ]);
    assert_eq!(ended.reports(), 1, "{}", ended.text());
}

#[test]
fn what_is_refused_is_not_consumed() {
    for (mode, ranks) in [
        ("finalize-refused", 1),
        ("finalize-refused", 2),
        ("finalize-elsewhere", 2),
        ("free-refused", 1),
        ("free-refused", 3),
    ] {
        run(life(mode, ranks)).assert_done(ranks);
    }
    // Whoever gives up after it is told why.
    let ended = run(life("refused-and-dropped", 2));
    assert_eq!(ended.code, Some(1), "{}", ended.text());
    ended.assert_says(&["although `finalize` had failed", "that initialised"]);
}

#[test]
fn of_two_threads_that_start_mpi_one_gets_it() {
    let ended = run(life("two-starts", 1));
    assert!(ended.stdout.contains("1 session\n"), "{}", ended.text());
}

#[test]
fn a_rank_that_cannot_start_leaves_no_other_inside() {
    for variable in ["PHALANX_WAIT=quickly", "PHALANX_WATCH=foo"] {
        for (rank, ranks) in [(1, 3), (0, 2)] {
            // With `run` there is one message, and the program goes no further.
            let ended = run(with_variable_on_rank(rank, variable, "hello", ranks));
            assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.text());
            let errors: Vec<_> =
                ended.stderr.lines().filter(|line| line.starts_with("error:")).collect();
            assert_eq!(errors.len(), 1, "{}", ended.text());
            assert!(errors[0].contains(variable.rsplit('=').next().unwrap_or("")), "{errors:?}");
            assert_eq!(ended.stdout, "", "{}", ended.text());

            // With `init` each rank has an error, and says so; who then leaves has not finalized.
            let ended = run(with_variable_on_rank(rank, variable, "init", ranks));
            assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.text());
            assert!(!ended.stdout.contains("started"), "{}", ended.text());
            let named = format!("rank {rank} cannot start");
            let told = ended.stdout.matches(&named).count();
            assert!(told < ranks, "{}", ended.text());
        }
    }
}

#[test]
fn a_program_that_a_rank_starts_is_refused_in_one_sentence() {
    for ranks in [1, 2] {
        let ended = run(life("inside", ranks));
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        for part in ["code Some(1)", "was started by rank", "phalanx_launch::Job"] {
            assert!(ended.stdout.contains(part), "`{part}` is not in {}", ended.text());
        }
        assert_eq!(ended.stdout.matches("error:").count(), 1, "{}", ended.text());
        assert!(!ended.stdout.contains("rank 0 of 1\n"), "{}", ended.text());
    }
}

#[test]
fn a_shell_between_launcher_and_rank_is_no_rank() {
    let mpi = Mpi::of_executable(LIFE).expect("an MPI program");
    let job = Job::new("sh").launcher(Launcher::of(&mpi).expect("its launcher"));
    // Not replaced by the program: the shell has more to do.
    let ended = run(job.args(["-c", "\"$0\" hello; exit $?", LIFE]).ranks(2));
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    assert_eq!(ended.stdout.matches(" of 2\n").count(), 2, "{}", ended.text());
}

#[test]
fn a_communicator_of_rsmpi_may_outlive_mpi() {
    for ranks in [1, 2] {
        run(life("guest-outlives", ranks)).assert_done(ranks);
    }
}

#[test]
fn closures_of_reductions_run_and_are_dropped_outside_of_every_lock() {
    for wait in ["library", "poll"] {
        for ranks in [1, 2, 3] {
            run(life("closure-drops", ranks).env("PHALANX_WAIT", wait)).assert_done(ranks);
            run(life("closure-captures", ranks).env("PHALANX_WAIT", wait)).assert_done(ranks);
        }
    }
}

#[test]
fn a_panic_in_the_closure_of_a_dropped_reduction_fails_the_rank() {
    for wait in ["library", "poll"] {
        let ended = run(life("closure-panics", 3).env("PHALANX_WAIT", wait));
        assert_eq!(ended.code, Some(101), "{}", ended.text());
        assert_eq!(ended.reports(), 1, "{}", ended.text());
        ended.assert_says(&["the table is full", "programs/life.rs:"]);
    }
}

#[test]
fn panics_that_cannot_unwind_are_all_reported() {
    let ended = run(life("panic-in-drop", 2));
    assert_eq!(ended.code, Some(101), "{}", ended.text());
    assert_eq!(ended.reports(), 1, "{}", ended.text());
    ended.assert_says(&["rank 0 of 2", "the real cause", "the cleanup failed, too"]);
    let (first, second) = (ended.stderr.find("the real cause"), ended.stderr.find("the cleanup"));
    assert!(first < second, "{}", ended.text());

    let ended = run(life("same-panic-in-drop", 2));
    assert_eq!(ended.code, Some(101), "{}", ended.text());
    assert_eq!(ended.stderr.matches("the real cause").count(), 2, "{}", ended.text());

    let ended = run(life("panic-in-callback", 2));
    assert_eq!(ended.code, Some(101), "{}", ended.text());
    assert_eq!(ended.reports(), 1, "{}", ended.text());
    ended.assert_says(&["the real cause: index 7 of 5", "programs/life.rs:"]);
}

#[test]
fn a_panic_is_reported_when_a_signal_ends_the_process() {
    let ended = run(life("abort-after-panic", 2));
    assert!(ended.code != Some(0), "{}", ended.text());
    ended.assert_says(&["rank 0 of 2", "programs/life.rs:", "the real cause"]);

    let ended = run(life("abort-after-caught-panic", 2));
    assert!(ended.code != Some(0), "{}", ended.text());
    ended.assert_says(&["was aborted", "may have been caught", "not the cause"]);
}

#[test]
fn a_process_that_leaves_while_another_thread_holds_stdout_ends_the_job() {
    for mode in ["exit-while-stdout-is-locked", "exit-while-stdout-is-locked-multiple"] {
        let ended = run(life(mode, 2));
        assert_eq!(ended.code, Some(3), "{}", ended.text());
        ended.assert_says(&["rank 1 of 2", "left with exit code 3"]);
    }
}

#[test]
fn leaving_before_anything_was_communicated_is_no_failure() {
    for ranks in [1, 3] {
        let ended = run(life("exit-before", ranks));
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        assert_eq!(ended.reports(), 0, "{}", ended.text());
    }
    let ended = run(life("exit-after", 2));
    assert_eq!(ended.code, Some(1), "{}", ended.text());
    ended.assert_says(&["left with exit code 0 before MPI was finalized"]);
}

#[test]
fn help_and_complaints_about_arguments_are_printed_once() {
    for mode in ["arguments", "arguments-before"] {
        for ranks in [1, 3] {
            let ended = run(life(mode, ranks).arg("--help"));
            assert_eq!(ended.code, Some(0), "{mode}: {}", ended.text());
            assert_eq!(ended.stdout, "Usage: life STEPS\n", "{mode}: {}", ended.text());
            assert_eq!(ended.reports(), 0, "{mode}: {}", ended.text());

            let ended = run(life(mode, ranks).arg("many"));
            assert_eq!(ended.code, Some(2), "{mode}: {}", ended.text());
            let told = ended.stderr.matches("error: invalid value 'many'").count();
            assert_eq!((told, ended.reports()), (1, 0), "{mode}: {}", ended.text());

            let ended = run(life(mode, ranks).arg("7"));
            assert_eq!(ended.code, Some(0), "{mode}: {}", ended.text());
            assert_eq!(ended.stdout.matches("7 steps\n").count(), ranks, "{}", ended.text());
        }
    }
}

#[test]
fn a_receive_that_is_dropped_takes_no_message_or_says_which() {
    for wait in ["library", "poll"] {
        let ended = run(life("dropped-receives", 2).env("PHALANX_WAIT", wait));
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        let gone: Vec<&str> =
            ended.stdout.lines().filter_map(|line| line.strip_prefix("taken at ")).collect();
        let told: Vec<&str> =
            ended.stderr.lines().filter(|it| it.contains("took a message")).collect();
        assert_eq!(told.len(), gone.len(), "{}", ended.text());
        for (told, line) in told.into_iter().zip(gone) {
            for part in ["of 3 bytes from rank", "tag 3", line] {
                assert!(told.contains(part), "{told}");
            }
        }
        assert!(!ended.stderr.contains("never received"), "{}", ended.text());
        assert_eq!(ended.stderr.matches("it was cancelled").count(), 6 - gone_of(&ended));
    }
}

#[test]
fn a_receive_of_an_object_that_is_dropped_takes_no_message_or_says_which() {
    let settings =
        [("PHALANX_WAIT", "library"), ("PHALANX_WAIT", "poll"), ("PHALANX_WATCH", "strict")];
    for (variable, value) in settings {
        let ended = run(life("dropped-objects", 2).env(variable, value));
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        let notes = || ended.stderr.lines().filter(|it| it.contains("took a message of"));
        let no_objects = ended.stdout.matches("of another kind").count();
        let taken = gone_of(&ended) + no_objects;
        assert_eq!(notes().count(), taken, "{}", ended.text());
        assert_eq!(ended.stderr.matches("of another kind").count(), no_objects, "{}", ended.text());
        for gone in ended.stdout.lines().filter_map(|line| line.strip_prefix("taken at ")) {
            let (place, letters) = gone.split_once(' ').expect("a place and a number");
            let letters = letters.trim_end_matches(" letters").parse::<usize>().expect("a number");
            let is_it = |note: &&str| {
                let (_, rest) = note.split_once("took a message of ").expect("as above");
                let bytes = rest.split(' ').next().and_then(|it| it.parse::<usize>().ok());
                note.contains(place)
                    && bytes.is_some_and(|bytes| (letters..letters + 200).contains(&bytes))
            };
            assert!(notes().any(|note| is_it(&note)), "{gone}: {}", ended.text());
        }
        let cancelled = ended.stderr.matches("it was cancelled").count();
        assert_eq!(cancelled, 8 - taken, "{}", ended.text());
        assert!(!ended.stderr.contains("never received"), "{}", ended.text());
    }
}

#[test]
fn a_job_ends_although_the_rest_of_an_object_is_never_received() {
    for watch in ["on", "strict", "off"] {
        let ended = run(life("received-typed", 2).env("PHALANX_WATCH", watch));
        assert_eq!(ended.code, Some(0), "{watch}: {}", ended.text());
        if watch == "off" {
            ended.assert_says(&["send_object to rank 1 were never received", "life.rs:"]);
        }
    }
}

#[test]
fn the_destructor_of_a_thread_local_value_may_send_and_receive_objects() {
    let ended = run(life("objects-in-a-destructor", 2));
    assert_eq!(ended.code, Some(0), "{}", ended.text());
}

#[test]
fn a_receive_that_was_cancelled_is_not_said_to_be_dropped() {
    let ended = run(life("too-long-to-cancel", 2).env("PHALANX_WATCH", "strict"));
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    assert!(!ended.stderr.contains("dropped"), "{}", ended.text());
}

/// How many messages were taken by receives that had been dropped.
fn gone_of(ended: &Ended) -> usize {
    ended.stdout.matches("taken at ").count()
}

#[test]
fn the_watch_proves_a_deadlock_after_calls_that_were_refused() {
    let ended = run(life("refused-then-stuck", 2).env("PHALANX_WATCH_AFTER", "1s"));
    assert_eq!(ended.code, Some(86), "{}", ended.text());
    ended.assert_says(&["deadlock (proved)", "programs/life.rs:"]);
}

#[test]
fn who_runs_alone_or_has_not_started_is_told_what_to_do() {
    let output = Command::new(LIFE).arg("no-such-rank").output().expect("a process");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["destination 1", "runs on one rank", "cargo phalanx run", "mpirun -n"] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    let output = Command::new(LIFE).arg("before-run").output().expect("a process");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("#[phalanx::main]") && text.contains("phalanx::run"), "{text}");
}

#[test]
fn where_communicators_run_out_the_error_names_free() {
    if !is_mpich() {
        println!("not tested: this MPI has room for more communicators");
        return;
    }
    let ended = run(life("many-communicators", 1));
    let told = ended.stdout.contains("not limited") || ended.stdout.contains("`free()`");
    assert!(told, "{}", ended.text());
}

/// Which requests complete first, where all are complete whenever one is asked for.
fn takes_turns(world: &Comm) -> Result<()> {
    for by_waiting in [true, false] {
        let mut set = RequestSet::new();
        for _ in 0..3 {
            set.push(world.isend([0_u8; 1], None)?);
        }
        let mut indices = Vec::new();
        for round in 0..6 {
            let found = if by_waiting { set.wait_any()? } else { set.test_any()? };
            // Another one takes its place, at the end.
            indices.push(found.expect("all are complete").0);
            assert_eq!(set.push(world.isend([0_u8; 1], None)?), 3 + round);
        }
        assert_eq!(indices, [0, 1, 2, 3, 4, 5]);
        // The turn is behind the last one that was found, and comes round again.
        let mut set = RequestSet::new();
        let me = world.rank();
        let late = world.irecv_into([0_u8; 1], from(me).tag(1))?.map(|(buffer, _)| buffer);
        set.push(late);
        set.push(world.isend([0_u8; 1], None)?);
        set.push(world.isend([0_u8; 1], None)?);
        assert_eq!(set.wait_any()?.expect("one is complete").0, 1);
        world.send(&[9_u8; 1], to(me).tag(1))?;
        assert_eq!(set.wait_any()?.expect("one is complete").0, 2);
        assert_eq!(set.wait_any()?.expect("the message is here"), (0, [9]));
        assert!(set.wait_any()?.is_none());
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2], env("PHALANX_WAIT" = "poll"))]
fn requests_that_are_polled_take_turns(world: Comm) -> Result<()> {
    takes_turns(&world)
}

#[phalanx::test(ranks = [1, 2], env("PHALANX_WAIT" = "library"))]
fn requests_that_the_library_waits_for_take_turns(world: Comm) -> Result<()> {
    takes_turns(&world)
}

/// The memory of requests, as a model without MPI, under Miri where that is installed.
#[test]
fn the_memory_of_requests_satisfies_miri() {
    let has_miri = Command::new("cargo")
        .args(["+nightly", "miri", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_miri {
        println!("skipped: `cargo +nightly miri` is not installed");
        return;
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let target = format!("{root}/target/miri");
    let output = Command::new("cargo")
        .args(["+nightly", "miri", "test", "-p", "phalanx", "--lib", "request::stable"])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", target)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
}

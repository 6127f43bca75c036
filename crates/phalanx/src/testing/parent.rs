//! The side of a test that `cargo test` runs.

use std::env;
use std::ffi::OsString;
use std::panic;
use std::sync::OnceLock;

use phalanx_launch::{Finished, Job, Launcher, Mpi, Output};

use super::folder::Folder;
use super::lifeline::Lives;
use super::record::Record;
use super::report::{Rank, Report};
use super::{Test, folder, rank};

/// After how long a rank that does not move is looked at.
const WATCH_AFTER: &str = "PHALANX_WATCH_AFTER";

/// Slow runs (valgrind, sanitizers, busy machines) get more time through this.
const TIME_FACTOR: &str = "PHALANX_TEST_TIME_FACTOR";

/// Starts the ranks, waits for them, reports.
#[track_caller]
pub(super) fn run(test: &Test<'_>, arguments: Vec<OsString>) {
    let report = match attempt(test, arguments) {
        Ok(report) => report,
        Err(why) => panic!("the test could not be started on {} ranks: {why}", test.ranks),
    };
    match report.failure() {
        None => print!("{}", report.outputs()),
        Some(failure) => {
            eprintln!("{report}");
            // Not `panic!`: its message would name this line and not the one of the rank.
            panic::resume_unwind(Box::new(failure));
        }
    }
}

fn attempt(test: &Test<'_>, arguments: Vec<OsString>) -> Result<Report, String> {
    let launcher = launcher()?;
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let folder = Folder::new()?;
    let lives = Lives::watch(folder.path(), test.ranks)
        .map_err(|error| format!("no socket in {}: {error}", folder.path().display()))?;

    let timeout = test.timeout.mul_f64(time_factor());
    let mut job = Job::new(program)
        .launcher(launcher.clone())
        .ranks(test.ranks)
        .args(arguments)
        .env(rank::NAME, test.name)
        .env(rank::FOLDER, folder.path())
        .env(rank::TIME, timeout.as_millis().to_string())
        .timeout(timeout)
        .output(Output::Capture)
        .share_cores(true);
    // A test that hangs should be explained before its time is over.
    if env::var_os(WATCH_AFTER).is_none() {
        job = job.env(WATCH_AFTER, format!("{}ms", timeout.as_millis() / 3));
    }
    for (name, value) in test.environment {
        job = job.env(name, value);
    }
    let mut running = job.start().map_err(|error| error.to_string())?;
    let in_time = running.wait();
    let at_time_out = (!in_time).then(|| lives.now());
    let finished = running.finish();
    let lives_at_end = lives.after_the_end();

    let ranks = (0..test.ranks)
        .map(|rank| Rank {
            started: lives_at_end[rank].started,
            ended: lives_at_end[rank].ended,
            running_at_time_out: at_time_out
                .as_ref()
                .is_some_and(|lives| lives[rank].started && lives[rank].ended.is_none()),
            record: Record::read(folder.path(), rank),
            output: std::fs::read(folder::output(folder.path(), rank)).unwrap_or_default(),
        })
        .collect();
    Ok(Report {
        name: test.name.to_owned(),
        timeout,
        timed_out: finished.timed_out,
        launcher: launcher.to_string(),
        launcher_status: finished.status,
        launcher_output: launcher_output(&finished),
        survivors: finished.survivors,
        ranks,
    })
}

/// The launcher for this test program: found once, as every test of it has the same.
fn launcher() -> Result<&'static Launcher, String> {
    static LAUNCHER: OnceLock<Result<Launcher, String>> = OnceLock::new();
    LAUNCHER
        .get_or_init(|| {
            Mpi::of_current_process()
                .and_then(|mpi| Launcher::of(&mpi))
                .map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(Clone::clone)
}

fn time_factor() -> f64 {
    let text = env::var(TIME_FACTOR).ok();
    let factor = text.and_then(|text| text.trim().parse::<f64>().ok());
    factor.filter(|factor| (0.01..=1000.0).contains(factor)).unwrap_or(1.0)
}

fn launcher_output(finished: &Finished) -> Vec<u8> {
    [finished.stdout.as_slice(), &finished.stderr].concat()
}

//! Starts the jobs, several at a time.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use phalanx_launch::{CoreTokens, Job, Output, cores};
use phalanx_tests::watch_row::Row;
use serde::Serialize;

use crate::judge::{self, Mode, Seen, Verdict};

/// By how much longer everything takes on a busy machine.
fn time_factor() -> u32 {
    let factor = std::env::var("PHALANX_TEST_TIME_FACTOR").ok().and_then(|it| it.parse().ok());
    factor.unwrap_or(1).max(1)
}

/// After how long without a movement the watch warns. A correct program has none for long, except where
/// others have all the cores.
pub fn watch_after(correct: bool) -> String {
    format!("{}s", if correct { time_factor() } else { 1 })
}

/// Delays that are tried before a race counts as missed.
const SEEDS: u32 = 12;

/// What came of one program.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub name: String,
    pub class: String,
    pub ranks: usize,
    pub mode: Mode,
    /// Whether it is the correct twin.
    pub correct: bool,
    pub verdict: Verdict,
    /// Of the delays, where there were any.
    pub seed: Option<u32>,
    pub seconds: f64,
    #[serde(flatten)]
    pub seen: Seen,
    pub expected: Vec<String>,
}

struct Task<'a> {
    row: &'a Row,
    mode: Mode,
    correct: bool,
}

/// Runs each program and its twin in each mode. The order of the results is that of the rows.
pub fn all(
    program: &Path,
    rows: &[Row],
    modes: &[Mode],
    at_a_time: usize,
    limit: Duration,
) -> Result<Vec<Outcome>, String> {
    let tasks: Vec<Task<'_>> = rows
        .iter()
        .flat_map(|row| modes.iter().map(move |&mode| (row, mode)))
        .flat_map(|(row, mode)| [false, true].map(|correct| Task { row, mode, correct }))
        .collect();
    let progress = ProgressBar::new(tasks.len() as u64);
    let style = "{bar:30} {pos} of {len}, {eta} left  {msg}";
    progress.set_style(ProgressStyle::with_template(style).map_err(|error| error.to_string())?);
    progress.enable_steady_tick(Duration::from_millis(500));

    let (next, lease) = (AtomicUsize::new(0), Lease::default());
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(index) else { return Ok(done) };
            progress.set_message(task.row.name.clone());
            let outcome = task.run(program, limit, &lease).inspect_err(|_| {
                // The others need not go on.
                next.store(tasks.len(), Ordering::Relaxed);
            })?;
            done.push((index, outcome));
            progress.inc(1);
        }
    };
    let parts: Vec<Result<Vec<_>, String>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(worker)).collect();
        let join =
            |it: thread::ScopedJoinHandle<'_, _>| it.join().expect("a worker that ends well");
        workers.into_iter().map(join).collect()
    });
    progress.finish_and_clear();
    let mut done: Vec<(usize, Outcome)> =
        parts.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, outcome)| outcome).collect())
}

/// How often a job is started again whose launcher has not come up.
const TRIES_OF_LAUNCHER: usize = 3;

impl Task<'_> {
    fn run(&self, program: &Path, limit: Duration, lease: &Lease) -> Result<Outcome, String> {
        let seeds = match (self.row.depends_on_timing, self.correct) {
            (false, _) => vec![None],
            (true, true) => vec![Some(1)],
            (true, false) => (1..=SEEDS).map(Some).collect(),
        };
        let mut last = None;
        for seed in seeds {
            let mut outcome = self.try_once(program, limit, lease, seed)?;
            // Two launchers that start at the same moment may make their folder at the same moment.
            for _ in 0..TRIES_OF_LAUNCHER {
                if !outcome.seen.stderr.contains("orte_session_dir failed") {
                    break;
                }
                outcome = self.try_once(program, limit, lease, seed)?;
            }
            let found = outcome.verdict.is_good();
            last = Some(outcome);
            if found {
                break;
            }
        }
        let mut last = last.ok_or_else(|| "there are no seeds".to_owned())?;
        // Messages came in the right order each time: there was nothing to explain.
        let ran_through = last.seen.exit_code == Some(0) && !last.seen.hung;
        let depends = self.row.depends_on_timing && self.mode == Mode::Default;
        if depends && last.verdict == Verdict::Missed && ran_through {
            last.verdict = Verdict::Harmless;
        }
        Ok(last)
    }

    fn try_once(
        &self,
        program: &Path,
        limit: Duration,
        lease: &Lease,
        seed: Option<u32>,
    ) -> Result<Outcome, String> {
        let Task { row, mode, correct } = *self;
        let mut job = Job::new(program)
            .ranks(row.ranks)
            .arg(&row.name)
            .args(correct.then_some("--correct"))
            .env("PHALANX_WATCH", if mode == Mode::Strict { "strict" } else { "on" })
            .env("PHALANX_WATCH_AFTER", watch_after(correct))
            .env("RUST_BACKTRACE", "0")
            // Ranks that hang leave the cores to those of other jobs. Only Open MPI reads it.
            .env("OMPI_MCA_mpi_yield_when_idle", "1")
            .output(Output::Capture)
            .timeout(limit * time_factor())
            .share_held_cores(lease.cores()?);
        if let Some(seed) = seed {
            job = job.env("PHALANX_WATCH_DELAY", seed.to_string());
        }
        let finished = job.run().map_err(|error| error.to_string())?;
        let seen = Seen {
            exit_code: finished
                .status
                .filter(|_| !finished.timed_out)
                .and_then(|status| status.code()),
            hung: finished.timed_out,
            stderr: String::from_utf8_lossy(&finished.stderr).into_owned(),
        };
        let verdict = match correct {
            true => judge::correct(&seen),
            false => judge::faulty(row, mode, &seen),
        };
        Ok(Outcome {
            name: row.name.clone(),
            class: row.class.clone(),
            ranks: row.ranks,
            mode,
            correct,
            verdict,
            seed,
            seconds: finished.elapsed.as_secs_f64(),
            seen,
            expected: if correct {
                Vec::new()
            } else {
                row.expected(mode == Mode::Strict).0.to_vec()
            },
        })
    }
}

/// All cores of the machine, which the jobs share: they mostly wait. Given back now and then, so
/// that jobs of others get their turn.
#[derive(Default)]
struct Lease(Mutex<Option<(Weak<CoreTokens>, Instant)>>);

const TERM: Duration = Duration::from_secs(10);

impl Lease {
    fn cores(&self) -> Result<Arc<CoreTokens>, String> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((tokens, since)) = &*current {
            if since.elapsed() < TERM
                && let Some(tokens) = tokens.upgrade()
            {
                return Ok(tokens);
            }
            // Whoever runs still has a part in them.
            while tokens.strong_count() > 0 {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let tokens = Arc::new(CoreTokens::acquire(cores()));
        *current = Some((Arc::downgrade(&tokens), Instant::now()));
        Ok(tokens)
    }
}

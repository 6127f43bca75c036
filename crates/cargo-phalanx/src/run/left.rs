//! Ranks that have exited while others still run, which may wait for them forever.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use phalanx_launch::RunningJob;

use crate::print;

const EVERY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

/// Periodically counts the ranks that still run, and tells once that some have exited.
pub struct Left {
    program: PathBuf,
    ranks: usize,
    next: Instant,
    /// Since when there are less ranks than there should be.
    since: Option<Instant>,
    is_told: bool,
}

impl Left {
    /// For a job whose ranks are all on this host.
    pub fn new(program: &Path, ranks: usize) -> Left {
        let program = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
        Left { program, ranks, next: Instant::now() + EVERY, since: None, is_told: false }
    }

    pub fn look(&mut self, job: &RunningJob) {
        if self.is_told || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + EVERY;
        let is_rank = |pid: &u32| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program == self.program)
        };
        let there = job.process_ids().iter().filter(|pid| is_rank(pid)).count();
        // Without any the job is over, or what runs are scripts.
        if there == 0 || there >= self.ranks {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE {
            self.is_told = true;
            let (gone, ranks) = (self.ranks - there, self.ranks);
            print::note(format!(
                "phalanx: {gone} of {ranks} ranks exited more than {} s ago, the others still run: if they wait for \
                 them, end the job with Ctrl-C; --timeout sets a time limit",
                PATIENCE.as_secs()
            ));
        }
    }
}

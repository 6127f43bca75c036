//! Ranks that have left while others still run, who may wait for them for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use phalanx_launch::RunningJob;

use crate::print;

const EVERY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks now and then how many ranks there are, and says once that some have left.
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
                "phalanx: {gone} of {ranks} ranks left more than {} s ago, the others still run: if they wait for \
                 them, Ctrl-C ends the job, and --timeout does so by itself",
                PATIENCE.as_secs()
            ));
        }
    }
}

//! The side of a test that runs on every rank.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::time::Duration;

use super::record::{Record, Verdict};
use super::{folder, lifeline, stdio};
use crate::comm::Comm;
use crate::world::{self, FailureKind, Outcome, Threading};

pub(super) const NAME: &str = "PHALANX_TEST_NAME";
pub(super) const FOLDER: &str = "PHALANX_TEST_FOLDER";
pub(super) const TIME: &str = "PHALANX_TEST_MILLISECONDS";

/// How much longer than its parent a rank waits before it ends itself.
const GRACE: Duration = Duration::from_secs(20);

/// Variables in which launchers number their processes.
const RANK_VARIABLES: [&str; 5] =
    ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID"];

/// What a process that is a rank of a test needs to know.
pub(super) struct Role {
    folder: PathBuf,
    rank: usize,
    time: Duration,
}

impl Role {
    /// The role of this process, if it is a rank of the test of this name.
    pub(super) fn of(name: &str) -> Option<Role> {
        if env::var(NAME).ok()? != name {
            return None;
        }
        let folder = PathBuf::from(env::var_os(FOLDER)?);
        let time = Duration::from_millis(env::var(TIME).ok()?.parse().ok()?);
        let rank = RANK_VARIABLES.iter().find_map(|name| env::var(name).ok()?.parse().ok())?;
        Some(Role { folder, rank, time })
    }

    /// Whether this process is a rank, but of another test than the one that is asking.
    pub(super) fn is_of_another_call() -> bool {
        env::var_os(NAME).is_some()
    }

    /// Runs the body and leaves the process.
    #[track_caller]
    pub(super) fn play<R: Outcome>(self, level: Threading, body: impl FnOnce(Comm) -> R) -> ! {
        if let Err(error) = self.prepare() {
            eprintln!("error: rank {} cannot report to its test: {error}", self.rank);
            process::exit(1);
        }
        let code = world::run_with(level, body);
        let passed = code == ExitCode::SUCCESS;
        let record = if passed {
            Record::new(Verdict::Passed, None, String::new())
        } else {
            Record::new(Verdict::Failed, None, "returned an exit code other than 0".into())
        };
        let written = record.write(&self.folder, self.rank);
        process::exit(if passed && written.is_ok() { 0 } else { 1 })
    }

    fn prepare(&self) -> io::Result<()> {
        stdio::redirect(&folder::output(&self.folder, self.rank))?;
        lifeline::tie(&self.folder, self.rank, self.time + GRACE)?;
        let (folder, rank) = (self.folder.clone(), self.rank);
        world::set_failure_observer(Box::new(move |failure| {
            let verdict = match failure.kind {
                FailureKind::Panic => Verdict::Panicked,
                FailureKind::Error => Verdict::Failed,
            };
            let record = Record::new(verdict, failure.location.clone(), failure.message.clone());
            // Without a record the parent still sees that this rank died.
            let _ = record.write(&folder, rank);
            let _ = io::stdout().flush();
        }));
        Ok(())
    }
}

//! Jobs that are started in unusual places.

use std::time::Duration;

use phalanx_launch::{Job, Output};

const STARTS_JOBS: &str = env!("CARGO_BIN_EXE_starts_jobs");

#[test]
fn each_rank_of_a_job_can_start_a_job() {
    for (outer, inner) in [(1, 2), (2, 2), (3, 1)] {
        let job = Job::new(STARTS_JOBS).ranks(outer).arg(inner.to_string());
        let job = job.output(Output::Capture).timeout(Duration::from_secs(600));
        let finished = job.share_cores(true).run().expect("the outer job starts");
        let text = String::from_utf8_lossy(&finished.stdout);
        let error = String::from_utf8_lossy(&finished.stderr);
        assert!(finished.success(), "{outer} ranks that each start {inner}: {text}{error}");
        let of_inner: Vec<String> = (0..inner).map(|rank| format!("{rank} of {inner}")).collect();
        for rank in 0..outer {
            let line = format!("rank {rank} has: {}", of_inner.join(", "));
            assert!(text.lines().any(|it| it == line), "no `{line}` in: {text}{error}");
        }
    }
}

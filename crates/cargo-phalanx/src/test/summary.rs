//! How many tests passed on how many ranks, read from what libtest prints.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by number of ranks; 0 for tests that have none.
#[derive(Debug, Default)]
pub struct Summary {
    counts: BTreeMap<usize, Counts>,
    failed: Vec<String>,
    broken: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Summary {
    /// Takes a line such as `test sums::ranks_4 ... ok`.
    pub fn read(&mut self, line: &str) {
        let Some((name, result)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        let name = name.trim_end_matches(" - should panic");
        let counts = self.counts.entry(ranks_of(name).unwrap_or(0)).or_default();
        let result = result.trim();
        if result == "ok" || result.starts_with("ok ") {
            counts.passed += 1;
        } else if result.starts_with("FAILED") {
            counts.failed += 1;
            self.failed.push(name.to_owned());
        } else if result.starts_with("ignored") {
            counts.ignored += 1;
        }
    }

    /// A run of tests is over.
    pub fn end(&mut self, success: bool) {
        self.broken |= !success;
    }

    pub fn passed(&self) -> bool {
        !self.broken && self.failed.is_empty()
    }
}

/// The number of ranks in the name of a test.
pub fn ranks_of(name: &str) -> Option<usize> {
    name.rsplit("::").next()?.strip_prefix("ranks_")?.parse().ok()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>8} {:>8} {:>8} {:>8}", "ranks", "passed", "failed", "ignored")?;
        let (without, with): (Vec<_>, Vec<_>) =
            self.counts.iter().partition(|(ranks, _)| **ranks == 0);
        for (ranks, counts) in with.into_iter().chain(without) {
            let ranks = if *ranks == 0 { "none".to_owned() } else { ranks.to_string() };
            let Counts { passed, failed, ignored } = counts;
            writeln!(f, "{ranks:>8} {passed:>8} {failed:>8} {ignored:>8}")?;
        }
        for name in &self.failed {
            writeln!(f, "failed: {name}")?;
        }
        if self.broken && self.failed.is_empty() {
            writeln!(f, "not all could be built or run: see above")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_libtest_are_counted_by_ranks() {
        let mut summary = Summary::default();
        for line in [
            "running 7 tests",
            "test sums::ranks_1 ... ok",
            "test sums::ranks_12 ... ok",
            "test deep::sums::ranks_12 ... FAILED",
            "test sums::ranks_2 - should panic ... ok",
            "test slow::ranks_2 ... ignored, takes minutes",
            "test alone ... ok",
            "test src/lib.rs - f (line 3) ... ok",
            "test result: FAILED. 5 passed; 1 failed; 1 ignored",
            "some text ... ok",
        ] {
            summary.read(line);
        }
        summary.end(false);
        assert_eq!(summary.counts[&1], Counts { passed: 1, ..Counts::default() });
        assert_eq!(summary.counts[&2], Counts { passed: 1, ignored: 1, failed: 0 });
        assert_eq!(summary.counts[&12], Counts { passed: 1, failed: 1, ignored: 0 });
        assert_eq!(summary.counts[&0].passed, 2);
        assert!(!summary.passed());
        let text = summary.to_string();
        assert!(text.contains("failed: deep::sums::ranks_12"), "{text}");
        assert!(text.lines().nth(4).unwrap().trim_start().starts_with("none"), "{text}");
    }
}

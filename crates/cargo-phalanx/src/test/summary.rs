//! How many tests passed on how many ranks, read from what libtest prints.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Counts by number of ranks; 0 for tests that have none.
///
/// Lines of single tests tell the number of ranks, but may be torn by what tests print, or left out (`-q`). The
/// sums at the end of each program are what counts.
#[derive(Debug, Default)]
pub struct Summary {
    counts: BTreeMap<usize, Counts>,
    sums: Counts,
    /// Test programs that have begun to run tests.
    programs: usize,
    failed: BTreeSet<String>,
    /// Whether the names of failed tests come now.
    naming: bool,
    broken: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Summary {
    /// Takes a line of libtest, such as `test sums::ranks_4 ... ok`.
    pub fn read(&mut self, line: &str) {
        if let Some(sums) = line.strip_prefix("test result: ") {
            self.naming = false;
            let number = |what: &str| -> usize {
                let before = sums.split(what).next().unwrap_or_default();
                before.trim_end().rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
            };
            self.sums.passed += number(" passed");
            self.sums.failed += number(" failed");
            self.sums.ignored += number(" ignored");
        } else if line.starts_with("running ") && line.trim_end().ends_with(" tests")
            || line.trim_end() == "running 1 test"
        {
            self.programs += 1;
        } else if line == "failures:" {
            self.naming = true;
        } else if let (true, Some(name)) = (self.naming, line.strip_prefix("    ")) {
            // What failed tests have printed comes between two such lists.
            if !name.contains(char::is_whitespace) || name.contains(" - ") {
                self.failed.insert(name.to_owned());
            }
        } else if !line.is_empty() {
            self.naming = false;
            self.read_test(line);
        }
    }

    fn read_test(&mut self, line: &str) {
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
            self.failed.insert(name.to_owned());
        } else if result.starts_with("ignored") {
            counts.ignored += 1;
        }
    }

    /// A run of tests is over.
    pub fn end(&mut self, success: bool) {
        self.broken |= !success;
    }

    pub fn passed(&self) -> bool {
        !self.broken && self.sums.failed == 0
    }

    /// Whether tests were run at all: with `--list` none are.
    pub fn has_run(&self) -> bool {
        self.programs > 0
    }

    /// Whether there was no test to run.
    pub fn is_empty(&self) -> bool {
        self.sums == Counts::default()
    }

    /// Tests whose own lines were not understood.
    fn rest(&self) -> Counts {
        let told = |count: fn(&Counts) -> usize| self.counts.values().map(count).sum::<usize>();
        Counts {
            passed: self.sums.passed.saturating_sub(told(|it| it.passed)),
            failed: self.sums.failed.saturating_sub(told(|it| it.failed)),
            ignored: self.sums.ignored.saturating_sub(told(|it| it.ignored)),
        }
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
        let mut row = |ranks: &str, counts: &Counts| {
            let Counts { passed, failed, ignored } = counts;
            writeln!(f, "{ranks:>8} {passed:>8} {failed:>8} {ignored:>8}")
        };
        for (ranks, counts) in with.into_iter().chain(without) {
            row(&if *ranks == 0 { "none".to_owned() } else { ranks.to_string() }, counts)?;
        }
        let rest = self.rest();
        if rest != Counts::default() {
            row("?", &rest)?;
        }
        for name in &self.failed {
            writeln!(f, "failed: {name}")?;
        }
        if self.is_empty() {
            writeln!(f, "there was no test to run")?;
        } else if self.broken && self.failed.is_empty() {
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
            "",
            "failures:",
            "",
            "---- deep::sums::ranks_12 stdout ----",
            "    some words",
            "",
            "failures:",
            "    deep::sums::ranks_12",
            "",
            "test result: FAILED. 5 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out",
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
        assert!(!text.contains('?') && summary.has_run() && !summary.is_empty(), "{text}");
        assert_eq!(summary.failed.len(), 1, "{text}");
    }

    #[test]
    fn tests_whose_lines_are_torn_or_left_out_count_too() {
        let read = |lines: &[&str]| {
            let mut summary = Summary::default();
            lines.iter().for_each(|line| summary.read(line));
            summary
        };
        let torn = read(&[
            "running 2 tests",
            "test a::ranks_2 ... something printed",
            "ok",
            "test b::ranks_2 ... FAILED",
            "failures:",
            "    b::ranks_2",
            "    c::ranks_3",
            "",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured",
        ]);
        assert_eq!(torn.rest(), Counts { passed: 1, failed: 1, ignored: 0 });
        let text = torn.to_string();
        assert!(text.contains("failed: c::ranks_3") && text.contains('?'), "{text}");
        let quiet =
            read(&["running 3 tests", "...", "test result: ok. 3 passed; 0 failed; 0 ignored"]);
        assert_eq!(quiet.rest().passed, 3);
        assert!(quiet.passed() && !quiet.is_empty());
        let nothing =
            read(&["running 0 tests", "", "test result: ok. 0 passed; 0 failed; 0 ignored"]);
        assert!(nothing.has_run() && nothing.is_empty());
        assert!(!read(&["a: test", "", "1 test, 0 benchmarks"]).has_run());
    }
}

use std::fmt::{self, Write as _};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use phalanx_launch::{EndOfJob, without_banners};

use super::record::{Record, Verdict};

/// Output of one process beyond this is cut in its middle.
const LONGEST_OUTPUT: usize = 32 * 1024;

/// All that is known about a test that ran.
pub(super) struct Report {
    pub(super) name: String,
    pub(super) timeout: Duration,
    pub(super) timed_out: bool,
    pub(super) launcher: String,
    pub(super) launcher_status: Option<ExitStatus>,
    pub(super) launcher_output: Vec<u8>,
    pub(super) survivors: Vec<u32>,
    pub(super) ranks: Vec<Rank>,
}

/// A part of what a rank wrote.
#[derive(Default)]
struct OwnReport {
    /// All of it.
    shown: String,
    /// What is in no record.
    details: String,
}

/// All that is known about one rank of it.
pub(super) struct Rank {
    pub(super) started: bool,
    pub(super) ended: Option<Duration>,
    pub(super) running_at_time_out: bool,
    pub(super) record: Option<Record>,
    pub(super) output: Vec<u8>,
}

impl Rank {
    fn passed(&self) -> bool {
        self.failure().is_none() && self.record.is_some()
    }

    fn failure(&self) -> Option<&Record> {
        self.record.as_ref().filter(|record| record.verdict != Verdict::Passed)
    }

    /// When it failed: by its own record, or else when it died without one.
    fn failed_at(&self, timed_out: bool) -> Option<Duration> {
        match &self.record {
            Some(_) => self.failure().map(|record| record.at),
            None if timed_out && self.running_at_time_out => None,
            None => self.ended,
        }
    }
}

impl Report {
    /// What went wrong, in a few lines that begin with the rank that failed first; `None` when the
    /// test passed.
    pub(super) fn failure(&self) -> Option<String> {
        let size = self.ranks.len();
        let wait_is_over = self.timed_out.then(|| format!("timed out after {:?}", self.timeout));
        if let Some(first) = self.first_failing() {
            let rank = &self.ranks[first];
            let mut text = format!("rank {first} of {size} {}", what_happened(rank));
            if let Some(record) = rank.failure() {
                indent(&mut text, &record.message);
            } else if let Some(status) = self.launcher_status {
                let _ = write!(text, " ({} ended with {status})", self.launcher);
            }
            if let Some(over) = wait_is_over {
                let _ = write!(text, "\nand the test {over}");
            }
            return Some(text);
        }
        if let Some(over) = wait_is_over {
            let running = self.numbers(|rank| rank.running_at_time_out);
            let missing = self.numbers(|rank| !rank.started);
            let mut text = format!("{over}: ");
            text.push_str(&match (running.as_str(), missing.as_str()) {
                ("", "") => "every rank had passed, but the launcher did not end".to_owned(),
                ("", missing) => format!("{missing} never started"),
                (running, "") => format!("{running} still running"),
                (running, missing) => format!("{running} still running, {missing} never started"),
            });
            return Some(text);
        }
        let missing = self.numbers(|rank| !rank.started);
        if !missing.is_empty() {
            let mut text = format!("{missing} of {size} never started");
            if contains(&self.launcher_output, "running 0 tests") {
                let _ = write!(text, ": the test program has no test `{}`", self.name);
            } else if let Some(status) = self.launcher_status {
                let _ = write!(text, " ({} ended with {status})", self.launcher);
            }
            return Some(text);
        }
        if !self.launcher_status.is_some_and(|status| status.success()) {
            let status = self.launcher_status.map_or("nothing".to_owned(), |it| it.to_string());
            return Some(format!(
                "the test passed on every rank, but {} ended with {status}: something failed \
                 after MPI_Finalize",
                self.launcher
            ));
        }
        None
    }

    fn first_failing(&self) -> Option<usize> {
        let failed = |rank: usize| self.ranks[rank].failed_at(self.timed_out);
        (0..self.ranks.len())
            .filter(|&rank| failed(rank).is_some())
            .min_by_key(|&rank| failed(rank))
    }

    /// The ranks that something holds for, as words.
    fn numbers(&self, holds: impl Fn(&Rank) -> bool) -> String {
        let chosen: Vec<usize> =
            (0..self.ranks.len()).filter(|&rank| holds(&self.ranks[rank])).collect();
        let texts: Vec<String> = chosen.iter().map(usize::to_string).collect();
        match texts.as_slice() {
            [] => String::new(),
            [one] => format!("rank {one}"),
            [first @ .., last] => format!("ranks {} and {last}", first.join(", ")),
        }
    }

    /// One line about a rank.
    fn line(&self, number: usize, first: Option<usize>) -> String {
        let rank = &self.ranks[number];
        if rank.passed() {
            return "passed".to_owned();
        }
        if let Some(record) = rank.failure() {
            let message = record.message.lines().next().unwrap_or_default();
            let colon = if message.is_empty() { "" } else { ": " };
            return format!("{}{colon}{message}", what_happened(rank).trim_end_matches(':'));
        }
        match (first, rank.started) {
            (_, false) => "never started".to_owned(),
            (_, true) if rank.running_at_time_out => "still running at the time-out".to_owned(),
            (Some(first), true) if first != number => {
                format!("was ended because rank {first} failed")
            }
            _ => what_happened(rank),
        }
    }

    /// What the ranks wrote, the first that failed before the others.
    pub(super) fn outputs(&self) -> String {
        self.outputs_without("")
    }

    /// The same without a text that the first one wrote.
    fn outputs_without(&self, shown: &str) -> String {
        let first = self.first_failing();
        let others = (0..self.ranks.len()).filter(|&rank| Some(rank) != first);
        let mut text = String::new();
        for rank in first.into_iter().chain(others) {
            let output = &self.ranks[rank].output;
            let rest = (Some(rank) == first && !shown.is_empty())
                .then(|| String::from_utf8_lossy(output).replacen(shown, "", 1).into_bytes());
            let title = format!("output of rank {rank}");
            // MPICH has the rank itself say that it aborts.
            let words = without_banners(rest.as_deref().unwrap_or(output), &self.known());
            section(&mut text, &title, &words);
        }
        text
    }

    /// What the first rank that failed has said of that among its output: the same as its record, and more, such
    /// as its last MPI call.
    fn own_report(&self) -> Option<OwnReport> {
        let first = self.first_failing()?;
        let rank = &self.ranks[first];
        let record = rank.failure()?;
        let output = String::from_utf8_lossy(&rank.output);
        let head = format!("phalanx: rank {first} of {} on ", self.ranks.len());
        let mut lines = output.split_inclusive('\n').skip_while(|line| !line.starts_with(&head));
        let mut shown = match lines.next() {
            Some(line) => line.to_owned(),
            // What the watch says stands there as it is in the record.
            None => {
                let message = format!("{}\n", record.message.trim_end());
                let is_there = !record.message.is_empty() && output.contains(&message);
                return is_there.then(|| OwnReport { shown: message, details: String::new() });
            }
        };
        let mut indented = Vec::new();
        let mut rest = lines.peekable();
        while let Some(line) = rest.next_if(|line| line.starts_with("    ")) {
            shown += line;
            indented.push(line);
        }
        if let Some(line) = rest.next_if(|line| line.starts_with("phalanx: ending all ")) {
            shown += line;
        }
        let mut message = String::new();
        indent(&mut message, &record.message);
        let of_message = record.message.lines().count();
        // Somebody else may have written between the lines.
        let is_same = indented
            .iter()
            .take(of_message)
            .map(|line| line.trim_end())
            .eq(message.lines().skip(1).map(str::trim_end));
        let details = indented.iter().skip(of_message).copied().collect();
        is_same.then_some(OwnReport { shown, details })
    }

    /// What is known of the end of the job without the launcher.
    fn known(&self) -> Arc<EndOfJob> {
        let end = Arc::new(EndOfJob::default());
        for (number, _) in
            self.ranks.iter().enumerate().filter(|(_, rank)| rank.failure().is_some())
        {
            end.note_failure_of(number);
            end.note_report();
        }
        if self.timed_out {
            end.note_order();
        }
        end
    }

    /// What the launcher has said and nobody else.
    fn launcher_words(&self) -> Vec<u8> {
        let output = without_harness(&self.launcher_output, &self.name);
        without_banners(&output, &self.known())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = self.failure().unwrap_or("passed".to_owned());
        let own = self.own_report().unwrap_or_default();
        writeln!(f, "{}: {failure}\n{}", self.name, own.details)?;
        let first = self.first_failing();
        for rank in (0..self.ranks.len()).filter(|&rank| Some(rank) != first) {
            writeln!(f, "rank {rank}: {}", self.line(rank, first))?;
        }
        if !self.survivors.is_empty() {
            writeln!(f, "processes that could not be ended: {:?}", self.survivors)?;
        }
        let mut text = self.outputs_without(&own.shown);
        let title = format!("output of {}", self.launcher);
        section(&mut text, &title, &self.launcher_words());
        f.write_str(&text)
    }
}

fn what_happened(rank: &Rank) -> String {
    match rank.failure() {
        Some(record) => {
            let place = record.location.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
            let verb = if record.verdict == Verdict::Panicked { "panicked" } else { "failed" };
            format!("{verb}{place}:")
        }
        None => "was killed, or left the process before its test ended".to_owned(),
    }
}

fn indent(text: &mut String, message: &str) {
    for line in message.lines() {
        let _ = write!(text, "\n    {line}");
    }
}

fn section(text: &mut String, title: &str, output: &[u8]) {
    if output.trim_ascii().is_empty() {
        return;
    }
    let _ = writeln!(text, "--- {title} ---");
    if output.len() > LONGEST_OUTPUT {
        let (head, tail) =
            (&output[..LONGEST_OUTPUT / 2], &output[output.len() - LONGEST_OUTPUT / 2..]);
        let left_out = output.len() - LONGEST_OUTPUT;
        let (head, tail) = (String::from_utf8_lossy(head), String::from_utf8_lossy(tail));
        let _ = writeln!(text, "{head}\n[… {left_out} bytes left out …]\n{}", tail.trim_end());
    } else {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(output).trim_end());
    }
}

/// What the test harness of each rank says before the test begins is of no interest.
fn without_harness(output: &[u8], test: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(output).replace(&format!("test {test} ... "), "");
    let is_of_harness = |line: &str| line.trim_end() == "running 1 test";
    let kept = text.split_inclusive('\n').filter(|line| !is_of_harness(line));
    kept.collect::<String>().trim_start_matches('\n').as_bytes().to_owned()
}

fn contains(output: &[u8], part: &str) -> bool {
    String::from_utf8_lossy(output).contains(part)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn rank(record: Option<Record>, ended: u64) -> Rank {
        Rank {
            started: true,
            ended: Some(Duration::from_millis(ended)),
            running_at_time_out: false,
            record,
            output: Vec::new(),
        }
    }

    fn record(verdict: Verdict, at: u64, message: &str) -> Option<Record> {
        let location = (verdict == Verdict::Panicked).then(|| "tests/a.rs:7:5".to_owned());
        let at = Duration::from_millis(at);
        Some(Record { verdict, at, location, message: message.to_owned() })
    }

    fn report(ranks: Vec<Rank>, code: i32) -> Report {
        Report {
            name: "sum::ranks_3".to_owned(),
            timeout: Duration::from_secs(30),
            timed_out: false,
            launcher: "Open MPI 4.1.4".to_owned(),
            launcher_status: Some(ExitStatus::from_raw(code << 8)),
            launcher_output: b"\nrunning 1 test\ntest sum::ranks_3 ... mpirun noticed something\n"
                .to_vec(),
            survivors: Vec::new(),
            ranks,
        }
    }

    #[test]
    fn ranks_that_all_passed_are_a_test_that_passed_whatever_was_written() {
        let passed = || rank(record(Verdict::Passed, 1, ""), 2);
        assert_eq!(report(vec![passed(), passed()], 0).failure(), None);
        let failure = report(vec![passed(), passed()], 1).failure().unwrap();
        assert!(failure.contains("after MPI_Finalize"), "{failure}");
    }

    #[test]
    fn the_report_leads_with_the_rank_that_failed_first() {
        let mut ranks = vec![
            rank(record(Verdict::Failed, 20, "peer is gone"), 25),
            rank(None, 24),
            rank(record(Verdict::Panicked, 10, "left: 1\nright: 2"), 23),
            rank(record(Verdict::Passed, 5, ""), 6),
        ];
        ranks[0].output = b"zero\n".to_vec();
        ranks[2].output = b"two\n".to_vec();
        let text = report(ranks, 101).to_string();
        let expected = "\
sum::ranks_3: rank 2 of 4 panicked at tests/a.rs:7:5:
    left: 1
    right: 2

rank 0: failed: peer is gone
rank 1: was ended because rank 2 failed
rank 3: passed
--- output of rank 2 ---
two
--- output of rank 0 ---
zero
--- output of Open MPI 4.1.4 ---
mpirun noticed something
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_a_rank_says_of_its_failure_is_shown_once() {
        let mut ranks =
            vec![rank(None, 23), rank(record(Verdict::Panicked, 10, "left: 1\nright: 2"), 23)];
        ranks[1].output = b"\
hello
phalanx: rank 1 of 2 on node1 panicked at tests/a.rs:7:5:
    left: 1
    right: 2
    (last MPI call: barrier at tests/a.rs:6:5)
phalanx: ending all 2 ranks
"
        .to_vec();
        let mut report = report(ranks, 101);
        report.launcher_output = b"\nrunning 1 test\ntest sum::ranks_3 ... \n\
--------------------------------------------------------------------------
MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD
with errorcode 101.
--------------------------------------------------------------------------
"
        .to_vec();
        let expected = "\
sum::ranks_3: rank 1 of 2 panicked at tests/a.rs:7:5:
    left: 1
    right: 2
    (last MPI call: barrier at tests/a.rs:6:5)

rank 0: was ended because rank 1 failed
--- output of rank 1 ---
hello
";
        assert_eq!(report.to_string(), expected);
        report.ranks[1].record = record(Verdict::Failed, 10, "phalanx: deadlock\n  ranks 0 and 1");
        report.ranks[1].output = b"hello\nphalanx: deadlock\n  ranks 0 and 1\n".to_vec();
        assert_eq!(report.to_string().matches("ranks 0 and 1").count(), 1, "{report}");
        // Not the same: nothing may get lost.
        report.ranks[1].record = record(Verdict::Failed, 10, "another");
        assert!(report.to_string().contains("--- output of rank 1 ---\nhello\nphalanx: deadlock"));
    }

    #[test]
    fn a_rank_that_died_without_a_word_before_the_others_is_the_first() {
        let ranks = vec![rank(record(Verdict::Failed, 20, "peer is gone"), 25), rank(None, 10)];
        let failure = report(ranks, 137).failure().unwrap();
        assert!(failure.starts_with("rank 1 of 2 was killed"), "{failure}");
        assert!(failure.contains("exit status: 137"), "{failure}");
    }

    #[test]
    fn a_time_out_says_who_was_still_running() {
        let mut ranks =
            vec![rank(None, 31), rank(record(Verdict::Passed, 1, ""), 31), rank(None, 31)];
        ranks[0].running_at_time_out = true;
        ranks[2].running_at_time_out = true;
        let mut report = report(ranks, 0);
        report.timed_out = true;
        let failure = report.failure().unwrap();
        assert_eq!(failure, "timed out after 30s: ranks 0 and 2 still running");
    }

    #[test]
    fn ranks_that_never_started_are_named() {
        let mut absent = rank(None, 0);
        absent.started = false;
        absent.ended = None;
        let mut report = report(vec![absent], 1);
        assert!(report.failure().unwrap().starts_with("rank 0 of 1 never started (Open MPI"));
        report.launcher_output = b"running 0 tests\n".to_vec();
        assert!(report.failure().unwrap().contains("has no test `sum::ranks_3`"));
    }

    #[test]
    fn long_output_is_cut_in_its_middle() {
        let mut text = String::new();
        let output = [vec![b'a'; LONGEST_OUTPUT], vec![b'z'; 100]].concat();
        section(&mut text, "x", &output);
        assert!(text.contains("aaa\n[… 100 bytes left out …]\naaa"));
        assert!(text.ends_with("zzz\n"));
    }
}

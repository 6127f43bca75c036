//! What a job that ended, or did not, says about the watch.

use phalanx_tests::watch_row::Row;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As everybody runs programs.
    Default,
    Strict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The fault was explained.
    Found,
    /// Nothing was said of the fault.
    Missed,
    /// Something was said, but not what it is.
    WrongExplanation,
    /// The faulty program ran through or was ended by the MPI library, and nothing need be said.
    Harmless,
    /// The correct program succeeded, and nothing was said.
    Silent,
    /// The correct program was spoken of, hung or failed.
    FalseAlarm,
}

impl Verdict {
    pub fn is_good(self) -> bool {
        matches!(self, Verdict::Found | Verdict::Harmless | Verdict::Silent)
    }
}

/// What was seen of a job.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// `None` after a signal, and of a job that hung.
    pub exit_code: Option<i32>,
    pub hung: bool,
    pub stderr: String,
}

impl Seen {
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.stderr.lines().filter(|line| line.starts_with("phalanx: "))
    }

    /// Whether it stood still. A launcher that does not come back from ending a job is another
    /// matter.
    fn stood_still(&self) -> bool {
        self.hung && !self.stderr.contains("phalanx: ending all")
    }

    fn says_any<S: AsRef<str>>(&self, phrases: &[S]) -> bool {
        phrases.iter().any(|phrase| self.stderr.contains(phrase.as_ref()))
    }
}

/// What the watch alone says; errors of calls have other words.
const PHRASES: [&str; 22] = [
    "receive cycle",
    "any-source knot",
    "send cycle",
    "wait cycle",
    "different collectives",
    "missing in a collective",
    "different root",
    "different reduction",
    "different count",
    "different type",
    "tag near miss",
    "wrong communicator",
    "same collective on two communicators",
    "freed communicator",
    "message race",
    "peer gone",
    "waiting for itself",
    "waiting for a rank outside MPI",
    "polling without progress",
    "dropped without wait",
    "never received",
    "never freed",
];

pub fn faulty(row: &Row, mode: Mode, seen: &Seen) -> Verdict {
    let (keys, needed) = row.expected(mode == Mode::Strict);
    let failed = seen.exit_code != Some(0) && !seen.hung;
    if seen.says_any(keys) {
        Verdict::Found
    } else if seen.says_any(&PHRASES) || (needed && failed) {
        Verdict::WrongExplanation
    } else if needed || seen.stood_still() {
        Verdict::Missed
    } else {
        Verdict::Harmless
    }
}

pub fn correct(seen: &Seen) -> Verdict {
    if seen.exit_code == Some(0) && !seen.hung && seen.lines().next().is_none() {
        Verdict::Silent
    } else {
        Verdict::FalseAlarm
    }
}

#[cfg(test)]
mod tests {
    use phalanx_tests::watch_row::InDefault;

    use super::*;

    fn row(default: InDefault) -> Row {
        Row {
            name: "a-case".into(),
            class: "a-class".into(),
            ranks: 2,
            default,
            strict: vec!["send cycle".into()],
            depends_on_timing: false,
        }
    }

    fn ended(exit_code: i32, stderr: &str) -> Seen {
        Seen { exit_code: Some(exit_code), hung: false, stderr: stderr.into() }
    }

    fn hung(stderr: &str) -> Seen {
        Seen { exit_code: None, hung: true, stderr: stderr.into() }
    }

    #[test]
    fn a_fault_that_must_be_explained() {
        let row = row(InDefault::Explained(vec!["receive cycle".into(), "wait cycle".into()]));
        let judge = |seen| faulty(&row, Mode::Default, &seen);
        assert_eq!(judge(ended(1, "phalanx: deadlock: receive cycle")), Verdict::Found);
        assert_eq!(judge(hung("phalanx: wait cycle")), Verdict::Found);
        assert_eq!(judge(hung("")), Verdict::Missed);
        assert_eq!(judge(ended(0, "")), Verdict::Missed);
        assert_eq!(judge(ended(1, "phalanx: peer gone")), Verdict::WrongExplanation);
        assert_eq!(judge(ended(139, "segmentation fault")), Verdict::WrongExplanation);
    }

    #[test]
    fn a_fault_that_may_run_through() {
        let row = row(InDefault::Harmless);
        let judge = |mode, seen| faulty(&row, mode, &seen);
        assert_eq!(judge(Mode::Default, ended(0, "")), Verdict::Harmless);
        assert_eq!(judge(Mode::Default, ended(1, "message truncated")), Verdict::Harmless);
        assert_eq!(judge(Mode::Default, hung("")), Verdict::Missed);
        let failed = "phalanx: rank 1 failed\nphalanx: ending all 2 ranks";
        assert_eq!(judge(Mode::Default, hung(failed)), Verdict::Harmless);
        assert_eq!(judge(Mode::Default, hung("phalanx: send cycle")), Verdict::Found);
        assert_eq!(judge(Mode::Default, ended(1, "phalanx: peer gone")), Verdict::WrongExplanation);
        assert_eq!(judge(Mode::Strict, ended(0, "")), Verdict::Missed);
        assert_eq!(judge(Mode::Strict, ended(1, "phalanx: send cycle")), Verdict::Found);
    }

    #[test]
    fn a_correct_program_must_be_left_alone() {
        assert_eq!(correct(&ended(0, "")), Verdict::Silent);
        assert_eq!(correct(&ended(0, "a line of the launcher")), Verdict::Silent);
        assert_eq!(correct(&ended(0, "phalanx: rank 0 …")), Verdict::FalseAlarm);
        assert_eq!(correct(&ended(1, "")), Verdict::FalseAlarm);
        assert_eq!(correct(&hung("")), Verdict::FalseAlarm);
    }
}

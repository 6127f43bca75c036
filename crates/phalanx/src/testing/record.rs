use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::folder;

/// How the body of a test ended on one rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) verdict: Verdict,
    /// When, by the clock of the machine.
    pub(super) at: Duration,
    pub(super) location: Option<String>,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    Panicked,
    Failed,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Panicked => "panicked",
            Verdict::Failed => "failed",
        }
    }
}

/// The time since 1970, the same for all processes of a machine.
pub(super) fn now() -> Duration {
    UNIX_EPOCH.elapsed().unwrap_or_default()
}

impl Record {
    pub(super) fn new(verdict: Verdict, location: Option<String>, message: String) -> Record {
        Record { verdict, at: now(), location, message }
    }

    /// Puts the record into the folder, whole or not at all.
    pub(super) fn write(&self, folder: &Path, rank: usize) -> io::Result<()> {
        let path = folder::result(folder, rank);
        let draft = path.with_extension("draft");
        let Record { verdict, at, location, message } = self;
        let location = location.as_deref().unwrap_or_default();
        let text = format!("{} {}\n{location}\n{message}", verdict.word(), at.as_nanos());
        fs::write(&draft, text)?;
        fs::rename(draft, path)
    }

    pub(super) fn read(folder: &Path, rank: usize) -> Option<Record> {
        Self::parse(&fs::read_to_string(folder::result(folder, rank)).ok()?)
    }

    fn parse(text: &str) -> Option<Record> {
        let mut parts = text.splitn(3, '\n');
        let (word, at) = parts.next()?.split_once(' ')?;
        let location = parts.next()?;
        let all = [Verdict::Passed, Verdict::Panicked, Verdict::Failed];
        Some(Record {
            verdict: all.into_iter().find(|verdict| verdict.word() == word)?,
            at: Duration::from_nanos(at.parse().ok()?),
            location: (!location.is_empty()).then(|| location.to_owned()),
            message: parts.next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let folder = folder::Folder::new().unwrap();
        let place = Some("src/a.rs:3:4".to_owned());
        for record in [
            Record::new(Verdict::Panicked, place, "two\nlines\n".into()),
            Record::new(Verdict::Failed, None, String::new()),
        ] {
            record.write(folder.path(), 3).unwrap();
            assert_eq!(Record::read(folder.path(), 3), Some(record));
        }
        assert_eq!(Record::read(folder.path(), 4), None);
        assert_eq!(Record::parse("passed soon\n\n"), None);
    }
}

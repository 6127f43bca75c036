//! Names of files that are in a folder only while a job works there.
//!
//! A later job removes what an earlier one has left, and nothing else: a name counts only if it is, letter by letter,
//! one that this module would make.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::host;

const PREFIX: &str = ".phalanx-";
const SUFFIX: &str = ".unfinished";

/// What a temporary file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It becomes the checkpoint of this step.
    Step(u64),
    /// By it other hosts see that they share the folder.
    Shared,
}

/// The name of a temporary file, `.phalanx-step-000000000250-4711-18c3f5a2b1d0e9f7-node1.unfinished`: no other
/// process makes it, on no other host, and this one never again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Temporary {
    purpose: Purpose,
    process: u32,
    /// Nanoseconds since 1970.
    time: u64,
    host: String,
}

impl Temporary {
    pub fn new(purpose: Purpose) -> Temporary {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let host = host::name().replace(|c: char| !is_of_a_host(c), "_");
        // A file name has at most 255 bytes.
        let host = host.chars().take(128).collect();
        // Enough until the year 2554.
        let time = now.as_nanos() as u64;
        Temporary { purpose, process: std::process::id(), time, host }
    }

    /// `None` for every name that [`new`](Self::new) cannot have made.
    pub fn parse(name: &str) -> Option<Temporary> {
        let text = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let (purpose, rest) = match text.strip_prefix("step-") {
            Some(text) => {
                let (step, rest) = text.split_once('-')?;
                (Purpose::Step(step.parse().ok()?), rest)
            }
            None => (Purpose::Shared, text.strip_prefix("shared-")?),
        };
        let mut parts = rest.splitn(3, '-');
        let process = parts.next()?.parse().ok()?;
        let time = u64::from_str_radix(parts.next()?, 16).ok()?;
        let host = parts.next()?.to_owned();
        let is_host = !host.is_empty() && host.len() <= 128 && host.chars().all(is_of_a_host);
        let found = Temporary { purpose, process, time, host };
        (is_host && found.to_string() == name).then_some(found)
    }
}

fn is_of_a_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

impl fmt::Display for Temporary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Temporary { purpose, process, time, host } = self;
        f.write_str(PREFIX)?;
        match purpose {
            Purpose::Step(step) => write!(f, "step-{step:012}")?,
            Purpose::Shared => f.write_str("shared")?,
        }
        write!(f, "-{process}-{time:016x}-{host}{SUFFIX}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_made_are_known_again() {
        for purpose in [Purpose::Step(0), Purpose::Step(u64::MAX), Purpose::Shared] {
            let made = Temporary::new(purpose);
            assert_eq!(Temporary::parse(&made.to_string()), Some(made.clone()), "{made}");
        }
        for name in [
            ".phalanx-step-000000000250-4711-18c3f5a2b1d0e9f7-node1.unfinished",
            ".phalanx-shared-1-00000000000000ff-a-b.c_d.unfinished",
        ] {
            assert_eq!(Temporary::parse(name).map(|it| it.to_string()).as_deref(), Some(name));
        }
    }

    #[test]
    fn names_that_are_almost_right_are_somebody_elses() {
        for name in [
            "",
            ".phalanx-",
            ".phalanx-lock",
            ".phalanx-notes.unfinished",
            ".phalanx-shared-notes.unfinished",
            ".phalanx-shared-1-ff-node1.unfinished",
            ".phalanx-shared-1-00000000000000FF-node1.unfinished",
            ".phalanx-shared-01-00000000000000ff-node1.unfinished",
            ".phalanx-shared-1-00000000000000ff-.unfinished",
            ".phalanx-shared-1-00000000000000ff-node 1.unfinished",
            ".phalanx-step-250-1-00000000000000ff-node1.unfinished",
            ".phalanx-step-+00000000250-1-00000000000000ff-node1.unfinished",
            ".phalanx-step-x-1-00000000000000ff-node1.unfinished",
            ".phalanx-step-000000000250-1-00000000000000ff-node1",
            ".phalanx-step-000000000250-1-00000000000000ff-node1.unfinished~",
            "step-000000000250.phxckpt.mine.unfinished",
        ] {
            assert_eq!(Temporary::parse(name), None, "{name}");
        }
    }
}

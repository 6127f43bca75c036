//! A faulty program of `watch_cases`, as `watch_score` needs to know it.

use serde::{Deserialize, Serialize};

/// What is to be seen of a faulty program and of its correct twin.
///
/// The twin is the same program without the fault: it succeeds, and the watch says nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The name, in kebab case.
    pub name: String,
    /// The kind of fault.
    pub class: String,
    /// How many ranks it needs.
    pub ranks: usize,
    /// What the watch is to say when it runs as it does for everybody.
    pub default: InDefault,
    /// What it is to say in strict mode: one of these phrases.
    pub strict: Vec<String>,
    /// Whether the fault shows in some interleavings of the messages only.
    pub depends_on_timing: bool,
}

/// What is to be seen without strict mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InDefault {
    /// It hangs or fails with every MPI library, and one of these phrases says why.
    Explained(Vec<String>),
    /// With some MPI library it runs through, and then nothing need be said. Where it hangs, it
    /// must be explained as in strict mode.
    Harmless,
}

impl Row {
    /// The phrases of which one must appear in this mode, and whether it must if nothing hangs.
    pub fn expected(&self, strict: bool) -> (&[String], bool) {
        match &self.default {
            _ if strict => (&self.strict, true),
            InDefault::Explained(keys) => (keys, true),
            InDefault::Harmless => (&self.strict, false),
        }
    }
}

//! A faulty program and its correct twin: one body, which is told whether to make the mistake.

use std::error::Error;

use phalanx::Comm;
use phalanx_tests::watch_row::{InDefault, Row};

pub type Outcome = Result<(), Box<dyn Error>>;

type Body = Box<dyn Fn(&Comm, bool) -> Outcome>;

pub struct Case {
    pub row: Row,
    /// The second argument says whether it is the faulty program.
    pub body: Body,
}

/// A case on so many ranks. What is expected of it is said next.
pub fn case(
    name: impl Into<String>,
    ranks: usize,
    body: impl Fn(&Comm, bool) -> Outcome + 'static,
) -> Case {
    let row = Row {
        name: name.into(),
        class: String::new(),
        ranks,
        default: InDefault::Harmless,
        strict: Vec::new(),
        depends_on_timing: false,
    };
    Case { row, body: Box::new(body) }
}

impl Case {
    /// It is explained in both modes, with one of these phrases.
    pub fn explained(mut self, keys: &[&str]) -> Case {
        self.row.default = InDefault::Explained(texts(keys));
        self.row.strict = texts(keys);
        self
    }

    /// It may run through; strict mode explains it with one of these phrases.
    pub fn harmless(mut self, keys: &[&str]) -> Case {
        self.row.default = InDefault::Harmless;
        self.row.strict = texts(keys);
        self
    }

    /// Where strict mode sees the fault earlier, and says something else.
    pub fn in_strict(mut self, keys: &[&str]) -> Case {
        self.row.strict = texts(keys);
        self
    }

    pub fn depends_on_timing(mut self) -> Case {
        self.row.depends_on_timing = true;
        self
    }
}

fn texts(keys: &[&str]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

/// `base` for the first row of a table, `base-suffix` for the others, whose suffix is not empty.
pub fn name(base: &str, suffix: &str) -> String {
    if suffix.is_empty() { base.to_owned() } else { format!("{base}-{suffix}") }
}

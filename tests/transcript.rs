//! What a reader of the documentation would type, and what came of it, as a page under
//! `docs/transcripts/`.
//!
//! A test makes the page from what really ran. With `PHALANX_TRANSCRIPTS=write` it replaces the page;
//! otherwise it leaves it under the target directory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A page of commands and their output.
pub struct Transcript {
    name: String,
    text: String,
    hidden: Vec<(String, String)>,
}

impl Transcript {
    /// A page with a title and a sentence about how it came to be.
    pub fn new(name: &str, title: &str, about: &str) -> Self {
        let text = format!("# {title}\n\n{about}\n");
        Transcript { name: name.to_owned(), text, hidden: Vec::new() }
    }

    /// From now on shows `placeholder` in the place of a text that is of this machine or this run alone.
    pub fn hide(&mut self, text: impl Into<String>, placeholder: &str) -> &mut Self {
        self.hidden.push((text.into(), placeholder.to_owned()));
        self
    }

    /// A sentence between two commands.
    pub fn say(&mut self, sentence: &str) -> &mut Self {
        let _ = write!(self.text, "\n{sentence}\n");
        self
    }

    /// A command as it is typed, and what it printed.
    pub fn command(&mut self, typed: &str, output: &str) -> &mut Self {
        let mut shown = format!("$ {typed}\n{}", output.trim_end());
        for (text, placeholder) in &self.hidden {
            shown = shown.replace(text.as_str(), placeholder);
        }
        // Bars and colours are for terminals.
        let lines = shown.lines().map(|line| line.rsplit('\r').next().unwrap_or_default());
        let lines: Vec<&str> = lines.map(str::trim_end).collect();
        let _ = write!(self.text, "\n```console\n{}\n```\n", lines.join("\n"));
        self
    }

    /// The page as it is so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Leaves the page where it belongs, and says where that is.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn save(&self) -> PathBuf {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project");
        let folder = if env::var("PHALANX_TRANSCRIPTS").is_ok_and(|it| it == "write") {
            root.join("docs/transcripts")
        } else {
            env::var_os("CARGO_TARGET_DIR")
                .map_or(root.join("target"), PathBuf::from)
                .join("transcripts")
        };
        fs::create_dir_all(&folder).expect("a folder for transcripts");
        let page = folder.join(format!("{}.md", self.name));
        fs::write(&page, &self.text).expect("a page that can be written");
        page
    }
}

//! Passes the output of a job on, line by line.

use std::io::{self, Read, Write};
use std::process::{ChildStderr, ChildStdout};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clap::ColorChoice;

use super::labels;
use super::outcome::Told;

/// Neighbours differ; black and white are the terminal's own.
const COLORS: [AnsiColor; 10] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Red,
    AnsiColor::BrightCyan,
    AnsiColor::BrightYellow,
    AnsiColor::BrightGreen,
    AnsiColor::BrightMagenta,
];

/// The two threads that pass output on.
pub struct Relay([JoinHandle<()>; 2]);

impl Relay {
    pub fn start(
        stdout: ChildStdout,
        stderr: ChildStderr,
        labelled: bool,
        color: ColorChoice,
        told: &Arc<Told>,
    ) -> Relay {
        let choice = match color {
            ColorChoice::Auto => None,
            ColorChoice::Always => Some(anstream::ColorChoice::Always),
            ColorChoice::Never => Some(anstream::ColorChoice::Never),
        };
        let colored = |found: anstream::ColorChoice| {
            !matches!(choice.unwrap_or(found), anstream::ColorChoice::Never)
        };
        let out = Copier::new(labelled, colored(AutoStream::choice(&io::stdout())), told);
        let err = Copier::new(labelled, colored(AutoStream::choice(&io::stderr())), told);
        Relay([
            thread::spawn(move || out.copy(stdout, io::stdout())),
            thread::spawn(move || err.copy(stderr, io::stderr())),
        ])
    }

    /// Waits until all was passed on. `ended`: whether nobody is left who may write.
    pub fn finish(self, ended: bool) {
        if ended {
            for thread in self.0 {
                // A thread that panicked has said so.
                let _ = thread.join();
            }
        }
    }
}

struct Copier {
    labelled: bool,
    colored: bool,
    told: Arc<Told>,
    /// The line that is not over yet, as far as it was not passed on.
    line: Vec<u8>,
    /// Whether a part of the current line was passed on.
    begun: bool,
    /// Whether the launcher tells exit codes in several lines, of which the last one was one.
    listing: bool,
}

impl Copier {
    fn new(labelled: bool, colored: bool, told: &Arc<Told>) -> Copier {
        Copier {
            labelled,
            colored,
            told: Arc::clone(told),
            line: Vec::new(),
            begun: false,
            listing: false,
        }
    }

    fn copy(mut self, mut from: impl Read, mut to: impl Write) {
        let mut piece = vec![0; 1 << 16];
        let mut ready = Vec::new();
        loop {
            let read = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            self.take(&piece[..read], &mut ready);
            // Whoever reads us may be gone (`| head`): the job must not wait for that.
            let _ = to.write_all(&ready).and_then(|()| to.flush());
            ready.clear();
        }
        self.end_line(&mut ready, b"");
        let _ = to.write_all(&ready).and_then(|()| to.flush());
    }

    fn take(&mut self, bytes: &[u8], ready: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            self.end_line(ready, b"\n");
            rest = &rest[end + 1..];
        }
        self.line.extend_from_slice(rest);
        // A bar that a program draws again and again has no end of line.
        if !self.labelled && (self.begun || !self.may_be_the_launchers()) {
            self.begun = self.begun || !self.line.is_empty();
            ready.append(&mut self.line);
        }
    }

    fn may_be_the_launchers(&self) -> bool {
        self.told.mark(self.listing).is_some_and(|mark| {
            let length = mark.len().min(self.line.len());
            mark[..length] == self.line[..length]
        })
    }

    fn end_line(&mut self, ready: &mut Vec<u8>, end: &[u8]) {
        let line = std::mem::take(&mut self.line);
        let begun = std::mem::replace(&mut self.begun, false);
        if line.is_empty() && end.is_empty() {
            return;
        }
        let is_marked = self.told.mark(self.listing).is_some_and(|mark| line.starts_with(mark));
        if is_marked && !begun && self.told.hear(&String::from_utf8_lossy(&line), &mut self.listing)
        {
            return;
        }
        match self.labelled.then(|| labels::split(&line)).flatten() {
            Some((rank, text)) => {
                let style = if self.colored {
                    Style::new().fg_color(Some(COLORS[rank % COLORS.len()].into()))
                } else {
                    Style::new()
                };
                ready.extend_from_slice(format!("{style}[{rank}]{style:#} ").as_bytes());
                ready.extend_from_slice(text);
            }
            None => ready.extend_from_slice(&line),
        }
        ready.extend_from_slice(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(labelled: bool, colored: bool, told: &Arc<Told>, pieces: &[&str]) -> String {
        let mut copier = Copier::new(labelled, colored, told);
        let mut ready = Vec::new();
        for piece in pieces {
            copier.take(piece.as_bytes(), &mut ready);
        }
        copier.end_line(&mut ready, b"");
        String::from_utf8(ready).unwrap()
    }

    #[test]
    fn labels_become_one_form_in_a_colour_for_each_rank() {
        let told = Told::nothing();
        let lines = ["[1,0]<stdout>:a\n[1,", "1]<stdout>:b\nplain\n"];
        assert_eq!(copied(true, false, &told, &lines), "[0] a\n[1] b\nplain\n");
        let colored = copied(true, true, &told, &lines);
        assert!(colored.contains("\u{1b}[36m[0]\u{1b}[0m a\n"), "{colored:?}");
        assert!(colored.contains("\u{1b}[33m[1]\u{1b}[0m b\n"), "{colored:?}");
    }

    #[test]
    fn what_has_no_end_of_line_is_passed_on_at_once() {
        let mut copier = Copier::new(false, false, &Told::by_hydra());
        let mut ready = Vec::new();
        copier.take(b"name? ", &mut ready);
        assert_eq!(ready, b"name? ");
        copier.take(b"[mpiexec@", &mut ready);
        assert_eq!(ready, b"name? [mpiexec@");
    }

    #[test]
    fn the_launchers_exit_codes_are_heard_and_not_shown() {
        let told = Told::by_hydra();
        let pieces = ["a\n[mpiexec", "@vm] Exit codes: [vm] 0,768\n", "b"];
        assert_eq!(copied(false, false, &told, &pieces), "a\nb");
        let failed = std::os::unix::process::ExitStatusExt::from_raw(256);
        assert_eq!(super::super::outcome::code(Some(failed), &told), 3);
        assert_eq!(
            copied(true, false, &told, &["[0] x\n", "[mpiexec@vm] other\n"]),
            "[0] x\n[mpiexec@vm] other\n"
        );
    }
}

//! Passes the output of a job on, line by line.

use std::io::{self, Read, Write};
use std::process::{ChildStderr, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clap::ColorChoice;
use phalanx_launch::{BannerFilter, EndOfJob};

use super::labels;
use super::outcome::ReportedCodes;

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
pub struct Relay {
    threads: [JoinHandle<Option<BannerFilter>>; 2],
    failure: Failure,
}

/// Why output could not be passed on.
type Failure = Arc<Mutex<Option<io::Error>>>;

/// Whether the output pipe was closed (`| head`): then nothing more is printed, not even how the job ends.
type PipeClosed = Arc<AtomicBool>;

impl Relay {
    /// `end`: what is known of the end of the job; what the launcher says of it and is known already is not
    /// shown. Without it everything is.
    pub fn start(
        stdout: ChildStdout,
        stderr: ChildStderr,
        (labelled, color): (bool, ColorChoice),
        codes: &Arc<ReportedCodes>,
        end: Option<&Arc<EndOfJob>>,
    ) -> Relay {
        let choice = match color {
            ColorChoice::Auto => None,
            ColorChoice::Always => Some(anstream::ColorChoice::Always),
            ColorChoice::Never => Some(anstream::ColorChoice::Never),
        };
        let colored = |found: anstream::ColorChoice| {
            !matches!(choice.unwrap_or(found), anstream::ColorChoice::Never)
        };
        let out = Copier::new(labelled, colored(AutoStream::choice(&io::stdout())), codes);
        let err = Copier::new(labelled, colored(AutoStream::choice(&io::stderr())), codes);
        let failure = Failure::default();
        let (of_out, of_err) = (Arc::clone(&failure), Arc::clone(&failure));
        let gone = PipeClosed::default();
        let (out, err) = (out.until(&gone).without(end), err.until(&gone).without(end));
        Relay {
            threads: [
                thread::spawn(move || out.copy(stdout, io::stdout(), &of_out)),
                thread::spawn(move || err.copy(stderr, io::stderr(), &of_err)),
            ],
            failure,
        }
    }

    /// Why output could not be passed on, once.
    pub fn failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until all was passed on, and says why it could not be. `ended`: whether nobody is left who may
    /// write.
    pub fn finish(self, ended: bool) -> Option<io::Error> {
        if ended {
            // A thread that panicked has said so.
            let filters = self.threads.map(|thread| thread.join().ok().flatten());
            let [out, err] =
                filters.map(|it| it.map(BannerFilter::unexplained).unwrap_or_default());
            // The threads have found out whether the pipe is open.
            let _ = io::stdout().write_all(&out).and_then(|()| io::stdout().flush());
            let _ = io::stderr().write_all(&err);
        }
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Copier {
    labelled: bool,
    colored: bool,
    codes: Arc<ReportedCodes>,
    /// The line that is not over yet, as far as it was not passed on.
    line: Vec<u8>,
    /// Whether a part of the current line was passed on.
    begun: bool,
    /// Whether the launcher tells exit codes in several lines, of which the last one was one.
    listing: bool,
    /// What the launcher said of exit codes. If more comes after it, it was a program that said so.
    held: Vec<u8>,
    /// The codes in that.
    statuses: Vec<i32>,
    pipe_closed: PipeClosed,
    banners: Option<BannerFilter>,
}

/// What Hydra says after the exit codes.
const LAST_WORDS: &[u8] = b"YOUR APPLICATION TERMINATED";

impl Copier {
    fn new(labelled: bool, colored: bool, codes: &Arc<ReportedCodes>) -> Copier {
        Copier {
            labelled,
            colored,
            codes: Arc::clone(codes),
            line: Vec::new(),
            begun: false,
            listing: false,
            held: Vec::new(),
            statuses: Vec::new(),
            pipe_closed: PipeClosed::default(),
            banners: None,
        }
    }

    /// Holds back what the launcher says of the end of the job.
    fn without(mut self, end: Option<&Arc<EndOfJob>>) -> Copier {
        self.banners = end.map(BannerFilter::new);
        self
    }

    /// Copies nothing more when the output pipe was closed.
    fn until(mut self, pipe_closed: &PipeClosed) -> Copier {
        self.pipe_closed = Arc::clone(pipe_closed);
        self
    }

    fn copy(
        mut self,
        mut from: impl Read,
        mut to: impl Write,
        failure: &Failure,
    ) -> Option<BannerFilter> {
        let mut banners = self.banners.take();
        let mut piece = vec![0; 1 << 16];
        let mut ready = Vec::new();
        let mut is_open = true;
        let pipe_closed = Arc::clone(&self.pipe_closed);
        let mut pass_on = |ready: &mut Vec<u8>| {
            // The ranks must not block on a pipe that nobody reads: the rest is read and thrown away.
            if is_open
                && !pipe_closed.load(Ordering::Relaxed)
                && let Err(error) = to.write_all(ready).and_then(|()| to.flush())
            {
                is_open = false;
                if error.kind() == io::ErrorKind::BrokenPipe {
                    pipe_closed.store(true, Ordering::Relaxed);
                }
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            ready.clear();
        };
        loop {
            let read = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            self.take(&piece[..read], &mut ready);
            if let Some(banners) = &mut banners {
                banners.pass(&std::mem::take(&mut ready), &mut ready);
            }
            pass_on(&mut ready);
        }
        self.end(&mut ready);
        if let Some(banners) = &mut banners {
            banners.pass(&std::mem::take(&mut ready), &mut ready);
            banners.end(&mut ready);
        }
        pass_on(&mut ready);
        banners
    }

    /// Nothing more comes.
    fn end(&mut self, ready: &mut Vec<u8>) {
        self.end_line(ready, b"");
        self.believe();
    }

    /// What was held back was the launcher's.
    fn believe(&mut self) {
        self.codes.believe(&self.statuses);
        self.statuses.clear();
        self.held.clear();
    }

    fn take(&mut self, bytes: &[u8], ready: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            self.end_line(ready, b"\n");
            rest = &rest[end + 1..];
        }
        self.line.extend_from_slice(rest);
        if self.labelled {
            return;
        }
        // A bar that a program draws again and again has no end of line.
        let own = self.codes.begins(&self.line, !self.begun, self.listing);
        if own > 0 {
            self.begun = true;
            self.release(&[], ready);
            ready.extend(self.line.drain(..own));
        }
    }

    /// What was held back was a program's after all, if this comes after it.
    fn release(&mut self, next: &[u8], ready: &mut Vec<u8>) {
        if next.starts_with(LAST_WORDS) {
            self.believe();
        }
        self.statuses.clear();
        ready.append(&mut self.held);
    }

    fn end_line(&mut self, ready: &mut Vec<u8>, end: &[u8]) {
        let line = std::mem::take(&mut self.line);
        let begun = std::mem::replace(&mut self.begun, false);
        if line.is_empty() && end.is_empty() {
            return;
        }
        // A program's last line may have no end, and the launcher's words come after it.
        let (own, theirs) = line.split_at(self.codes.begins(&line, !begun, self.listing));
        let heard = match theirs {
            [] => None,
            _ => self.codes.hear(&String::from_utf8_lossy(theirs), &mut self.listing),
        };
        if let Some(statuses) = heard {
            if !own.is_empty() {
                self.show(own, begun, ready);
            }
            self.statuses.extend(statuses);
            self.held.extend_from_slice(theirs);
            self.held.extend_from_slice(end);
        } else {
            self.show(&line, begun, ready);
            ready.extend_from_slice(end);
        }
    }

    fn show(&mut self, line: &[u8], begun: bool, ready: &mut Vec<u8>) {
        self.release(line, ready);
        match (self.labelled && !begun).then(|| labels::split(line)).flatten() {
            Some((rank, text)) => {
                let style = if self.colored {
                    Style::new().fg_color(Some(COLORS[rank % COLORS.len()].into()))
                } else {
                    Style::new()
                };
                ready.extend_from_slice(format!("{style}[{rank}]{style:#} ").as_bytes());
                ready.extend_from_slice(text);
            }
            None => ready.extend_from_slice(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(
        labelled: bool,
        colored: bool,
        codes: &Arc<ReportedCodes>,
        pieces: &[&str],
    ) -> String {
        let mut copier = Copier::new(labelled, colored, codes);
        let mut ready = Vec::new();
        for piece in pieces {
            copier.take(piece.as_bytes(), &mut ready);
        }
        copier.end(&mut ready);
        String::from_utf8(ready).unwrap()
    }

    #[test]
    fn labels_become_one_form_in_a_colour_for_each_rank() {
        let codes = ReportedCodes::nothing();
        let lines = ["[1,0]<stdout>:a\n[1,", "1]<stdout>:b\nplain\n"];
        assert_eq!(copied(true, false, &codes, &lines), "[0] a\n[1] b\nplain\n");
        let colored = copied(true, true, &codes, &lines);
        assert!(colored.contains("\u{1b}[36m[0]\u{1b}[0m a\n"), "{colored:?}");
        assert!(colored.contains("\u{1b}[33m[1]\u{1b}[0m b\n"), "{colored:?}");
    }

    #[test]
    fn what_has_no_end_of_line_is_passed_on_at_once() {
        let mut copier = Copier::new(false, false, &ReportedCodes::by_hydra());
        let mut ready = Vec::new();
        copier.take(b"name? ", &mut ready);
        assert_eq!(ready, b"name? ");
        // What may be the launcher's waits for the end of the line, or for what shows that it is not.
        copier.take(b"[mpiexec@", &mut ready);
        assert_eq!(ready, b"name? ");
        copier.take(b"home]\n", &mut ready);
        assert_eq!(ready, b"name? [mpiexec@home]\n");
        copier.take(b"[mp3] of [m", &mut ready);
        assert_eq!(ready, b"name? [mpiexec@home]\n[mp3] of ");
    }

    #[test]
    fn exit_codes_after_a_line_without_an_end_are_heard_and_leave_no_byte() {
        let code = |codes: &Arc<ReportedCodes>| {
            let failed = std::os::unix::process::ExitStatusExt::from_raw(7 << 8);
            super::super::outcome::code(Some(failed), codes)
        };
        for labelled in [false, true] {
            let codes = ReportedCodes::by_hydra();
            let pieces = ["progress 10%[mpie", "xec@vm] Exit codes: [vm] 0,768,1280\n"];
            assert_eq!(copied(labelled, false, &codes, &pieces), "progress 10%");
            assert_eq!(code(&codes), 3);
        }
        let codes = ReportedCodes::by_hydra();
        let pieces = ["a[mpiexec@vm] Exit codes: [vm] 9,9\nYOUR APPLICATION TERMINATED WITH\n"];
        assert_eq!(copied(false, false, &codes, &pieces), "aYOUR APPLICATION TERMINATED WITH\n");
    }

    #[test]
    fn a_program_may_print_what_the_launcher_says() {
        let text = "[mpiexec@vm] Exit codes: [vm] 0,768\n[x]\nmore\n";
        let (codes, list) = (ReportedCodes::by_hydra(), "[mpiexec@vm] Exit codes: [vm] 0,1280\n");
        assert_eq!(copied(false, false, &codes, &[text, list]), text);
        let failed = std::os::unix::process::ExitStatusExt::from_raw(7 << 8);
        assert_eq!(super::super::outcome::code(Some(failed), &codes), 5, "the launcher's own");
    }

    #[test]
    fn output_that_cannot_be_passed_on_is_no_success() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let failure = Failure::default();
        Copier::new(false, false, &ReportedCodes::nothing()).copy(&b"a\nb\n"[..], Full, &failure);
        let codes = failure.lock().unwrap().take().map(|error| error.kind());
        assert_eq!(codes, Some(io::ErrorKind::StorageFull));
        Copier::new(false, false, &ReportedCodes::nothing()).copy(
            &b"a\nb\n"[..],
            Vec::new(),
            &failure,
        );
        assert!(failure.lock().unwrap().is_none());
    }

    #[test]
    fn the_launchers_exit_codes_are_heard_and_not_shown() {
        let codes = ReportedCodes::by_hydra();
        let pieces = ["a\n[mpiexec", "@vm] Exit codes: [vm] 0,768\n"];
        assert_eq!(copied(false, false, &codes, &pieces), "a\n");
        let failed = std::os::unix::process::ExitStatusExt::from_raw(256);
        assert_eq!(super::super::outcome::code(Some(failed), &codes), 3);
        assert_eq!(
            copied(true, false, &codes, &["[0] x\n", "[mpiexec@vm] other\n"]),
            "[0] x\n[mpiexec@vm] other\n"
        );
    }
}

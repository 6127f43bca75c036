//! A progress bar for a job of many ranks.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use phalanx::{Request, prelude::*};

/// How often the ranks report in the course of a run.
const REPORTS: u64 = 100;

/// Shows on rank 0 what *all* ranks have done, and which of them is the busiest.
///
/// The ranks report without waiting for each other: a report is a gather that is looked at now and then,
/// and when it is complete every rank has come as far as it says.
pub struct Progress<'c> {
    comm: &'c Comm,
    every: u64,
    bar: ProgressBar,
    /// The step that the report is of.
    report: Option<(u64, Request<Option<Vec<f64>>>)>,
}

impl<'c> Progress<'c> {
    /// Nothing is shown, and nothing is reported, if it should be `quiet` or nobody sits at a terminal.
    /// Collective.
    ///
    /// # Errors
    /// Those of the broadcast.
    pub fn new(comm: &'c Comm, steps: u64, quiet: bool) -> phalanx::Result<Self> {
        let mut shown = u8::from(!quiet && comm.rank() == 0 && somebody_looks());
        comm.bcast(&mut shown, 0)?;
        let target = if shown == 1 && comm.rank() == 0 {
            ProgressDrawTarget::term_like(Box::new(Terminal))
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(steps), target).with_style(style());
        let every = if shown == 1 { steps.div_ceil(REPORTS).max(1) } else { u64::MAX };
        Ok(Progress { comm, every, bar, report: None })
    }

    /// Says that this rank has done so many steps, and how many seconds it was busy with them. Every rank
    /// says it after every step.
    ///
    /// # Errors
    /// Those of the gather.
    pub fn done(&mut self, steps: u64, busy: f64) -> phalanx::Result<()> {
        if steps.is_multiple_of(self.every) {
            if let Some((at, report)) = self.report.take() {
                self.show(at, report.wait()?);
            }
            self.report = Some((steps, self.comm.igather(busy, 0)?));
        } else if let Some((at, report)) = &mut self.report
            && let Some(busy) = report.test()?
        {
            let at = *at;
            self.report = None;
            self.show(at, busy);
        }
        Ok(())
    }

    fn show(&self, steps: u64, busy: Option<Vec<f64>>) {
        let Some(busy) = busy else { return };
        let mean = busy.iter().sum::<f64>() / busy.len() as f64;
        let most = busy.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        if let (Some((rank, &most)), true) = (most, busy.len() > 1 && mean > 0.0) {
            let more = 100.0 * (most / mean - 1.0);
            self.bar.set_message(format!("rank {rank} works the most, {more:+.0} %"));
        }
        self.bar.set_position(steps);
    }

    /// Takes the bar away.
    ///
    /// # Errors
    /// Those of the last report.
    pub fn finish(mut self) -> phalanx::Result<()> {
        if let Some((at, report)) = self.report.take() {
            self.show(at, report.wait()?);
        }
        self.bar.finish_and_clear();
        Ok(())
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{bar:30.cyan} {percent:>3} %  {pos}/{len} steps  {eta} left  {msg}",
    )
    .expect("a valid template")
    .progress_chars("━╸─")
}

/// Whether what this process writes to stderr is seen on a terminal. A launcher reads the stderr of its
/// ranks through a pipe and passes it on to its own, which is therefore looked at as well.
fn somebody_looks() -> bool {
    io::stderr().is_terminal() || launcher_has_terminal().unwrap_or(false)
}

/// Only on Linux, and on the host of the launcher.
fn launcher_has_terminal() -> Option<bool> {
    let mut process = std::os::unix::process::parent_id();
    // The launcher, its helper on this host, a wrapper.
    for _ in 0..3 {
        let folder = Path::new("/proc").join(process.to_string());
        let name = fs::read_to_string(folder.join("comm")).ok()?;
        let launches = ["mpi", "orte", "prte", "hydra"];
        if !launches.iter().any(|start| name.starts_with(start)) {
            return Some(false);
        }
        let stderr = fs::read_link(folder.join("fd/2")).ok()?;
        if stderr.starts_with("/dev/pts") || stderr.starts_with("/dev/tty") {
            return Some(true);
        }
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // After the name, which may hold anything, come the state and the parent.
        process = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    }
    Some(false)
}

/// A terminal behind stderr, whatever lies between.
#[derive(Debug)]
struct Terminal;

fn write(text: &str) -> io::Result<()> {
    io::stderr().lock().write_all(text.as_bytes())
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        100
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        if n > 0 { write(&format!("\x1b[{n}A")) } else { Ok(()) }
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        if n > 0 { write(&format!("\x1b[{n}B")) } else { Ok(()) }
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        if n > 0 { write(&format!("\x1b[{n}C")) } else { Ok(()) }
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        if n > 0 { write(&format!("\x1b[{n}D")) } else { Ok(()) }
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        write(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        write(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        write("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        io::stderr().flush()
    }
}

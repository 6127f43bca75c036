//! A progress bar for a job of many ranks. Feature `progress`.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::comm::Comm;
use crate::error::Result;
use crate::request::Request;

/// How often the ranks report in the course of a run.
const REPORTS: u64 = 100;

/// Shows on a terminal what *all* ranks have done, and which of them is the busiest.
///
/// The ranks report without waiting for each other: a report is a gather on a communicator of its own that is
/// tested from time to time; when it is complete, every rank has come as far as it says. Nothing is shown and
/// nothing is sent where the output of the job does not go to a terminal.
///
/// ```
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let mut progress = phalanx::Progress::new(&world, 1000)?;
/// let mut busy = 0.0;
/// for step in 1..=1000 {
///     let start = phalanx::wtime();
///     // … a step of the computation …
///     busy += phalanx::wtime() - start;
///     progress.done(step, busy)?;
/// }
/// progress.finish()
/// # });
/// ```
pub struct Progress {
    /// `None` if nothing is shown.
    comm: Option<Comm>,
    every: u64,
    bar: ProgressBar,
    /// The step that the report is of.
    report: Option<(u64, Request<Option<Vec<f64>>>)>,
}

impl Progress {
    /// The progress of so many steps, which all ranks make. Collective.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Bcast`, MPI-4.1 section 6.4; `MPI_Comm_dup`, section 7.4.2, if there is a terminal.
    #[track_caller]
    pub fn new(comm: &Comm, steps: u64) -> Result<Self> {
        let mut shown = u8::from(comm.rank() == 0 && output_goes_to_a_terminal());
        comm.bcast(&mut shown, 0)?;
        if shown == 0 {
            return Ok(Progress::hidden());
        }
        Progress::shown(comm, steps, Box::new(Terminal))
    }

    /// No progress at all, for `--quiet`: nothing is shown and nothing is sent. Local; every rank does the same.
    pub fn hidden() -> Self {
        Progress { comm: None, every: u64::MAX, bar: ProgressBar::hidden(), report: None }
    }

    #[track_caller]
    fn shown(comm: &Comm, steps: u64, terminal: Box<dyn TermLike>) -> Result<Self> {
        let target = if comm.rank() == 0 {
            ProgressDrawTarget::term_like(terminal)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(steps), target).with_style(style());
        let every = steps.div_ceil(REPORTS).max(1);
        Ok(Progress { comm: Some(comm.dup()?), every, bar, report: None })
    }

    /// Reports that this rank has done so many steps, and how many seconds it was busy with them, time in
    /// which it waited for others not counted. Every rank calls it after every step; it does not wait, unless
    /// another rank is a hundredth of all steps behind.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Igather`, MPI-4.1 section 6.12.3.
    #[track_caller]
    pub fn done(&mut self, steps: u64, busy: f64) -> Result<()> {
        let Some(comm) = &self.comm else { return Ok(()) };
        if steps.is_multiple_of(self.every) {
            let next = comm.igather(busy, 0)?;
            if let Some((at, report)) = self.report.replace((steps, next)) {
                self.show(at, report.wait()?);
            }
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
            self.bar.set_message(format!("busiest: rank {rank}, {more:+.0} %"));
        }
        self.bar.set_position(steps);
    }

    /// Removes the bar. Collective.
    ///
    /// # Errors
    /// Those of the last report.
    ///
    /// MPI: `MPI_Wait`, MPI-4.1 section 3.7.3; `MPI_Comm_free`, section 7.4.3.
    #[track_caller]
    pub fn finish(mut self) -> Result<()> {
        if let Some((at, report)) = self.report.take() {
            self.show(at, report.wait()?);
        }
        self.bar.finish_and_clear();
        self.comm.take().map_or(Ok(()), Comm::free)
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, of) = (self.bar.position(), self.bar.length().unwrap_or(0));
        write!(f, "Progress({at} of {of}, on {:?})", self.comm)
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{bar:30.cyan} {percent:>3} %  {pos}/{len} steps  {eta} left  {msg}",
    )
    .expect("a valid template")
    .progress_chars("━╸─")
}

/// Whether what this process writes to stderr appears on a terminal. A launcher reads the stderr of its
/// ranks through a pipe and passes it on to its own, which is therefore checked as well.
fn output_goes_to_a_terminal() -> bool {
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

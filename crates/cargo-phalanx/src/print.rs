//! Printing. The output pipe may be closed (`| head`), or the disk full.

use std::fmt::Display;
use std::io::{self, Write as _};

use anyhow::Result;

/// Exit code when the output pipe closes, as a shell shows it: 128 and SIGPIPE.
pub const PIPE_CLOSED: u8 = 141;

/// Prints to standard output.
pub fn out(text: impl Display) -> Result<()> {
    let mut out = anstream::stdout();
    write!(out, "{text}").and_then(|()| out.flush())?;
    Ok(())
}

/// Tells the user something on standard error. A failure to do so is no reason to stop.
pub fn note(line: impl Display) {
    // In one write, because ranks write there, too.
    let _ = anstream::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Whether a command has failed because the output pipe was closed.
pub fn is_pipe_closed(error: &anyhow::Error) -> bool {
    let is_broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref().is_some_and(is_broken)
}

//! What is printed. Whoever reads it may be gone (`| head`), or have no room.

use std::fmt::Display;
use std::io::{self, Write as _};

use anyhow::Result;

/// What a shell shows for a program that writes to a reader who has left: 128 and SIGPIPE.
pub const READER_GONE: u8 = 141;

/// Prints to standard output.
pub fn out(text: impl Display) -> Result<()> {
    let mut out = anstream::stdout();
    write!(out, "{text}").and_then(|()| out.flush())?;
    Ok(())
}

/// Says a line to the user. What nobody can hear is no reason to stop.
pub fn note(line: impl Display) {
    // In one piece, as others write there, too.
    let _ = anstream::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Whether this is why a command has ended: its reader needs no more.
pub fn is_reader_gone(error: &anyhow::Error) -> bool {
    let is_broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref().is_some_and(is_broken)
}

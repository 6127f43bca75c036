use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// Sends stdout and stderr of this process, the MPI library's too, to one file.
pub(super) fn redirect(path: &Path) -> io::Result<()> {
    // What the test harness has said so far belongs to where it said it.
    io::stdout().flush()?;
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    rustix::stdio::dup2_stdout(&file)?;
    rustix::stdio::dup2_stderr(&file)?;
    Ok(())
}

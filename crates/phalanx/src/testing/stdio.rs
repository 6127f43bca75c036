use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

/// Sends stdout and stderr of this process, the MPI library's too, to one file.
pub(super) fn redirect(path: &Path) -> io::Result<()> {
    // What the test harness has said so far belongs to where it said it.
    io::stdout().flush()?;
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    for target in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: both descriptors are open; dup2 replaces the target in one step.
        if unsafe { libc::dup2(file.as_raw_fd(), target) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

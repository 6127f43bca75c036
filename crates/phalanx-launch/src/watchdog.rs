use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::JOB_VARIABLE;
use crate::marker::Marker;

/// A small process that ends the job when this one dies without having done so, even by SIGKILL.
///
/// The kernel's death signal (PR_SET_PDEATHSIG) is not enough for a launcher: a process with
/// several threads that dies sends it once for each of them, and Open MPI's mpirun takes the second
/// one as the wish to leave at once, without its ranks.
#[derive(Debug)]
pub(crate) struct Watchdog(Child);

impl Watchdog {
    pub(crate) fn start(marker: &Marker) -> io::Result<Watchdog> {
        Command::new("sh")
            .args(["-c", include_str!("watchdog.sh"), "phalanx-watchdog", marker.id()])
            .env_remove(JOB_VARIABLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Whoever kills the group of this process must not kill its watchdog.
            .process_group(0)
            .spawn()
            .map(Watchdog)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Failing means that it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

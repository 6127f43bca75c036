//! What the operating system says of this machine and of the processes on it.

use std::fs;
use std::io;
use std::net::IpAddr;

/// The cores that this process may run on, as bits.
pub(crate) fn core_mask() -> [u64; 16] {
    let mut mask = [0; 16];
    for processor in phalanx_launch::allowed_processors() {
        if let Some(word) = mask.get_mut(processor / 64) {
            *word |= 1 << (processor % 64);
        }
    }
    mask
}

/// The host's name, for reports that must not call MPI.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The addresses of this host's network interfaces.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(|interface| interface.ip()).collect()
}

/// Whether this process was told to ignore a signal, as by `nohup`.
pub(crate) fn ignores(signal: i32) -> bool {
    // SAFETY: an action is plain data, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: no new action is given, and the result is writable.
    let code = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
    code == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessState {
    Alive,
    /// Stopped by a signal.
    Stopped,
    /// There is none, or nothing but its exit code.
    Gone,
    /// The operating system does not tell.
    Unknown,
}

/// A process, told from later ones with the same number by the time at which it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub id: u32,
    pub started: u64,
}

impl Process {
    pub fn this() -> Self {
        let id = std::process::id();
        Process { id, started: stat(id).ok().flatten().map_or(0, |(_, started)| started) }
    }

    pub fn state(self) -> ProcessState {
        if self.started == 0 {
            return ProcessState::Unknown;
        }
        match stat(self.id) {
            Ok(Some(('Z' | 'X' | 'x', _))) => ProcessState::Gone,
            Ok(Some((_, started))) if started != self.started => ProcessState::Gone,
            Ok(Some(('T' | 't', _))) => ProcessState::Stopped,
            Ok(Some(_)) => ProcessState::Alive,
            Ok(None) => ProcessState::Unknown,
            // No descriptor or no memory left says nothing of the other process.
            Err(error) if error.kind() == io::ErrorKind::NotFound => ProcessState::Gone,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => ProcessState::Gone,
            Err(_) => ProcessState::Unknown,
        }
    }
}

fn stat(id: u32) -> io::Result<Option<(char, u64)>> {
    Ok(phalanx_launch::process_stat(id)?.map(|about| (about.state, about.started)))
}

/// A number for the set of processes that this one sees: two processes with different ones know each
/// other by other numbers.
pub(crate) fn process_space() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self/ns/pid").map_or(0, |it| it.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_that_never_was_is_gone() {
        let this = Process::this();
        assert_eq!(this.state(), ProcessState::Alive);
        assert_eq!(Process { started: this.started + 1, ..this }.state(), ProcessState::Gone);
        assert_eq!(Process { id: u32::MAX, started: 1 }.state(), ProcessState::Gone);
    }

    #[test]
    fn a_child_is_seen_to_be_stopped_and_to_end() {
        let mut child =
            std::process::Command::new("sleep").arg("30").spawn().expect("sleep starts");
        let id = child.id();
        let process = Process { id, started: stat(id).ok().flatten().expect("it is there").1 };
        // SAFETY: a signal to a child of this test.
        unsafe { libc::kill(id as i32, libc::SIGSTOP) };
        let mut rounds = 0;
        while process.state() != ProcessState::Stopped && rounds < 1000 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            rounds += 1;
        }
        assert_eq!(process.state(), ProcessState::Stopped);
        child.kill().expect("it can be ended");
        child.wait().expect("it ends");
        assert_eq!(process.state(), ProcessState::Gone);
    }
}

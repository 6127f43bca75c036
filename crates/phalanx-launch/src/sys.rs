//! The few system calls that std does not offer. All `unsafe` of this crate is here: one call that rustix lacks.

use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub(crate) use libc::{SIGKILL, SIGTERM};
use rustix::process::{Pid, Signal};
use rustix::thread::CpuSet;

pub(crate) fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The processors that this process may run on; none if the system does not tell.
pub fn allowed_processors() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else {
        return Vec::new();
    };
    (0..CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor)).collect()
}

pub(crate) fn send_signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match (pid, Signal::from_named_raw(signal)) {
        (Some(pid), Some(signal)) => Ok(rustix::process::kill_process(pid, signal)?),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Whether this process may read another one's memory directly, tried on itself: containers that
/// filter the call refuse it even there.
pub(crate) fn cross_memory_allowed() -> bool {
    let source = [0u8; 1];
    let mut target = [0u8; 1];
    let remote = libc::iovec { iov_base: source.as_ptr() as *mut _, iov_len: 1 };
    let local = libc::iovec { iov_base: target.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: both vectors describe one byte that is alive during the call; the remote one is only
    // read.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    read == 1
}

/// What a command prints on stdout, or `None` if it is not over in time: then it is killed.
pub(crate) fn output_within(
    command: &mut Command,
    patience: Duration,
) -> io::Result<Option<Vec<u8>>> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut stdout = child.stdout.take();
    let (over, output) = mpsc::channel();
    // Whoever holds the pipe open does not hold us: the thread is left to itself then.
    thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stdout) = &mut stdout {
            let _ = stdout.read_to_end(&mut text);
        }
        let _ = over.send(text);
    });
    let output = output.recv_timeout(patience).ok();
    if output.is_none() {
        // It may be over in this moment.
        let _ = child.kill();
    }
    child.wait()?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probing_cross_memory_does_not_crash() {
        let _ = cross_memory_allowed();
    }
}

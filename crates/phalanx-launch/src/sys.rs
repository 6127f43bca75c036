//! The few system calls that std does not offer. All `unsafe` of this crate is here.

use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub(crate) use libc::{SIGKILL, SIGTERM};

pub(crate) fn effective_user() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

/// The processors that this process may run on; none if the system does not tell.
pub fn allowed_processors() -> Vec<usize> {
    // SAFETY: a set of processors is plain bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is writable and of the size that is given.
    let code = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    if code != 0 {
        return Vec::new();
    }
    let bits = 8 * size_of::<libc::cpu_set_t>();
    // SAFETY: the index is below the number of bits.
    (0..bits).filter(|&processor| unsafe { libc::CPU_ISSET(processor, &set) }).collect()
}

pub(crate) fn send_signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: kill takes two integers; a process that is gone is an error value.
    check(unsafe { libc::kill(pid as libc::pid_t, signal) })
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

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probing_cross_memory_does_not_crash() {
        let _ = cross_memory_allowed();
    }
}

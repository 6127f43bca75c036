use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The kernel's queue of descriptors that have something to say, in the order in which they had.
pub(super) struct Epoll(OwnedFd);

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        // SAFETY: takes one flag; the descriptor it gives is new and nobody else's.
        unsafe {
            let descriptor = check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            Ok(Epoll(OwnedFd::from_raw_fd(descriptor)))
        }
    }

    /// Adds a descriptor, which leaves the queue when it is closed.
    pub(super) fn add(&self, source: &impl AsRawFd) -> io::Result<()> {
        let source = source.as_raw_fd();
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: source as u64 };
        // SAFETY: both descriptors are open, and the event is alive during the call.
        let result =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, source, &mut event) };
        check(result).map(drop)
    }

    /// Waits for the next descriptor that can be read or was closed by the other side.
    pub(super) fn next(&self) -> io::Result<RawFd> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        loop {
            // SAFETY: there is room for the one event that is asked for.
            let result = unsafe { libc::epoll_wait(self.0.as_raw_fd(), &mut event, 1, -1) };
            match check(result) {
                Ok(_) => return Ok(event.u64 as RawFd),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

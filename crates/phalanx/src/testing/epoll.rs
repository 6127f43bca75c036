use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// The kernel's queue of descriptors that have something to say, in the order in which they had.
pub(super) struct Epoll(OwnedFd);

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        Ok(Epoll(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Adds a descriptor, which leaves the queue when it is closed.
    pub(super) fn add(&self, source: &impl AsFd) -> io::Result<()> {
        let source = source.as_fd();
        let number = EventData::new_u64(source.as_raw_fd() as u64);
        Ok(epoll::add(&self.0, source, number, EventFlags::IN)?)
    }

    /// Waits for the next descriptor that can be read or was closed by the other side.
    pub(super) fn next(&self) -> io::Result<RawFd> {
        let mut room = [MaybeUninit::uninit()];
        loop {
            match epoll::wait(&self.0, &mut room, None) {
                Ok(([event], _)) => return Ok(event.data.u64() as RawFd),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

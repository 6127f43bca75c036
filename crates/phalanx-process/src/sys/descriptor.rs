//! Descriptors that are not 0, 1 or 2: what is there when these are closed would get what the program prints.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The first descriptor that is not a standard stream.
pub const FIRST: i32 = 3;

/// The same descriptor, or a copy with a higher number.
pub fn above_standard(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() >= FIRST {
        return Ok(descriptor);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&descriptor, FIRST)?)
}

/// Opens standard streams that are closed, with nothing behind them, as the standard library does before `main`.
pub fn open_standard() -> io::Result<()> {
    for stream in 0..FIRST {
        // SAFETY: it looks whether the descriptor is open.
        if unsafe { libc::fcntl(stream, libc::F_GETFD) } == -1
            && io::Error::last_os_error().raw_os_error() == Some(Errno::BADF.raw_os_error())
        {
            // The lowest free number is this one.
            let nothing = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
            if nothing.as_raw_fd() == stream {
                // It is the program's from now on.
                std::mem::forget(nothing);
            }
        }
    }
    Ok(())
}

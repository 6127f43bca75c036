//! A file in memory that the processes of a tree share. It has no name: nothing is left behind by any exit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

use super::descriptor;
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap};

/// The shared file.
#[derive(Debug)]
pub struct Memory(OwnedFd);

impl Memory {
    pub fn create() -> io::Result<Memory> {
        Ok(Memory(descriptor::above_standard(memfd_create("phalanx", MemfdFlags::CLOEXEC)?)?))
    }

    pub fn from_fd(fd: OwnedFd) -> Memory {
        Memory(fd)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Makes the file at least this long. Only one process at a time may do so.
    pub fn grow_to(&self, length: u64) -> io::Result<()> {
        if u64::try_from(fstat(&self.0)?.st_size).unwrap_or(0) < length {
            ftruncate(&self.0, length)?;
        }
        Ok(())
    }

    pub fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(fstat(&self.0)?.st_size).unwrap_or(0))
    }

    /// Maps a part of the file for the rest of the life of this process.
    pub fn map(&self, offset: u64, length: usize) -> io::Result<NonNull<u8>> {
        // SAFETY: the kernel chooses the place, so that nothing is replaced.
        let place = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
                &self.0,
                offset,
            )?
        };
        NonNull::new(place.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))
    }
}

/// Gives the memory of whole pages back; they read as zeros afterwards.
///
/// # Safety
/// The range is mapped from a [`Memory`], and nobody uses it.
pub unsafe fn give_back(start: NonNull<u8>, length: usize) -> io::Result<()> {
    // SAFETY: as above.
    unsafe { madvise(start.as_ptr().cast(), length, Advice::LinuxRemove)? };
    Ok(())
}

//! The memory that all processes of a tree share, mapped piece by piece.
//!
//! One file without a name, in segments: the first has 64 MiB, each further one twice as much as the one before.
//! A process maps a segment when it first touches it, and never unmaps it. So an address is the same number in all
//! processes, an offset in the file, and needs no descriptor to travel; and a limit on address space is met late.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::sys::memory::Memory;

/// The first segment.
const FIRST: u64 = 64 << 20;
/// Together they hold 64 TiB.
const SEGMENTS: usize = 20;

/// A place in the shared memory. No object has place 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub u64);

#[derive(Clone, Copy)]
struct Mapped(NonNull<u8>);

// SAFETY: the memory stays mapped, and is shared by nature.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

pub struct Segments {
    memory: Memory,
    mapped: [OnceLock<Mapped>; SEGMENTS],
}

/// The number of the segment in which a place is.
fn segment_of(place: u64) -> usize {
    (place / FIRST + 1).ilog2() as usize
}

fn start_of(segment: usize) -> u64 {
    FIRST * ((1 << segment) - 1)
}

fn length_of(segment: usize) -> u64 {
    FIRST << segment
}

impl Segments {
    pub fn new(memory: Memory) -> Segments {
        Segments { memory, mapped: [const { OnceLock::new() }; SEGMENTS] }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// Where a block of this length can begin, at or after a place: blocks do not cross segments.
    pub fn fit(from: u64, length: u64) -> Option<u64> {
        let mut segment = segment_of(from);
        if from + length <= start_of(segment) + length_of(segment) {
            return Some(from);
        }
        while length_of(segment) < length || start_of(segment) < from {
            segment += 1;
        }
        (segment < SEGMENTS).then(|| start_of(segment))
    }

    /// Makes the file long enough for the segment of this place. Only one process at a time may do so.
    pub fn grow_for(&self, place: u64) -> io::Result<()> {
        let segment = segment_of(place);
        self.memory.grow_to(start_of(segment) + length_of(segment))
    }

    /// The address of a block here.
    pub fn address(&self, place: Place, length: usize) -> io::Result<NonNull<u8>> {
        let segment = segment_of(place.0);
        let inside = place.0 - start_of(segment);
        if segment >= SEGMENTS || inside + length as u64 > length_of(segment) {
            return Err(io::Error::other(format!(
                "no block of {length} bytes is at {:#x}",
                place.0
            )));
        }
        let base = match self.mapped[segment].get() {
            Some(base) => *base,
            None => self.map(segment)?,
        };
        // SAFETY: the block lies within the mapped segment, as was just checked.
        Ok(unsafe { base.0.add(inside as usize) })
    }

    #[cold]
    fn map(&self, segment: usize) -> io::Result<Mapped> {
        let (start, length) = (start_of(segment), length_of(segment));
        // Beyond the end of the file an access would be a signal.
        if self.memory.len()? < start + length {
            return Err(io::Error::other(format!(
                "segment {segment} of the shared memory does not exist"
            )));
        }
        let mapped = Mapped(self.memory.map(start, length as usize)?);
        // Another thread may have been faster: its mapping is used, and this one stays, unused.
        Ok(*self.mapped[segment].get_or_init(|| mapped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_each_other_without_gaps() {
        for segment in 0..SEGMENTS {
            assert_eq!(segment_of(start_of(segment)), segment);
            assert_eq!(segment_of(start_of(segment) + length_of(segment) - 1), segment);
            assert_eq!(start_of(segment) + length_of(segment), start_of(segment + 1));
        }
    }

    #[test]
    fn blocks_do_not_cross_segments() {
        assert_eq!(Segments::fit(100, 64), Some(100));
        assert_eq!(Segments::fit(FIRST - 64, 64), Some(FIRST - 64));
        assert_eq!(Segments::fit(FIRST - 63, 64), Some(FIRST));
        assert_eq!(Segments::fit(100, 3 * FIRST), Some(start_of(2)));
        assert_eq!(Segments::fit(100, u64::MAX / 4), None);
    }
}

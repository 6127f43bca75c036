//! Blocks of shared memory: powers of two from 64 bytes, a list of free ones for each size.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::segments::{Place, Segments};
use crate::sys::memory;
use crate::sys::robust::RobustMutex;

/// The smallest block, and the alignment of all.
const SMALLEST: usize = 64;
const SIZES: usize = 40;
/// From this size on the memory of a free block goes back to the system,
const LARGE: usize = 256 << 10;
/// but for so many bytes, which are soon used again: new memory is slow.
const KEPT: u64 = 64 << 20;
const PAGE: usize = 4096;

#[repr(C)]
pub struct Blocks {
    lock: RobustMutex,
    /// Beyond it nothing was taken yet.
    end: AtomicU64,
    /// Bytes of large blocks that are free and were not given back: about, for who dies may leave it wrong.
    kept: AtomicU64,
    /// The first free block of each size; its first word is the place of the next.
    free: [AtomicU64; SIZES],
}

/// The number of a size, and its bytes.
fn size_for(bytes: usize) -> (usize, usize) {
    let size = bytes.max(SMALLEST).next_power_of_two();
    (size.ilog2() as usize - SMALLEST.ilog2() as usize, size)
}

impl Blocks {
    /// Begins after what lies at the beginning of the memory.
    pub fn init(&self, after: u64) -> io::Result<()> {
        // SAFETY: the memory was just created.
        unsafe { self.lock.init()? };
        self.end.store(after.next_multiple_of(PAGE as u64), Ordering::Relaxed);
        Ok(())
    }

    pub fn take(&self, segments: &Segments, bytes: usize) -> io::Result<Place> {
        if bytes > SMALLEST << (SIZES - 1) {
            return Err(io::Error::other(format!("a block of {bytes} bytes is too large")));
        }
        let (number, size) = size_for(bytes);
        // A holder that died has left the lists as they were before or after its one store.
        let (_held, _) = self.lock.hold();
        let first = self.free[number].load(Ordering::Relaxed);
        if first != 0 {
            let [next, is_kept] = words_of(segments, Place(first))?;
            if is_kept.load(Ordering::Relaxed) != 0 {
                let kept = self.kept.load(Ordering::Relaxed);
                self.kept.store(kept.saturating_sub(size as u64), Ordering::Relaxed);
            }
            crash_point!("block-take");
            self.free[number].store(next.load(Ordering::Relaxed), Ordering::Release);
            return Ok(Place(first));
        }
        let end = self.end.load(Ordering::Relaxed);
        let aligned = end.next_multiple_of((size as u64).min(PAGE as u64));
        let place = Segments::fit(aligned, size as u64)
            .ok_or_else(|| io::Error::other("the shared memory is at its largest"))?;
        segments.grow_for(place)?;
        segments.address(Place(place), size)?;
        crash_point!("block-take-new");
        self.end.store(place + size as u64, Ordering::Release);
        Ok(Place(place))
    }

    /// # Safety
    /// The block was taken with this length, and nobody uses it.
    pub unsafe fn give(&self, segments: &Segments, place: Place, bytes: usize) {
        let (number, size) = size_for(bytes);
        let Ok(address) = segments.address(place, size) else { return };
        let is_large = size >= LARGE;
        let is_kept = is_large && self.kept.load(Ordering::Relaxed) + size as u64 <= KEPT;
        if is_large && !is_kept {
            // SAFETY: nobody uses it, and it is aligned to pages. Where the system keeps the memory nothing is lost.
            let _kept = unsafe { memory::give_back(address, size) };
        }
        let (_held, _) = self.lock.hold();
        let Ok([next, mark]) = words_of(segments, place) else { return };
        if is_kept {
            self.kept.fetch_add(size as u64, Ordering::Relaxed);
        }
        mark.store(is_kept.into(), Ordering::Relaxed);
        crash_point!("block-give");
        next.store(self.free[number].load(Ordering::Relaxed), Ordering::Relaxed);
        crash_point!("block-give-free");
        self.free[number].store(place.0, Ordering::Release);
    }
}

/// The words of a free block: the place of the next one, and whether its memory was kept though it is large.
fn words_of(segments: &Segments, block: Place) -> io::Result<[&AtomicU64; 2]> {
    let address: NonNull<[AtomicU64; 2]> =
        segments.address(block, 2 * size_of::<AtomicU64>())?.cast();
    // SAFETY: blocks are aligned, stay mapped, and this one is free: its words are used only under the lock.
    let words = unsafe { address.as_ref() };
    Ok([&words[0], &words[1]])
}

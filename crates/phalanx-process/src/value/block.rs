//! The memory of values: a block of the arena that belongs to an object.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::Pod;

use crate::arena::{Arena, Place};
use crate::error::{Error, ErrorKind, Result};

/// What blocks are aligned to.
const ALIGNED: usize = 64;

#[repr(C)]
pub struct Block {
    place: AtomicU64,
    bytes: AtomicU64,
}

impl Block {
    /// Takes memory for values, which the caller fills before anybody else knows them.
    pub fn take<T: Pod>(&self, arena: &Arena, count: usize) -> Result<NonNull<T>> {
        let refused = |detail: String| Error::new(ErrorKind::Argument, "new", detail);
        if align_of::<T>() > ALIGNED {
            let detail = format!("a type that is aligned to {} bytes", align_of::<T>());
            return Err(refused(detail));
        }
        let bytes = count
            .checked_mul(size_of::<T>())
            .ok_or_else(|| refused(format!("{count} values of {} bytes", size_of::<T>())))?;
        self.place.store(0, Ordering::Relaxed);
        let place = arena.take(bytes)?;
        let address = arena.address(place, bytes)?;
        self.bytes.store(bytes as u64, Ordering::Relaxed);
        self.place.store(place.0, Ordering::Release);
        Ok(address.cast())
    }

    /// Where the values lie here.
    pub fn address<T: Pod>(&self, arena: &Arena, count: usize) -> Result<NonNull<T>> {
        let place = Place(self.place.load(Ordering::Acquire));
        let bytes = self.bytes.load(Ordering::Relaxed) as usize;
        // Types are told apart by their names, which two of them may share.
        if count.checked_mul(size_of::<T>()) != Some(bytes) || align_of::<T>() > ALIGNED {
            let detail = format!("it has {bytes} bytes: it is of another type of the same name");
            return Err(Error::new(ErrorKind::Decode, "address", detail));
        }
        Ok(arena.address(place, bytes)?.cast())
    }

    /// Gives the memory back. Nobody has a handle.
    pub fn give(&self, arena: &Arena) {
        let place = self.place.swap(0, Ordering::AcqRel);
        if place != 0 {
            // SAFETY: it was taken with this length, and the object is gone.
            unsafe { arena.give(Place(place), self.bytes.load(Ordering::Relaxed) as usize) };
        }
    }
}

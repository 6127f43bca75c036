//! What each worker of a pool has taken, and the results that it has not sent yet.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::{Arena, Kind, Place, Shared, existing};
use crate::error::Result;

/// Workers of one pool.
pub const MAX_WORKERS: usize = 256;
/// Results of a batch are kept in so much memory until they are sent.
pub const AREA: usize = 64 << 10;

/// Of one worker.
#[repr(C, align(64))]
pub struct Lease {
    /// The number of the batch that it works on, plus one.
    batch: AtomicU64,
    /// Bytes of results in its area.
    stored: AtomicU64,
    area: AtomicU64,
}

/// In shared memory, for a pool.
#[repr(C, align(64))]
pub struct Leases([Lease; MAX_WORKERS]);

// SAFETY: it is `repr(C)`, of atomics.
unsafe impl Shared for Leases {
    const KIND: Kind = Kind::Pool;

    fn destroy(&self, arena: &Arena) {
        for lease in &self.0 {
            let area = lease.area.swap(0, Ordering::AcqRel);
            if area != 0 {
                // SAFETY: it was taken with this length, and no worker has a handle.
                unsafe { arena.give(Place(area), AREA) };
            }
        }
    }
}

impl Leases {
    pub fn of(&self, worker: usize) -> &Lease {
        &self.0[worker]
    }
}

impl Lease {
    /// Before a worker starts in this place.
    pub fn begin(&self) -> Result<()> {
        if self.area.load(Ordering::Acquire) == 0 {
            self.area.store(existing().take(AREA)?.0, Ordering::Release);
        }
        self.stored.store(0, Ordering::Release);
        self.batch.store(0, Ordering::Release);
        Ok(())
    }

    pub fn take(&self, batch: u64) {
        self.batch.store(batch + 1, Ordering::Release);
    }

    pub fn finish(&self) {
        self.batch.store(0, Ordering::Release);
    }

    /// The batch that the worker has taken and not finished.
    pub fn batch(&self) -> Option<u64> {
        self.batch.load(Ordering::Acquire).checked_sub(1)
    }

    fn area(&self) -> Result<NonNull<u8>> {
        existing().address(Place(self.area.load(Ordering::Acquire)), AREA)
    }

    /// Stores a result behind those that are there; `false` when there is no room. Only the worker does so.
    pub fn store(&self, result: &[u8]) -> Result<bool> {
        let stored = self.stored.load(Ordering::Relaxed) as usize;
        if result.len() > AREA - stored {
            return Ok(false);
        }
        let area = self.area()?;
        // SAFETY: there is room; what lies behind `stored` belongs to the worker.
        unsafe {
            area.add(stored).copy_from_nonoverlapping(NonNull::from(result).cast(), result.len())
        };
        self.stored.store((stored + result.len()) as u64, Ordering::Release);
        Ok(true)
    }

    /// Appends the results that are stored. The worker does so, or who looks after its death.
    pub fn copy_to(&self, buffer: &mut Vec<u8>) -> Result<()> {
        let stored = (self.stored.load(Ordering::Acquire) as usize).min(AREA);
        let area = self.area()?;
        // SAFETY: so much was stored, and the worker adds nothing now.
        buffer.extend_from_slice(unsafe { std::slice::from_raw_parts(area.as_ptr(), stored) });
        Ok(())
    }

    pub fn clear(&self) {
        self.stored.store(0, Ordering::Release);
    }
}

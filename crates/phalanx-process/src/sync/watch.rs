//! Who waits for whom.

use super::core::Caller;
use crate::arena::Place;
use crate::sys::Deadline;

/// What a thread is about to wait for, and where.
pub struct Site {
    /// "lock", "RwLock", …
    pub what: &'static str,
    pub number: u32,
    /// Where it lies: a [`Core`](super::core::Core) comes first in all of them.
    pub place: Place,
    pub location: Caller,
}

/// A wait, seen by others for as long as it lasts.
pub struct Waiting {}

impl Waiting {
    pub fn begin(_site: &Site) -> Waiting {
        Waiting {}
    }

    /// Until when to sleep now.
    pub fn until(&self, deadline: Deadline) -> Deadline {
        deadline
    }

    /// Looks for a circle, when it is time to.
    pub fn look(&mut self) -> Result<(), String> {
        Ok(())
    }
}

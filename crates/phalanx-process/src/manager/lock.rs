//! The lock of a managed object, which is held while functions of the user's run.

use std::marker::PhantomData;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::Deadline;
use crate::sys::robust::{Acquired, NotAcquired, RobustMutex};

/// Held by this thread, until the end of the scope.
pub struct Guard<'a> {
    mutex: &'a RobustMutex,
    _stays: PhantomData<*const ()>,
}

/// Waits for the lock. A thread that has it already cannot: it would wait for itself.
pub fn lock<'a>(operation: &'static str, mutex: &'a RobustMutex) -> Result<(Guard<'a>, Acquired)> {
    match mutex.lock(Deadline::NEVER) {
        Ok(acquired) => Ok((Guard { mutex, _stays: PhantomData }, acquired)),
        Err(NotAcquired::HeldHere) => {
            let detail = "this thread is in the middle of an update of the same object; \
                          use what the update's function was given";
            Err(Error::new(ErrorKind::Deadlock, operation, detail))
        }
        Err(NotAcquired::Busy) => unreachable!("the wait has no end"),
    }
}

/// Makes a mutex of the memory of a new object.
pub fn init(mutex: &RobustMutex) -> Result<()> {
    // SAFETY: nobody else knows the object yet.
    unsafe { mutex.init() }.map_err(|error| Error::new(ErrorKind::System, "new", error.to_string()))
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.mutex.unlock();
    }
}

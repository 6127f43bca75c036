//! Several locks at once.

use std::panic::Location;

use super::lock::{Lock, LockGuard};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::Deadline;

/// Holds several locks. All processes take them in the same order, whatever the order of the arguments: those who
/// take all of their locks so cannot wait for each other in a circle.
///
/// ```
/// use phalanx_process::{Lock, lock_all};
///
/// let (from, to) = (Lock::new()?, Lock::new()?);
/// let guards = lock_all([&from, &to])?;
/// assert!(from.lock().is_err() && to.lock().is_err());
/// drop(guards);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
///
/// # Errors
/// `Argument` when the same lock comes twice; else as [`Lock::lock`]. None of the locks is held then.
#[track_caller]
pub fn lock_all<const N: usize>(locks: [&Lock; N]) -> Result<[LockGuard<'_>; N]> {
    let location = Location::caller();
    let mut order: [usize; N] = std::array::from_fn(|i| i);
    order.sort_unstable_by_key(|&i| locks[i].object.number());
    if let Some(twice) = order.windows(2).find(|pair| locks[pair[0]] == locks[pair[1]]) {
        return Err(Error::new(ErrorKind::Argument, "lock_all", "it is in the list twice")
            .of(locks[twice[0]].subject())
            .at(location));
    }
    let mut guards: [Option<LockGuard<'_>>; N] = std::array::from_fn(|_| None);
    for i in order {
        guards[i] = locks[i].take("lock_all", Deadline::NEVER, location)?;
    }
    Ok(guards.map(|guard| guard.expect("a wait without an end")))
}

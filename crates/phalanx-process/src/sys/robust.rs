//! A lock in shared memory whose holder may die.
//!
//! It is glibc's process-shared robust mutex: the kernel itself tells the next owner that the previous one has
//! died. Nothing compares process ids, which are used again.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Deadline, SLICE, STANDSTILL};

/// The mutex. Zeroed memory must be made one by [`init`](RobustMutex::init) before anybody uses it.
///
/// Its memory stays a mutex, and mapped, for as long as the process runs: glibc and the kernel may look at it
/// shortly after it was unlocked (sourceware bug 14485).
#[repr(C, align(8))]
pub struct RobustMutex {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    made: AtomicU32,
}

// SAFETY: it is made for use by several threads and processes.
unsafe impl Sync for RobustMutex {}
// SAFETY: nothing in it belongs to a thread until it is locked.
unsafe impl Send for RobustMutex {}

/// How a lock was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The previous holder released it.
    Released,
    /// The previous holder died while it held it. The lock works on; what it protects may be half changed.
    HolderDied,
}

/// Why a lock was not acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAcquired {
    /// Somebody else holds it, and the time is up.
    Busy,
    /// This thread holds it.
    HeldHere,
}

/// Why a gate was not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPassed {
    /// Somebody waits behind it, and there is nothing to do.
    NothingToDo,
    /// The one behind it does not move.
    Standstill,
}

impl RobustMutex {
    /// Makes a mutex of this memory, once: what is a mutex already stays one. A thread of a dying process may hold
    /// it still, and the kernel then finds the other locks of that thread by way of it.
    ///
    /// # Safety
    /// The memory was zeroed, or is a mutex; nobody else makes it one now.
    pub unsafe fn init(&self) -> io::Result<()> {
        if self.made.load(Ordering::Acquire) != 0 {
            // A holder that died concerns what was there before.
            self.is_free();
            return Ok(());
        }
        // SAFETY: the caller's promise.
        unsafe { self.make()? };
        self.made.store(1, Ordering::Release);
        Ok(())
    }

    /// Whether nobody holds it, now that it has lost its purpose: what this thread has not released is released.
    pub fn is_free(&self) -> bool {
        match self.try_lock() {
            Ok(_) | Err(NotAcquired::HeldHere) => {
                self.unlock();
                true
            }
            Err(NotAcquired::Busy) => false,
        }
    }

    /// # Safety
    /// Nobody else uses the memory, which is not a mutex yet.
    unsafe fn make(&self) -> io::Result<()> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the attributes are initialised before they are set and used, and destroyed once; the caller owns
        // the memory of the mutex.
        unsafe {
            check(libc::pthread_mutexattr_init(attributes.as_mut_ptr()))?;
            let attributes = attributes.as_mut_ptr();
            let made =
                check(libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED))
                    .and_then(|()| {
                        check(libc::pthread_mutexattr_setrobust(
                            attributes,
                            libc::PTHREAD_MUTEX_ROBUST,
                        ))
                    })
                    .and_then(|()| {
                        check(libc::pthread_mutexattr_settype(
                            attributes,
                            libc::PTHREAD_MUTEX_ERRORCHECK,
                        ))
                    })
                    .and_then(|()| check(libc::pthread_mutex_init(self.mutex.get(), attributes)));
            check(libc::pthread_mutexattr_destroy(attributes))?;
            made
        }
    }

    pub fn try_lock(&self) -> Result<Acquired, NotAcquired> {
        // SAFETY: the memory is a mutex that was initialised.
        self.outcome(unsafe { libc::pthread_mutex_trylock(self.mutex.get()) })
    }

    pub fn lock(&self, deadline: Deadline) -> Result<Acquired, NotAcquired> {
        let mut outcome = self.try_lock();
        while outcome == Err(NotAcquired::Busy) && !deadline.has_passed() {
            let until = in_real_time(deadline.left().map_or(SLICE, |left| left.min(SLICE)));
            // SAFETY: the memory is a mutex that was initialised.
            outcome = self.outcome(unsafe {
                libc::pthread_mutex_timedlock(self.mutex.get(), &raw const until)
            });
        }
        outcome
    }

    /// Acquires a gate with which waiters sleep: who finds it closed has nothing to do there, and is told so when its
    /// time is up. Not because somebody else is just busy, unless it is for so long that it must be stopped.
    pub fn pass(
        &self,
        deadline: Deadline,
        nothing_to_do: impl Fn() -> bool,
    ) -> Result<(), NotPassed> {
        loop {
            match self.lock(deadline) {
                Ok(_) => return Ok(()),
                Err(NotAcquired::HeldHere) => {
                    unreachable!("no code of the user's runs under a gate")
                }
                Err(NotAcquired::Busy) => {}
            }
            if nothing_to_do() {
                return Err(NotPassed::NothingToDo);
            }
            if deadline.has_passed_by(STANDSTILL) {
                return Err(NotPassed::Standstill);
            }
            std::thread::yield_now();
        }
    }

    /// Acquires it for a few instructions. Nobody holds it longer, so that waiting needs no end.
    pub fn hold(&self) -> (Held<'_>, Acquired) {
        match self.lock(Deadline::NEVER) {
            Ok(acquired) => (Held(self), acquired),
            Err(error) => unreachable!("an internal lock: {error:?}"),
        }
    }

    /// Releases it.
    ///
    /// # Panics
    /// When this thread does not hold it, which its callers exclude.
    pub fn unlock(&self) {
        // SAFETY: the memory is a mutex that was initialised.
        let code = unsafe { libc::pthread_mutex_unlock(self.mutex.get()) };
        assert_eq!(code, 0, "unlock: {}", io::Error::from_raw_os_error(code));
    }

    fn outcome(&self, code: libc::c_int) -> Result<Acquired, NotAcquired> {
        match code {
            0 => Ok(Acquired::Released),
            libc::EOWNERDEAD => {
                // SAFETY: this thread holds the mutex now.
                let code = unsafe { libc::pthread_mutex_consistent(self.mutex.get()) };
                assert_eq!(code, 0, "consistent: {}", io::Error::from_raw_os_error(code));
                Ok(Acquired::HolderDied)
            }
            libc::EBUSY | libc::ETIMEDOUT => Err(NotAcquired::Busy),
            libc::EDEADLK => Err(NotAcquired::HeldHere),
            code => unreachable!("robust mutex: {}", io::Error::from_raw_os_error(code)),
        }
    }
}

/// A lock that is released at the end of the scope.
pub struct Held<'a>(&'a RobustMutex);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

/// The C library waits by the clock of the day. It may be set: waits are short slices.
fn in_real_time(after: Duration) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes one timespec.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    assert_eq!(code, 0, "the clock cannot be read");
    let nanoseconds = i64::from(after.subsec_nanos()) + now.tv_nsec;
    now.tv_sec += after.as_secs() as i64 + nanoseconds / 1_000_000_000;
    now.tv_nsec = nanoseconds % 1_000_000_000;
    now
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

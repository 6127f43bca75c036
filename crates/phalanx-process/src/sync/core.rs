//! The lock that all others are made of: it knows its holder, and is poisoned when that one dies.

use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};

use super::party::{Holder, me, thread};
use super::watch::{Site, Waiting};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::Deadline;
use crate::sys::robust::{Acquired, NotAcquired, RobustMutex};

/// Looks before sleeping. A holder that runs is often done by then, and going to sleep takes longer.
const LOOKS: u32 = 30;
const PAUSES: u32 = 12;

const SOUND: u32 = 0;
const DIED: u32 = 1;
const PANICKED: u32 = 2;

#[repr(C, align(64))]
pub struct Core {
    mutex: RobustMutex,
    poisoned: AtomicU32,
    pub holder: Holder,
}

/// Why a lock was not acquired.
#[derive(Debug)]
pub enum Refusal {
    TimedOut,
    /// This thread holds it.
    HeldHere,
    Poisoned,
    /// Its holder waits for this thread, in the words of the report.
    Circle(String),
}

impl Core {
    /// Makes it ready for a new object.
    pub fn init(&self) -> Result<()> {
        let refused = |detail: String| Error::new(ErrorKind::System, "new", detail);
        // SAFETY: nobody else knows it yet.
        unsafe { self.mutex.init() }.map_err(|error| refused(error.to_string()))?;
        self.poisoned.store(SOUND, Ordering::Relaxed);
        self.holder.reset();
        Ok(())
    }

    /// Whether the lock of an object that is gone can be that of another.
    pub fn is_free(&self) -> bool {
        self.mutex.is_free()
    }

    /// Acquires it. Who heeds poison is refused when the last holder died.
    pub fn lock(&self, site: &Site, deadline: Deadline) -> Result<(), Refusal> {
        self.lock_unnoted(site, deadline)?;
        self.holder.note(site.location);
        Ok(())
    }

    /// As [`lock`](Core::lock), without waiting.
    pub fn try_lock(&self, site: &Site) -> Result<(), Refusal> {
        match self.mutex.try_lock() {
            Err(NotAcquired::Busy) => return Err(Refusal::TimedOut),
            outcome => self.acquired(outcome.map_err(|_| Refusal::HeldHere)?),
        }
        self.heed_poison()?;
        self.holder.note(site.location);
        Ok(())
    }

    /// As [`lock`](Core::lock), for a holder whose death does no harm.
    pub fn lock_unnoted(&self, site: &Site, deadline: Deadline) -> Result<(), Refusal> {
        self.acquire(site, deadline)?;
        self.heed_poison()
    }

    fn heed_poison(&self) -> Result<(), Refusal> {
        if self.poisoned.load(Ordering::Relaxed) != SOUND {
            self.mutex.unlock();
            return Err(Refusal::Poisoned);
        }
        Ok(())
    }

    /// Whether this thread holds it.
    pub fn is_held_here(&self) -> bool {
        self.holder.held().is_some_and(|held| held.who == me() && held.thread == thread())
    }

    /// Acquires it in any case, and clears the poison.
    pub fn recover(&self, site: &Site) -> Result<(), Refusal> {
        self.acquire(site, Deadline::NEVER)?;
        self.holder.note(site.location);
        self.poisoned.store(SOUND, Ordering::Release);
        Ok(())
    }

    /// Acquires it again, and keeps it also when it is poisoned: says whether it is.
    pub fn relock(&self, site: &Site) -> Result<bool, Refusal> {
        // A circle was reported when it was found; whoever waits for a condition must have the lock again.
        while let Err(refusal) = self.acquire(site, Deadline::NEVER) {
            if !matches!(refusal, Refusal::Circle(_)) {
                return Err(refusal);
            }
        }
        let is_sound = self.poisoned.load(Ordering::Relaxed) == SOUND;
        if is_sound {
            self.holder.note(site.location);
        }
        Ok(is_sound)
    }

    fn acquire(&self, site: &Site, deadline: Deadline) -> Result<(), Refusal> {
        let acquired = match self.mutex.try_lock() {
            Err(NotAcquired::Busy) => self.wait(site, deadline)?,
            outcome => outcome.map_err(|_| Refusal::HeldHere)?,
        };
        self.acquired(acquired);
        Ok(())
    }

    fn acquired(&self, acquired: Acquired) {
        // One that had not begun, or had finished already, leaves nothing half done.
        if acquired == Acquired::HolderDied && self.holder.held().is_some() {
            self.poisoned.store(DIED, Ordering::Release);
        }
    }

    #[cold]
    fn wait(&self, site: &Site, deadline: Deadline) -> Result<Acquired, Refusal> {
        if deadline.has_passed() {
            return Err(Refusal::TimedOut);
        }
        for _ in 0..LOOKS {
            for _ in 0..PAUSES {
                std::hint::spin_loop();
            }
            if let Ok(acquired) = self.mutex.try_lock() {
                return Ok(acquired);
            }
        }
        let mut waiting = Waiting::begin(site);
        loop {
            match self.mutex.lock(waiting.until(deadline)) {
                Ok(acquired) => return Ok(acquired),
                Err(NotAcquired::HeldHere) => return Err(Refusal::HeldHere),
                Err(NotAcquired::Busy) => {}
            }
            if deadline.has_passed() {
                return Err(Refusal::TimedOut);
            }
            waiting.look().map_err(Refusal::Circle)?;
        }
    }

    /// Releases it. This thread holds it.
    pub fn unlock(&self) {
        self.holder.clear();
        self.mutex.unlock();
    }

    /// Releases it after a panic.
    fn unlock_in_panic(&self) {
        self.poison_by_panic();
        // Its holder stays noted, for the message.
        self.mutex.unlock();
    }

    /// What happened under it is not complete, because of a panic.
    pub fn poison_by_panic(&self) {
        self.poisoned.store(PANICKED, Ordering::Release);
    }

    pub fn is_poisoned(&self) -> bool {
        // Nobody may have looked since the holder died.
        if self.poisoned.load(Ordering::Acquire) == SOUND
            && let Ok(acquired) = self.mutex.try_lock()
        {
            self.acquired(acquired);
            self.mutex.unlock();
        }
        self.poisoned.load(Ordering::Acquire) != SOUND
    }

    /// The error for a refusal.
    #[cold]
    pub fn fail(&self, refusal: Refusal, operation: &'static str, site: &Site) -> Error {
        let error = match refusal {
            Refusal::TimedOut => Error::new(ErrorKind::TimedOut, operation, ""),
            Refusal::HeldHere => Error::new(ErrorKind::Deadlock, operation, self.held_here()),
            Refusal::Poisoned => Error::new(ErrorKind::Poisoned, operation, self.poison()),
            Refusal::Circle(report) => Error::new(ErrorKind::Deadlock, operation, report),
        };
        error.of(format_args!("{} {}", site.what, site.number)).at(site.location)
    }

    fn held_here(&self) -> String {
        format!("this thread has held it since {}", self.holder.place())
    }

    fn poison(&self) -> String {
        let how = match self.poisoned.load(Ordering::Acquire) {
            PANICKED => "panicked",
            _ => "died",
        };
        format!(
            "{} {how} while it held it, taken at {}: put right what it protects, and call `recover`",
            self.holder.person(),
            self.holder.place()
        )
    }
}

/// A core that is held, and released at the end.
pub struct Hold<'a> {
    core: &'a Core,
    /// It was taken in a panic, which is not the fault of what happens under it.
    in_panic: bool,
    /// Whoever locked it must unlock it.
    not_send: PhantomData<*const ()>,
}

impl<'a> Hold<'a> {
    /// This thread holds it.
    pub fn new(core: &'a Core) -> Self {
        Hold { core, in_panic: std::thread::panicking(), not_send: PhantomData }
    }

    pub fn core(&self) -> &'a Core {
        self.core
    }

    /// A panic goes on while it is held.
    pub fn panics(&self) -> bool {
        !self.in_panic && std::thread::panicking()
    }
}

impl Hold<'_> {
    /// Releases the core, once.
    pub fn release(&self) {
        if self.panics() {
            self.core.unlock_in_panic();
        } else {
            self.core.unlock();
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

/// Acquires a core for a handle: with errors in the words of its user.
pub fn take<'a>(
    core: &'a Core,
    site: &Site,
    operation: &'static str,
    deadline: Deadline,
) -> Result<Option<Hold<'a>>> {
    match core.lock(site, deadline) {
        Ok(()) => Ok(Some(Hold::new(core))),
        Err(Refusal::TimedOut) => Ok(None),
        Err(refusal) => Err(core.fail(refusal, operation, site)),
    }
}

/// The same, in any case.
pub fn recover<'a>(core: &'a Core, site: &Site) -> Result<Hold<'a>> {
    core.recover(site).map_err(|refusal| core.fail(refusal, "recover", site))?;
    Ok(Hold::new(core))
}

/// The place of a call, for what waits there.
pub type Caller = &'static Location<'static>;

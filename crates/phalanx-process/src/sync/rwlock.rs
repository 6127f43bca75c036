//! A lock that many readers, or one writer, hold.
//!
//! A writer holds the core; a reader holds it for a moment only, to be counted. A writer that waits for readers
//! holds the core already: no more readers come, and when it dies the kernel hands the core on.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use super::core::{Caller, Core, Hold, Refusal, recover};
use super::handle;
use super::party::{Held, place, thread};
use super::semaphore::Shares;
use super::watch::{Site, Waiting};
use crate::arena::{Arena, Kind, MAX_PROCESSES, Name, Object, Shared, existing, fingerprint};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::{Deadline, futex, image};

#[repr(C, align(64))]
pub struct Body {
    core: Core,
    /// A writer sleeps until the readers are gone.
    sleeps: AtomicU32,
    readers: Shares,
    /// Where the last reader of each process began, and in which thread, for messages.
    lines: [AtomicU64; MAX_PROCESSES],
    threads: [AtomicU32; MAX_PROCESSES],
}

// SAFETY: it is `repr(C)`, of atomics and mutexes, and aligned to 64.
unsafe impl Shared for Body {
    const KIND: Kind = Kind::RwLock;

    fn destroy(&self, _arena: &Arena) {}

    fn is_free(&self) -> bool {
        self.core.is_free()
    }
}

impl Body {
    fn begin_to_read(&self, location: Caller) {
        let me = existing().me() as usize;
        self.lines[me].store(image::name_of_location(location), Ordering::Relaxed);
        self.threads[me].store(thread(), Ordering::Relaxed);
        self.readers.add();
    }

    /// Those who read.
    pub fn readers(&self) -> impl Iterator<Item = Held> {
        self.readers.owners().map(|(who, _)| {
            let slot = who as u32 as usize - 1;
            Held {
                who,
                thread: self.threads[slot].load(Ordering::Relaxed),
                line: self.lines[slot].load(Ordering::Relaxed),
            }
        })
    }
}

thread_local! {
    /// What this thread reads: the place of the lock, how often, and since which line.
    static READS: RefCell<Vec<(Name, usize, Caller)>> = const { RefCell::new(Vec::new()) };
}

fn reads(lock: Name) -> Option<Caller> {
    READS.with_borrow(|reads| {
        reads.iter().find(|(other, ..)| *other == lock).map(|(_, _, location)| *location)
    })
}

fn note_read(lock: Name, location: Caller) {
    READS.with_borrow_mut(|reads| match reads.iter_mut().find(|(other, ..)| *other == lock) {
        Some((_, count, _)) => *count += 1,
        None => reads.push((lock, 1, location)),
    });
}

fn note_end_of_read(lock: Name) {
    READS.with_borrow_mut(|reads| {
        if let Some(i) = reads.iter().position(|(other, ..)| *other == lock) {
            reads[i].1 -= 1;
            if reads[i].1 == 0 {
                reads.swap_remove(i);
            }
        }
    });
}

/// A lock that any number of readers hold at the same time, or one writer.
///
/// A writer that waits comes before readers that ask later. A reader that dies gives its place back; a writer that
/// dies or panics poisons the lock.
///
/// ```
/// use phalanx_process::RwLock;
///
/// let lock = RwLock::new()?;
/// let (one, two) = (lock.read()?, lock.read()?);
/// assert!(lock.write().unwrap_err().is_deadlock());
/// drop((one, two));
/// drop(lock.write()?);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct RwLock {
    object: Object<Body>,
}

handle!(RwLock, "RwLock");

impl RwLock {
    /// A lock that nobody holds.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new() -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Self>(), |_, body: &Body| {
            body.sleeps.store(0, Ordering::Relaxed);
            body.readers.reset();
            body.core.init()
        })
        .map_err(|error| error.of("RwLock").at(location))?;
        Ok(RwLock { object })
    }

    /// Waits until nobody writes, or waits to write, and reads until the guard is dropped. A thread that reads may
    /// read again.
    ///
    /// # Errors
    /// `Poisoned` when the last writer died or panicked; `Deadlock` when this thread writes, or, with
    /// `PHALANX_WATCH=error`, when processes wait for each other in a circle.
    #[track_caller]
    pub fn read(&self) -> Result<ReadGuard<'_>> {
        let guard = self.take_to_read("read", Deadline::NEVER, Location::caller())?;
        Ok(guard.expect("a wait without an end"))
    }

    /// Reads, if that is possible now.
    ///
    /// # Errors
    /// As [`read`](RwLock::read).
    #[track_caller]
    pub fn try_read(&self) -> Result<Option<ReadGuard<'_>>> {
        self.take_to_read("try_read", Deadline::after(Duration::ZERO), Location::caller())
    }

    /// [`read`](RwLock::read), waiting so long at most: `None` when the time is up.
    ///
    /// # Errors
    /// As [`read`](RwLock::read).
    #[track_caller]
    pub fn read_timeout(&self, timeout: Duration) -> Result<Option<ReadGuard<'_>>> {
        self.take_to_read("read_timeout", Deadline::after(timeout), Location::caller())
    }

    /// Waits until nobody reads or writes, and writes until the guard is dropped.
    ///
    /// # Errors
    /// As [`read`](RwLock::read); `Deadlock` also when this thread reads.
    #[track_caller]
    pub fn write(&self) -> Result<WriteGuard<'_>> {
        let guard = self.take_to_write("write", Deadline::NEVER, Location::caller())?;
        Ok(guard.expect("a wait without an end"))
    }

    /// Writes, if that is possible now.
    ///
    /// # Errors
    /// As [`write`](RwLock::write).
    #[track_caller]
    pub fn try_write(&self) -> Result<Option<WriteGuard<'_>>> {
        self.take_to_write("try_write", Deadline::after(Duration::ZERO), Location::caller())
    }

    /// [`write`](RwLock::write), waiting so long at most: `None` when the time is up.
    ///
    /// # Errors
    /// As [`write`](RwLock::write).
    #[track_caller]
    pub fn write_timeout(&self, timeout: Duration) -> Result<Option<WriteGuard<'_>>> {
        self.take_to_write("write_timeout", Deadline::after(timeout), Location::caller())
    }

    /// Waits to write, poisoned or not; the lock is sound afterwards. See
    /// [`Lock::recover`](crate::Lock::recover).
    ///
    /// # Errors
    /// As [`write`](RwLock::write), but for `Poisoned`.
    #[track_caller]
    pub fn recover(&self) -> Result<WriteGuard<'_>> {
        let site = self.site(Location::caller());
        self.refuse_reader("recover", &site)?;
        let hold = recover(&self.object.core, &site)?;
        self.wait_for_readers(&site, Deadline::NEVER)
            .map_err(|refusal| self.object.core.fail(refusal, "recover", &site))?;
        Ok(WriteGuard { lock: self, _hold: hold })
    }

    /// Whether the last writer died or panicked.
    pub fn is_poisoned(&self) -> bool {
        self.object.core.is_poisoned()
    }

    fn take_to_read(
        &self,
        operation: &'static str,
        deadline: Deadline,
        location: Caller,
    ) -> Result<Option<ReadGuard<'_>>> {
        let Body { core, .. } = &*self.object;
        let name = self.object.name();
        if reads(name).is_some() {
            // It keeps writers out already, and must not wait for one that waits for it.
            self.object.begin_to_read(location);
        } else {
            let site = self.site(location);
            match core.lock_unnoted(&site, deadline) {
                Ok(()) => {}
                Err(Refusal::TimedOut) => return Ok(None),
                Err(refusal) => return Err(core.fail(refusal, operation, &site)),
            }
            self.object.begin_to_read(location);
            core.unlock();
        }
        note_read(name, location);
        Ok(Some(ReadGuard { lock: self, not_send: PhantomData }))
    }

    fn take_to_write(
        &self,
        operation: &'static str,
        deadline: Deadline,
        location: Caller,
    ) -> Result<Option<WriteGuard<'_>>> {
        let Body { core, .. } = &*self.object;
        let site = self.site(location);
        self.refuse_reader(operation, &site)?;
        let outcome = core.lock_unnoted(&site, deadline).and_then(|()| {
            let hold = Hold::new(core);
            self.wait_for_readers(&site, deadline)?;
            core.holder.note(location);
            Ok(hold)
        });
        match outcome {
            Ok(hold) => Ok(Some(WriteGuard { lock: self, _hold: hold })),
            Err(Refusal::TimedOut) => Ok(None),
            Err(refusal) => Err(core.fail(refusal, operation, &site)),
        }
    }

    fn refuse_reader(&self, operation: &'static str, site: &Site) -> Result<()> {
        match reads(self.object.name()) {
            None => Ok(()),
            Some(since) => {
                let since = place(image::name_of_location(since));
                let detail = format!("this thread has read it since {since}");
                Err(Error::new(ErrorKind::Deadlock, operation, detail)
                    .of(self.subject())
                    .at(site.location))
            }
        }
    }

    /// The caller has the core: no more readers come.
    fn wait_for_readers(&self, site: &Site, deadline: Deadline) -> Result<(), Refusal> {
        let Body { readers, sleeps, .. } = &*self.object;
        if readers.total() == 0 {
            return Ok(());
        }
        let mut waiting = Waiting::begin(site);
        loop {
            readers.forget_the_dead();
            if readers.total() == 0 {
                return Ok(());
            }
            if deadline.has_passed() {
                return Err(Refusal::TimedOut);
            }
            sleeps.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if readers.total() != 0 {
                futex::wait(sleeps, 1, waiting.until(deadline).slice());
            }
            sleeps.store(0, Ordering::Relaxed);
            waiting.look().map_err(Refusal::Circle)?;
        }
    }

    fn site(&self, location: Caller) -> Site {
        Site { what: "RwLock", number: self.object.number(), place: self.object.place(), location }
    }
}

/// An [`RwLock`] that is read, until the guard is dropped. It stays in the thread that has locked.
#[must_use = "the lock is released at once when the guard is dropped"]
pub struct ReadGuard<'a> {
    lock: &'a RwLock,
    not_send: PhantomData<*const ()>,
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        let body = &*self.lock.object;
        note_end_of_read(self.lock.object.name());
        if body.readers.remove() {
            fence(Ordering::SeqCst);
            if body.sleeps.load(Ordering::Relaxed) != 0
                && body.sleeps.swap(0, Ordering::AcqRel) != 0
            {
                futex::wake(&body.sleeps, 1);
            }
        }
    }
}

impl std::fmt::Debug for ReadGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, read", self.lock)
    }
}

/// An [`RwLock`] that is written, until the guard is dropped. It stays in the thread that has locked.
#[must_use = "the lock is released at once when the guard is dropped"]
pub struct WriteGuard<'a> {
    lock: &'a RwLock,
    _hold: Hold<'a>,
}

impl std::fmt::Debug for WriteGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, written", self.lock)
    }
}

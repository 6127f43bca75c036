//! The children of this process, and one thread that watches over them and the parent.
//!
//! The thread sleeps until a child ends or the parent is gone. When the parent is gone, however it ended, this
//! process ends too: a tree ends with its root. When a child ends, what it held is given back at once, and those who
//! wait for it are woken. A descendant whose parent was killed is watched until it is gone as well.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use super::task::{Remains, give_arguments_back};
use crate::arena::{Ended, Place, State, existing};
use crate::objects;
use crate::sys::{Deadline, descriptor, futex};

/// How long a background process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(1);

/// A child process.
pub struct Child {
    pub slot: u32,
    generation: u32,
    pub pid: u32,
    pub name: String,
    pub background: bool,
    pidfd: OwnedFd,
    /// The child's lifeline: it ends when this is closed.
    _lifeline: OwnedFd,
    ended: Mutex<Option<End>>,
    has_ended: Condvar,
    at_end: Mutex<Option<AtEnd>>,
}

/// What is called once, with the exit code, when a process has ended: on any thread.
pub type AtEnd = Box<dyn FnOnce(i32) + Send>;

/// How a child ended.
struct End {
    exit_code: i32,
    ended: Ended,
    place: Place,
    length: usize,
    taken: bool,
}

struct Family {
    children: Mutex<Vec<Arc<Child>>>,
    epoll: OwnedFd,
    wake: OwnedFd,
    /// Processes whose parent was killed, and which end by themselves now.
    orphans: Mutex<Vec<(u32, Instant)>>,
    leaving: AtomicBool,
}

static FAMILY: OnceLock<Family> = OnceLock::new();

const LIFELINE: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What makes a child: its lifeline, and the generation of its slot.
pub struct Birth {
    pub lifeline: OwnedFd,
    pub generation: u32,
}

/// Starts the thread. In a child it takes the life lock, and says whether the child may begin.
pub fn begin(birth: Option<Birth>) -> io::Result<bool> {
    static BEGINNING: Mutex<()> = Mutex::new(());
    let _one = lock(&BEGINNING);
    if FAMILY.get().is_some() {
        return Ok(true);
    }
    let (lifeline, generation) = birth.map(|birth| (birth.lifeline, birth.generation)).unzip();
    let epoll = descriptor::above_standard(epoll::create(CreateFlags::CLOEXEC)?)?;
    let wake =
        descriptor::above_standard(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)?;
    epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
    if let Some(lifeline) = &lifeline {
        epoll::add(
            &epoll,
            lifeline,
            EventData::new_u64(LIFELINE),
            EventFlags::RDHUP | EventFlags::HUP,
        )?;
    }
    let family = Family {
        children: Mutex::default(),
        epoll,
        wake,
        orphans: Mutex::default(),
        leaving: AtomicBool::new(false),
    };
    let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new().name("phalanx-family".to_owned()).stack_size(256 << 10).spawn(
        move || {
            let arena = existing();
            let may_begin = if let Some(generation) = generation {
                arena.process(arena.me()).begin(generation)
            } else {
                arena.process(arena.me()).hold_root();
                true
            };
            let family = FAMILY.get_or_init(|| family);
            let _gone = begun.send(may_begin);
            family.watch(lifeline.as_ref());
        },
    )?;
    let may_begin = has_begun.recv().unwrap_or(false);
    // SAFETY: `leave` may run at any exit.
    if unsafe { libc::atexit(leave) } != 0 {
        return Err(io::Error::other("no function can be registered for the end of the process"));
    }
    Ok(may_begin)
}

/// At exit: waits for children, and ends those in the background.
extern "C" fn leave() {
    let Some(family) = FAMILY.get() else { return };
    if !existing().is_mine() || family.leaving.swap(true, Ordering::AcqRel) {
        return;
    }
    let children = lock(&family.children).clone();
    for child in children.iter().filter(|child| child.background) {
        // It may have ended by itself.
        let _gone = child.signal(Signal::TERM);
    }
    let patience = Deadline::after(PATIENCE);
    for child in &children {
        if !child.background {
            child.wait(Deadline::NEVER);
        } else if !child.wait(patience) {
            let _gone = child.signal(Signal::KILL);
            child.wait(Deadline::NEVER);
        }
    }
}

/// Children that have not ended.
pub fn children() -> Vec<Arc<Child>> {
    FAMILY.get().map(|family| lock(&family.children).clone()).unwrap_or_default()
}

/// What a new child is.
pub struct Newborn {
    pub slot: u32,
    pub generation: u32,
    pub pid: u32,
    pub name: String,
    pub background: bool,
    pub pidfd: OwnedFd,
    pub lifeline: OwnedFd,
}

/// Watches over a child from now on.
pub fn adopt(newborn: Newborn) -> io::Result<Arc<Child>> {
    let family = FAMILY.get().expect("it began before the first child");
    let Newborn { slot, generation, pid, name, background, pidfd, lifeline } = newborn;
    let child = Arc::new(Child {
        slot,
        generation,
        pid,
        name,
        background,
        pidfd,
        _lifeline: lifeline,
        ended: Mutex::new(None),
        has_ended: Condvar::new(),
        at_end: Mutex::new(None),
    });
    lock(&family.children).push(child.clone());
    let watched =
        epoll::add(&family.epoll, &child.pidfd, EventData::new_u64(slot.into()), EventFlags::IN);
    if let Err(error) = watched {
        // Nobody would see its end.
        lock(&family.children).retain(|other| !Arc::ptr_eq(other, &child));
        let _gone = child.signal(Signal::KILL);
        let _reaped = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
        return Err(error.into());
    }
    Ok(child)
}

impl Family {
    fn watch(&self, lifeline: Option<&OwnedFd>) {
        let mut space = Vec::with_capacity(16);
        loop {
            let pause = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            let pause = (!lock(&self.orphans).is_empty()).then_some(&pause);
            space.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut space), pause) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => unreachable!("epoll: {error}"),
            }
            for event in &space {
                match event.data.u64() {
                    LIFELINE => {
                        debug_assert!(lifeline.is_some());
                        // The parent is gone. What waits for this process sees it by the life lock.
                        self.end_those_that_may_be_stopped();
                        // SAFETY: it ends the process and nothing else.
                        unsafe { libc::_exit(1) };
                    }
                    WAKE => {
                        let _read = rustix::io::read(&self.wake, &mut [0_u8; 8]);
                    }
                    slot => self.ended(slot as u32),
                }
            }
            self.look_after_orphans();
        }
    }

    /// The parent is gone. Children and siblings end by themselves, but for those that are stopped.
    fn end_those_that_may_be_stopped(&self) {
        for child in lock(&self.children).iter() {
            let _gone = child.signal(Signal::KILL);
        }
        let arena = existing();
        let parent = arena.process(arena.me()).parent();
        let siblings = arena.processes().filter(|(slot, process)| {
            ![0, arena.me()].contains(slot)
                && process.parent() == parent
                && process.state() == State::Running
        });
        for (_, sibling) in siblings {
            let pid = i32::try_from(sibling.pid()).ok().and_then(Pid::from_raw);
            let Some(pidfd) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
                continue;
            };
            // The number is not used again while the sibling lives: the descriptor is its.
            if !sibling.is_dead() {
                let _gone = pidfd_send_signal(&pidfd, Signal::KILL);
            }
        }
    }

    /// A child has ended.
    fn ended(&self, slot: u32) {
        let Some(child) = lock(&self.children).iter().find(|child| child.slot == slot).cloned()
        else {
            return;
        };
        if child.reap() {
            self.forget(&child);
        }
    }

    /// A child has ended: whoever has seen it first lets it go, so that nothing is left of it a moment later.
    fn forget(&self, child: &Child) {
        // A descriptor of a dead process would wake the thread for ever.
        let _closed = epoll::delete(&self.epoll, &child.pidfd);
        lock(&self.children).retain(|other| !std::ptr::eq(&**other, child));
    }

    fn adopt_orphans_of(&self, parent: u32) {
        let until = Instant::now() + Duration::from_secs(5);
        let of_parent = existing()
            .processes()
            .filter(|(slot, process)| {
                *slot != 0
                    && process.parent() == parent
                    && matches!(process.state(), State::Starting | State::Running)
            })
            .map(|(slot, _)| (slot, until));
        lock(&self.orphans).extend(of_parent);
    }

    fn look_after_orphans(&self) {
        let orphans = std::mem::take(&mut *lock(&self.orphans));
        let left: Vec<_> = orphans
            .into_iter()
            .filter(|&(slot, until)| {
                let process = existing().process(slot);
                let is_gone = process.is_dead()
                    || (process.state() == State::Starting && until <= Instant::now());
                if is_gone && process.end() {
                    let (_, place, length) = process.left();
                    if place != 0 {
                        // SAFETY: it was stored with this length by a process that is gone; nobody else asks for it.
                        unsafe { existing().give(Place(place), length as usize) };
                    }
                    clean_up(slot);
                    process.free();
                }
                !is_gone
            })
            .collect();
        lock(&self.orphans).extend(left);
    }
}

/// Gives back what a process held, and looks after its children.
fn clean_up(slot: u32) {
    let arena = existing();
    if let Some(family) = FAMILY.get() {
        family.adopt_orphans_of(slot);
    }
    give_arguments_back(arena.process(slot));
    objects::forget_process(arena, slot);
}

/// For a child that did not start.
pub fn give_up(slot: u32) {
    let process = existing().process(slot);
    if process.end() {
        give_arguments_back(process);
        objects::forget_process(existing(), slot);
        process.free();
    }
}

impl Child {
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // A child that was waited for is gone; the descriptor never names another process.
        Ok(pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Takes note of the end of the process, if it has ended.
    fn reap(&self) -> bool {
        let mut ended = lock(&self.ended);
        if ended.is_some() {
            return true;
        }
        let exit_code = match waitid(
            WaitId::PidFd(self.pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        ) {
            Ok(Some(status)) => status
                .exit_status()
                .or_else(|| status.terminating_signal().map(|signal| -signal))
                .unwrap_or(i32::MAX),
            Ok(None) | Err(rustix::io::Errno::INTR) => return false,
            // The program has told the system to forget its children, or has waited for all of them.
            Err(_) => i32::MAX,
        };
        let arena = existing();
        let process = arena.process(self.slot);
        if process.generation() == self.generation && process.end() {
            let (left, place, length) = process.left();
            // Without a status: a result says that all was well.
            let exit_code = match (exit_code, left) {
                (i32::MAX, Ended::Value) => 0,
                (i32::MAX, _) => 255,
                (code, _) => code,
            };
            *ended = Some(End {
                exit_code,
                ended: left,
                place: Place(place),
                length: length as usize,
                taken: false,
            });
            clean_up(self.slot);
            process.free();
        } else {
            *ended = Some(End {
                exit_code,
                ended: Ended::Nothing,
                place: Place(0),
                length: 0,
                taken: true,
            });
        }
        self.has_ended.notify_all();
        let me = arena.process(arena.me());
        me.event.fetch_add(1, Ordering::AcqRel);
        futex::wake(&me.event, u32::MAX);
        drop(ended);
        if let Some(family) = FAMILY.get() {
            family.forget(self);
        }
        self.tell();
        true
    }

    /// Calls this when the process has ended, or now.
    pub fn at_end(&self, at_end: AtEnd) {
        *lock(&self.at_end) = Some(at_end);
        self.tell();
    }

    fn tell(&self) {
        let exit_code = lock(&self.ended).as_ref().map(|end| end.exit_code);
        if let Some(exit_code) = exit_code
            && let Some(at_end) = lock(&self.at_end).take()
        {
            at_end(exit_code);
        }
    }

    /// Whether it has ended by then.
    pub fn wait(&self, deadline: Deadline) -> bool {
        let mut ended = lock(&self.ended);
        loop {
            if ended.is_some() {
                return true;
            }
            // The thread that watches may be slow, or gone at exit.
            drop(ended);
            if self.reap() {
                return true;
            }
            if deadline.has_passed() {
                return false;
            }
            ended = lock(&self.ended);
            if ended.is_none() {
                let (again, _) = self
                    .has_ended
                    .wait_timeout(ended, deadline.slice())
                    .unwrap_or_else(PoisonError::into_inner);
                ended = again;
            }
        }
    }

    pub fn exit_code(&self) -> Option<i32> {
        self.reap();
        lock(&self.ended).as_ref().map(|end| end.exit_code)
    }

    /// What it left, once.
    pub fn take_remains(&self) -> Option<Remains> {
        let mut ended = lock(&self.ended);
        let end = ended.as_mut().filter(|end| !end.taken)?;
        end.taken = true;
        let bytes = match end.ended {
            Ended::Nothing => Vec::new(),
            // SAFETY: the child wrote them before it said so, and is gone.
            _ => unsafe { existing().load(end.place, end.length) }.unwrap_or_default(),
        };
        let remains = Remains { ended: end.ended, bytes, exit_code: end.exit_code };
        end.give_back();
        Some(remains)
    }
}

impl End {
    fn give_back(&mut self) {
        if self.place != Place(0) {
            // SAFETY: it was stored with this length by a process that is gone, and was copied.
            unsafe { existing().give(self.place, self.length) };
            self.place = Place(0);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(end) = lock(&self.ended).as_mut() {
            end.give_back();
        }
    }
}

//! Who does something: names for processes and threads that are never used again.

use std::cell::Cell;
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::arena::{State, existing};
use crate::sys::image;

/// A process: its slot plus one, and the generation of the slot above. 0 is nobody.
pub type Who = u64;

pub fn who(slot: u32, generation: u32) -> Who {
    u64::from(generation) << 32 | u64::from(slot + 1)
}

pub fn slot_of(who: Who) -> Option<u32> {
    (who as u32).checked_sub(1)
}

fn generation_of(who: Who) -> u32 {
    (who >> 32) as u32
}

/// This process.
pub fn me() -> Who {
    static ME: OnceLock<Who> = OnceLock::new();
    *ME.get_or_init(|| {
        let arena = existing();
        who(arena.me(), arena.process(arena.me()).generation())
    })
}

/// A number for this thread, in this process only. Never 0.
pub fn thread() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local! {
        static NUMBER: Cell<u32> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

/// Whether a process has ended.
pub fn is_gone(who: Who) -> bool {
    let arena = existing();
    let Some(slot) = slot_of(who).filter(|slot| *slot != arena.me()) else { return who != me() };
    let process = arena.process(slot);
    if process.generation() != generation_of(who) {
        return true;
    }
    match process.state() {
        State::Free | State::Ended => true,
        State::Starting => false,
        State::Running => process.is_dead(),
    }
}

const WORDS: usize = 6;

/// Who holds or held something, for messages: it stays when the process is gone.
#[repr(C)]
pub struct Holder {
    who: AtomicU64,
    /// Where the holder took it, as a name of the program's.
    line: AtomicU64,
    /// 0 while nobody holds it.
    thread: AtomicU32,
    pid: AtomicU32,
    name: [AtomicU64; WORDS],
}

/// What a [`Holder`] says at some moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub who: Who,
    pub thread: u32,
    pub line: u64,
}

impl Holder {
    /// This thread holds it from now on. Who calls has the lock that goes with it.
    pub fn note(&self, location: &'static Location<'static>) {
        if self.who.load(Ordering::Relaxed) != me() {
            self.introduce();
        }
        self.line.store(image::name_of_location(location), Ordering::Relaxed);
        self.thread.store(thread(), Ordering::Release);
    }

    /// Nobody holds it. Who held it stays for messages.
    pub fn clear(&self) {
        self.thread.store(0, Ordering::Release);
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.clear();
        self.who.store(0, Ordering::Relaxed);
        self.line.store(0, Ordering::Relaxed);
    }

    #[cold]
    fn introduce(&self) {
        let arena = existing();
        self.copy_from(me(), std::process::id(), &arena.process(arena.me()).name());
    }

    fn copy_from(&self, who: Who, pid: u32, name: &str) {
        // A death in between must not leave one process with the name of another.
        self.who.store(0, Ordering::Release);
        self.pid.store(pid, Ordering::Relaxed);
        let mut bytes = [0; WORDS * 8];
        let length = name.len().min(bytes.len());
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        for (word, bytes) in self.name.iter().zip(bytes.chunks_exact(8)) {
            let word_of = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            word.store(word_of, Ordering::Relaxed);
        }
        self.who.store(who, Ordering::Release);
    }

    /// Notes what another note says.
    pub fn copy(&self, other: &Holder) {
        self.who.store(0, Ordering::Release);
        self.pid.store(other.pid.load(Ordering::Relaxed), Ordering::Relaxed);
        for (word, theirs) in self.name.iter().zip(&other.name) {
            word.store(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.line.store(other.line.load(Ordering::Relaxed), Ordering::Relaxed);
        self.who.store(other.who.load(Ordering::Acquire), Ordering::Release);
    }

    /// Notes another process, as far as its slot still knows it.
    pub fn note_other(&self, who: Who, line: u64) {
        let (pid, name) = slot_of(who)
            .map(|slot| existing().process(slot))
            .filter(|process| process.generation() == generation_of(who))
            .map_or((0, String::new()), |process| (process.pid(), process.name()));
        self.copy_from(who, pid, &name);
        self.line.store(line, Ordering::Relaxed);
    }

    pub fn held(&self) -> Option<Held> {
        let thread = self.thread.load(Ordering::Acquire);
        let held = Held {
            who: self.who.load(Ordering::Relaxed),
            thread,
            line: self.line.load(Ordering::Relaxed),
        };
        (thread != 0).then_some(held)
    }

    /// "`name` (pid 12)".
    pub fn person(&self) -> String {
        let pid = self.pid.load(Ordering::Relaxed);
        if self.who.load(Ordering::Acquire) == 0 || pid == 0 {
            return "a process".to_owned();
        }
        let bytes: Vec<u8> =
            self.name.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        let name = String::from_utf8_lossy(&bytes);
        format!("`{}` (pid {pid})", name.trim_end_matches('\0'))
    }

    /// Where it was taken: "src/main.rs:10:5".
    pub fn place(&self) -> String {
        place(self.line.load(Ordering::Relaxed))
    }
}

/// The words for a line of the program.
pub fn place(line: u64) -> String {
    // SAFETY: lines come from `name_of_location`, in processes of this program.
    unsafe { image::location(line) }
        .map_or_else(|| "an unknown line".to_owned(), ToString::to_string)
}

/// "`name` (pid 12)" of a process that lives.
pub fn person(who: Who) -> String {
    slot_of(who).map_or_else(
        || "a process".to_owned(),
        |slot| {
            let process = existing().process(slot);
            format!("`{}` (pid {})", process.name(), process.pid())
        },
    )
}

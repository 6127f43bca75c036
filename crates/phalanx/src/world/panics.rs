//! The panics of a rank: kept until it is known whether somebody catches them, and told when nobody will.
//!
//! A panic that cannot unwind (in a destructor while another unwinds, in a function that C has called,
//! with `panic = "abort"`) ends the process inside of the panic machinery, and nothing of ours runs
//! afterwards. So the hook tells all panics at that moment. For what it does not recognise there is a
//! handler of the signal with which the process ends.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::os::raw::c_int;
use std::panic;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};

use super::failure;
use crate::raw;

/// A panic whose end is not known yet.
pub(super) struct Panicked {
    pub message: String,
    pub location: Option<String>,
    pub backtrace: Backtrace,
}

impl Panicked {
    fn text(&self) -> String {
        let place = self.location.as_ref().map_or(String::new(), |it| format!("at {it}: "));
        format!("{place}{}", self.message)
    }
}

/// More panics of a thread than this are not kept.
const MOST: usize = 8;

thread_local! {
    /// The last panics of this thread, oldest first. Those that were caught are among them.
    static KEPT: RefCell<Vec<Panicked>> = const { RefCell::new(Vec::new()) };
}

/// What the panic machinery says when it ends the process because a panic cannot unwind: then the panics
/// before it are the cause.
const IN_A_DESTRUCTOR: &str = "panic in a destructor during cleanup";
const CANNOT_UNWIND: &str = "panic in a function that cannot unwind";

/// Keeps panics for the report of `end_job`. Those of other threads than that of MPI are printed at once, too:
/// the thread may end by them, and the rank go on.
pub(super) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !raw::state::is_running() {
                return previous(info);
            }
            let message = panic_text(info.payload());
            let is_end = message == IN_A_DESTRUCTOR || message == CANNOT_UNWIND;
            if !is_end {
                keep(Panicked {
                    message: message.clone(),
                    location: info.location().map(ToString::to_string),
                    backtrace: Backtrace::capture(),
                });
            }
            if !raw::state::is_main_thread() {
                previous(info);
            }
            // Nobody can catch it and report later.
            if is_end || cfg!(panic = "abort") {
                failure::end_job(failure::FailureKind::Panic, join(&message));
            }
        }));
    });
}

/// The text of a panic.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a value that is not a text".to_owned()
    }
}

fn keep(panicked: Panicked) {
    let rendered = KEPT.try_with(|kept| {
        let mut kept = kept.try_borrow_mut().ok()?;
        if kept.len() == MOST {
            kept.remove(0);
        }
        kept.push(panicked);
        Some(kept.iter().map(|it| format!("\n    {}", it.text())).collect::<String>())
    });
    if let Ok(Some(panics)) = rendered {
        prepare_last_words(&panics);
    }
}

/// Makes one panic of those that end the process now. Which of the earlier ones were caught is not known, so
/// that all are told.
fn join(end: &str) -> String {
    let joined = KEPT.try_with(|kept| {
        let mut kept = kept.try_borrow_mut().ok()?;
        let last = kept.pop()?;
        let mut first = match kept.pop() {
            // The second of two is the one that could not unwind.
            Some(mut first) if end == IN_A_DESTRUCTOR => {
                first.message.push_str(&followed_by(&last.text()));
                first
            }
            Some(other) => {
                kept.push(other);
                last
            }
            None => last,
        };
        for earlier in kept.drain(..) {
            let text = format!("\n(an earlier panic of this thread: {})", earlier.text());
            first.message.push_str(&text);
        }
        let message = first.message.clone();
        kept.push(first);
        Some(message)
    });
    joined.ok().flatten().unwrap_or_else(|| end.to_owned())
}

fn followed_by(text: &str) -> String {
    format!("\nand, while that panic unwound, it panicked again {text}")
}

/// The kept panic with this message, or the last one if there is no message. What it says then includes the
/// panics that followed while it unwound.
pub(super) fn take(message: &str) -> Option<Panicked> {
    let kept =
        KEPT.try_with(|kept| kept.try_borrow_mut().ok().map(|mut it| std::mem::take(&mut *it)));
    let mut kept = kept.ok()??;
    let at = match message {
        "" => kept.len().checked_sub(1)?,
        message => kept.iter().rposition(|it| it.message == message)?,
    };
    let mut panicked = kept.remove(at);
    for later in kept.drain(at..) {
        panicked.message.push_str(&followed_by(&later.text()));
    }
    Some(panicked)
}

/// What the handler of the signal writes, made beforehand and in memory of its own: the handler may neither
/// allocate nor lock.
struct LastWords {
    length: AtomicUsize,
    bytes: [AtomicU8; LONGEST],
}

const LONGEST: usize = 4096;

static LAST_WORDS: LastWords =
    LastWords { length: AtomicUsize::new(0), bytes: [const { AtomicU8::new(0) }; LONGEST] };

fn prepare_last_words(panics: &str) {
    let who = failure::who();
    // The abort may have another cause, such as a lack of memory.
    let text = format!(
        "phalanx: {who} was aborted; its last panics, which may have been caught:{panics}\n"
    );
    let text = &text.as_bytes()[..text.len().min(LONGEST)];
    LAST_WORDS.length.store(0, Ordering::Release);
    for (place, &byte) in LAST_WORDS.bytes.iter().zip(text) {
        place.store(byte, Ordering::Relaxed);
    }
    LAST_WORDS.length.store(text.len(), Ordering::Release);
}

static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// Tells the panics of a process that ends by SIGABRT although nobody has told them yet.
pub(super) fn watch_abort() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: zero is an empty action, the handler does only what a signal handler may do, and both
        // structs are writable.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = aborted as extern "C" fn(c_int) as libc::sighandler_t;
            action.sa_flags = libc::SA_ONSTACK;
            if libc::sigaction(libc::SIGABRT, &action, before.as_mut_ptr()) == 0 {
                BEFORE.store(Box::into_raw(Box::new(before.assume_init())), Ordering::Release);
            }
        }
    });
}

extern "C" fn aborted(signal: c_int) {
    if !failure::is_ending() && raw::state::is_running() {
        let mut text = [0; LONGEST];
        let length = LAST_WORDS.length.load(Ordering::Acquire).min(LONGEST);
        for (byte, place) in text.iter_mut().zip(&LAST_WORDS.bytes) {
            *byte = place.load(Ordering::Relaxed);
        }
        failure::write_to_stderr(&text[..length]);
    }
    let before = BEFORE.load(Ordering::Acquire);
    // SAFETY: the action before ours, or the default one if there is none, gets the signal when this
    // handler returns; both functions may be called here.
    unsafe {
        if before.is_null() {
            libc::signal(signal, libc::SIG_DFL);
        } else {
            libc::sigaction(signal, before, ptr::null_mut());
        }
        libc::raise(signal);
    }
}

//! How a rank that fails ends the job: one report, then `MPI_Abort`.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::raw::{c_int, c_void};
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};
use std::thread;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::{board, host, raw, record};

/// Exit code of a rank that panicked: the one of a Rust program that panics.
const PANIC_CODE: i32 = 101;
const ERROR_CODE: i32 = 1;
/// How long a rank that fails second leaves to the first.
const FIRST_SPEAKS: Duration = Duration::from_millis(500);
/// How long the launcher gets to pass the report on: MPICH's drops what it has not read at an abort.
const HEARD: Duration = Duration::from_millis(200);

/// Why a rank ends its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    Panic,
    Error,
}

/// A rank that fails, as an observer sees it before the job is aborted.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub rank: usize,
    pub size: usize,
    pub kind: FailureKind,
    pub message: String,
    pub location: Option<String>,
}

type Observer = Box<dyn Fn(&Failure) + Send + Sync>;

static OBSERVER: OnceLock<Observer> = OnceLock::new();
static RANK: AtomicUsize = AtomicUsize::new(0);
static SIZE: AtomicUsize = AtomicUsize::new(1);
/// The process that was started as a rank.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// Whether this process is about to end by its own decision.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Sets what is told of a failure before the job is aborted. The first observer stays.
pub(crate) fn set_failure_observer(observer: Observer) {
    let _ = OBSERVER.set(observer);
}

pub(super) fn set_rank(rank: usize, size: usize) {
    RANK.store(rank, Ordering::Relaxed);
    SIZE.store(size, Ordering::Relaxed);
}

struct Panicked {
    message: String,
    location: Option<String>,
    backtrace: Backtrace,
}

thread_local! {
    /// The last panic of this thread, kept until it is known whether somebody catches it.
    static PANICKED: RefCell<Option<Panicked>> = const { RefCell::new(None) };
}

/// Keeps the panics of the MPI thread for the report of `end_job`; other threads print as always.
pub(super) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = raw::state::is_main_thread() && raw::state::is_running();
            // Nobody could catch it and report later.
            let last_words = cfg!(panic = "abort");
            if !kept || last_words {
                previous(info);
            }
            if kept {
                let panicked = Panicked {
                    message: panic_text(info.payload()),
                    location: info.location().map(ToString::to_string),
                    backtrace: Backtrace::capture(),
                };
                let earlier = PANICKED.with(|cell| cell.try_borrow_mut().ok()?.replace(panicked));
                // A second panic while the first unwinds aborts the process: say both now.
                if earlier.is_some_and(|earlier| earlier.message != panic_text(info.payload())) {
                    previous(info);
                }
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

/// Reports the failure, once for the node, and ends all ranks.
pub(super) fn end_job(kind: FailureKind, message: String) -> ! {
    let code = if kind == FailureKind::Panic { PANIC_CODE } else { ERROR_CODE };
    end_job_with(kind, message, code)
}

/// Ends this process because the watch has proved that the job never ends. Called by the thread of the
/// watch, which makes no MPI call: the launcher sees a process that ended without finalizing and ends
/// the others.
pub(crate) fn end_by_watch(report: &str, code: i32) -> ! {
    ENDING.store(true, Ordering::Relaxed);
    let (rank, size) = (RANK.load(Ordering::Relaxed), SIZE.load(Ordering::Relaxed));
    if let Some(observer) = OBSERVER.get() {
        let (kind, message) = (FailureKind::Error, report.to_owned());
        observer(&Failure { rank, size, kind, message, location: None });
    }
    if board::is_first() {
        print_without_locks(report);
    }
    thread::sleep(HEARD);
    // SAFETY: `_exit` is always allowed.
    unsafe { libc::_exit(code) }
}

pub(super) fn end_job_with(kind: FailureKind, message: String, code: i32) -> ! {
    ENDING.store(true, Ordering::Relaxed);
    let panicked = PANICKED.with(|cell| cell.try_borrow_mut().ok()?.take());
    let (message, location, backtrace) = match (kind, panicked) {
        (FailureKind::Panic, Some(it)) => {
            let message = if message.is_empty() { it.message } else { message };
            (message, it.location, Some(it.backtrace))
        }
        _ => (message, None, None),
    };
    let (rank, size) = (RANK.load(Ordering::Relaxed), SIZE.load(Ordering::Relaxed));
    let failure = Failure { rank, size, kind, message, location };
    if let Some(observer) = OBSERVER.get() {
        observer(&failure);
    }
    report_and_abort(&failure, backtrace.as_ref(), code)
}

fn report_and_abort(failure: &Failure, backtrace: Option<&Backtrace>, code: i32) -> ! {
    if board::is_first() {
        print(&report(failure, backtrace));
        thread::sleep(HEARD);
    } else {
        // The first is about to say what happened and to end this rank too: an abort from here might
        // cut its report off.
        thread::sleep(FIRST_SPEAKS);
    }
    raw::world::abort(code)
}

/// Ends the job when this process exits while MPI runs: other ranks may wait for it. Not every
/// launcher takes that for a failure, and none says which rank it was.
pub(super) fn watch_exit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        PROCESS.store(std::process::id(), Ordering::Relaxed);
        // SAFETY: the handler is a function of this program. Without room for it the launcher's own
        // watch is left.
        unsafe { on_exit(exited, std::ptr::null_mut()) };
    });
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// `atexit` with the exit code, of the GNU C library.
    fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

/// Other C libraries do not tell.
#[cfg(not(target_env = "gnu"))]
unsafe fn on_exit(_: extern "C" fn(c_int, *mut c_void), _: *mut c_void) -> c_int {
    extern "C" fn without_code() {
        exited(0, std::ptr::null_mut());
    }
    // SAFETY: the handler is a function of this program.
    unsafe { libc::atexit(without_code) }
}

extern "C" fn exited(code: c_int, _: *mut c_void) {
    // A forked child is no rank.
    let is_rank = std::process::id() == PROCESS.load(Ordering::Relaxed);
    // The MPI library leaves by `exit` too when it aborts.
    if !is_rank || !raw::state::is_running() || ENDING.swap(true, Ordering::Relaxed) {
        return;
    }
    let failure = Failure {
        rank: RANK.load(Ordering::Relaxed),
        size: SIZE.load(Ordering::Relaxed),
        kind: FailureKind::Error,
        message: format!("the process left with exit code {code} before MPI was finalized"),
        location: None,
    };
    report_and_abort(&failure, None, if code == 0 { ERROR_CODE } else { code })
}

fn report(failure: &Failure, backtrace: Option<&Backtrace>) -> String {
    let Failure { rank, size, kind, message, location } = failure;
    let host = host::name();
    let mut text = format!("phalanx: rank {rank} of {size} on {host} ");
    let what = match (kind, location) {
        (FailureKind::Panic, Some(location)) => format!("panicked at {location}:"),
        (FailureKind::Panic, None) => "panicked:".to_owned(),
        (FailureKind::Error, _) => "failed:".to_owned(),
    };
    text.push_str(&what);
    for line in message.lines() {
        let _ = write!(text, "\n    {line}");
    }
    if let Some(call) = record::last_call() {
        let _ = write!(text, "\n    ({call})");
    }
    if let Some(trace) = backtrace.filter(|it| it.status() == BacktraceStatus::Captured) {
        text.push_str(&users_frames(&trace.to_string()));
    }
    if *size > 1 {
        let _ = write!(text, "\nphalanx: ending all {size} ranks");
    }
    text
}

/// The frames between the machinery of panics and the one of `run`, numbered anew.
fn users_frames(trace: &str) -> String {
    let is_start = |line: &&str| {
        line.trim_start().split_once(": ").is_some_and(|(n, _)| n.parse::<u32>().is_ok())
    };
    let mut frames: Vec<Vec<&str>> = Vec::new();
    for line in trace.lines() {
        match frames.last_mut() {
            Some(frame) if !is_start(&line) => frame.push(line),
            _ => frames.push(vec![line]),
        }
    }
    let is_of = |frame: &[&str], names: &[&str]| names.iter().any(|name| frame[0].contains(name));
    const PANICKING: [&str; 4] =
        ["rust_begin_unwind", "core::panicking", "std::panicking", "core::option::unwrap_failed"];
    let first = frames.iter().rposition(|frame| {
        is_of(frame, &PANICKING) && !is_of(frame, &["catch_unwind", "try<", "::r#try"])
    });
    let last = frames.iter().position(|frame| is_of(frame, &["phalanx::world::run"]));
    let (first, last) = (first.map_or(0, |at| at + 1), last.unwrap_or(frames.len()));
    let mut text = String::new();
    for (number, frame) in frames.get(first..last).unwrap_or(&frames).iter().enumerate() {
        let name = frame[0].trim_start().split_once(": ").map_or(frame[0], |(_, name)| name);
        let _ = write!(text, "\n    {number}: {name}");
        for line in &frame[1..] {
            let _ = write!(text, "\n        {}", line.trim_start());
        }
    }
    text
}

/// The same for the thread of the watch: the program may hold the locks of its streams while it waits.
pub(crate) fn print_without_locks(report: &str) {
    let text = format!("{report}\n");
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        // SAFETY: the bytes are borrowed for the call.
        let written = unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
        // Where stderr is closed or full there is nobody to tell.
        let Ok(written @ 1..) = usize::try_from(written) else { return };
        rest = &rest[written..];
    }
}

/// Whether this process is about to end by its own decision.
pub(crate) fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// One write for the whole report, so that lines of other ranks do not come between.
pub(crate) fn print(report: &str) {
    let _ = std::io::stdout().flush();
    let mut text = report.to_owned();
    text.push('\n');
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Ends a program whose ranks never found each other, or whose MPI did not start.
pub(super) fn end_before_start(error: &Error) -> ! {
    ENDING.store(true, Ordering::Relaxed);
    let message = error.to_string();
    let (rank, size) = (RANK.load(Ordering::Relaxed), SIZE.load(Ordering::Relaxed));
    if let Some(observer) = OBSERVER.get() {
        let kind = FailureKind::Error;
        observer(&Failure { rank, size, kind, message: message.clone(), location: None });
    }
    // Processes that never found each other share no page that would say who is first.
    let speaks = match error.kind() {
        ErrorKind::Launch => super::launch::is_first_process(),
        _ => board::is_first(),
    };
    if speaks {
        print(&format!("error: {message}"));
        thread::sleep(HEARD);
    } else {
        thread::sleep(FIRST_SPEAKS);
    }
    raw::world::abort(ERROR_CODE)
}

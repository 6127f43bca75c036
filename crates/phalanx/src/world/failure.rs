//! How a rank that fails ends the job: one report, then `MPI_Abort`.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::panics;
use crate::error::{Error, ErrorKind};
use crate::record::{Call, INIT};
use crate::{board, host, raw, record, terminal};

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
/// Whether this rank is the one that says why none of them starts, where the ranks have agreed on it.
static SPEAKER: AtomicU8 = AtomicU8::new(UNDECIDED);
const UNDECIDED: u8 = 0;
const SPEAKS: u8 = 1;
const SILENT: u8 = 2;
/// Whether this process is about to end by its own decision.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Sets what is told of a failure before the job is aborted. The first observer stays.
pub(crate) fn set_failure_observer(observer: Observer) {
    let _ = OBSERVER.set(observer);
}

/// Whether somebody hears of failures: in a test.
pub(super) fn is_observed() -> bool {
    OBSERVER.get().is_some()
}

/// Says whether this rank is the one that says why none of them starts; nothing when they have started.
pub(super) fn set_speaker(speaker: Option<bool>) {
    let decided = speaker.map_or(UNDECIDED, |speaks| if speaks { SPEAKS } else { SILENT });
    SPEAKER.store(decided, Ordering::Relaxed);
}

fn speaker() -> Option<bool> {
    match SPEAKER.load(Ordering::Relaxed) {
        UNDECIDED => None,
        decided => Some(decided == SPEAKS),
    }
}

/// What is called when this rank is about to report that it fails.
static WHEN_ENDING: OnceLock<fn()> = OnceLock::new();

/// Sets what is called when this rank is about to report that it fails. The first one stays.
pub(crate) fn when_ending(f: fn()) {
    let _ = WHEN_ENDING.set(f);
}

pub(super) fn set_rank(rank: usize, size: usize) {
    RANK.store(rank, Ordering::Relaxed);
    SIZE.store(size, Ordering::Relaxed);
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
    limit_time(code);
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
    limit_time(code);
    let kept = if kind == FailureKind::Panic { panics::take(&message) } else { None };
    let (message, location, backtrace) = match kept {
        Some(it) => (it.message, it.location, Some(it.backtrace)),
        None => (message, None, None),
    };
    let (rank, size) = (RANK.load(Ordering::Relaxed), SIZE.load(Ordering::Relaxed));
    let failure = Failure { rank, size, kind, message, location };
    if let Some(observer) = OBSERVER.get() {
        observer(&failure);
    }
    report_and_abort(&failure, backtrace.as_ref(), code, Output::Flush)
}

/// Whether what the program has written to stdout is flushed.
#[derive(PartialEq)]
enum Output {
    Flush,
    /// The standard library has done it.
    Flushed,
}

/// The end of a process that leaves by `exit`.
pub(super) fn report_and_abort_at_exit(kind: FailureKind, message: String, code: i32) -> ! {
    limit_time(code);
    let (rank, size) = (RANK.load(Ordering::Relaxed), SIZE.load(Ordering::Relaxed));
    let failure = Failure { rank, size, kind, message, location: None };
    report_and_abort(&failure, None, code, Output::Flushed)
}

fn report_and_abort(
    failure: &Failure,
    backtrace: Option<&Backtrace>,
    code: i32,
    output: Output,
) -> ! {
    // Ranks that could not start have agreed on who says so.
    if speaker().unwrap_or_else(board::is_first) {
        if let Some(f) = WHEN_ENDING.get() {
            f();
        }
        print_without_locks(&report(failure, backtrace));
        if output == Output::Flush {
            flush();
        }
        thread::sleep(HEARD);
    } else {
        // The first is about to say what happened and to end this rank too: an abort from here might
        // cut its report off.
        thread::sleep(FIRST_SPEAKS);
    }
    raw::world::abort(code)
}

/// Flushes stdout. Another thread may hold its lock for ever: `limit_time` waits for this.
fn flush() {
    FLUSHING.store(true, Ordering::Release);
    let _ = std::io::stdout().flush();
    FLUSHING.store(false, Ordering::Release);
}

static FLUSHING: AtomicBool = AtomicBool::new(false);
/// How long the end of a process may wait for the lock of stdout, and how long it may take in all.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// Ends this process with the code after a while, whatever lock the thread that ends it waits for. Then the
/// launcher ends the others.
fn limit_time(code: i32) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let end = move || {
            let start = Instant::now();
            let mut flushing_since = None;
            while start.elapsed() < ENDED_WITHIN {
                thread::sleep(Duration::from_millis(20));
                if !FLUSHING.load(Ordering::Acquire) {
                    flushing_since = None;
                } else if flushing_since.get_or_insert_with(Instant::now).elapsed() > FLUSHED_WITHIN
                {
                    break;
                }
            }
            // SAFETY: `_exit` is always allowed.
            unsafe { libc::_exit(code) }
        };
        // Where there is room for no more threads, the end has no limit.
        let _ = thread::Builder::new().name("phalanx-end".to_owned()).spawn(end);
    });
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

/// One write for the whole report, so that lines of other ranks do not come between. The program may hold
/// the locks of its streams.
pub(crate) fn print_without_locks(report: &str) {
    write_to_stderr(format!("{}\n", terminal::for_stderr(report)).as_bytes());
}

/// Writes all of it, where somebody reads.
pub(super) fn write_to_stderr(text: &[u8]) {
    let mut rest = text;
    while !rest.is_empty() {
        // SAFETY: the bytes are borrowed for the call.
        let written = unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written) {
            Ok(written @ 1..) => rest = &rest[written..],
            // Where stderr is closed or full there is nobody to tell.
            _ if is_interrupted() => {}
            _ => return,
        }
    }
}

fn is_interrupted() -> bool {
    std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
}

/// Whether this process is about to end by its own decision.
pub(crate) fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// One write for the whole report, so that lines of other ranks do not come between.
pub(crate) fn print(report: &str) {
    let _ = std::io::stdout().flush();
    let text = format!("{}\n", terminal::for_stderr(report));
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Begins to end this process by its own decision. Returns whether nobody else has.
pub(super) fn begin_to_end() -> bool {
    !ENDING.swap(true, Ordering::Relaxed)
}

/// This rank, for people.
pub(super) fn who() -> String {
    let (rank, size) = (RANK.load(Ordering::Relaxed), SIZE.load(Ordering::Relaxed));
    format!("rank {rank} of {size} on {}", host::name())
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
    limit_time(ERROR_CODE);
    // Processes that never found each other share no page that would say who is first.
    let speaks = match (speaker(), error.kind()) {
        (Some(speaks), _) => speaks,
        (None, ErrorKind::Launch | ErrorKind::Setting) => super::launch::is_first_process(),
        (None, _) => board::is_first(),
    };
    if speaks {
        print_without_locks(&format!("error: {message}"));
        flush();
        thread::sleep(HEARD);
    }
    if speaker().is_some() && raw::state::is_running() {
        // All ranks are here: nobody ends the others before the one that speaks has spoken. A rank that is
        // not is one of another program, and the time is limited.
        let call = Call::local(&INIT, std::panic::Location::caller());
        let _ = raw::comm::largest(&call, raw::comm::world(), 0);
    } else if !speaks {
        thread::sleep(FIRST_SPEAKS);
    }
    raw::world::abort(ERROR_CODE)
}

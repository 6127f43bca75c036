//! SIGINT and SIGTERM: the rank says where it stands before the signal ends it.
//!
//! Only where nothing else handles the signal: a program that was started with it ignored, or that has a
//! handler of its own (be it that of [`Signals`](crate::signal::Signals)), is left alone. The handler here
//! writes one byte; all else is done by the thread of the watch.

use std::mem;
use std::os::raw::c_int;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

const HANDLED: [c_int; 2] = [libc::SIGINT, libc::SIGTERM];

/// The signal that has come, or 0.
static COME: AtomicI32 = AtomicI32::new(0);
/// When it came, by the monotonic clock in milliseconds.
static SINCE: AtomicU64 = AtomicU64::new(0);
/// Where the handler writes, and the process to which that belongs.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// After so long another signal ends the process at once: the thread of the watch is not able to.
const PATIENCE: u64 = 1500;

/// Begins to handle the signals that would end the process.
pub(super) fn install(descriptor: i32) {
    DESCRIPTOR.store(descriptor, Ordering::Relaxed);
    PROCESS.store(std::process::id(), Ordering::Relaxed);
    COME.store(0, Ordering::Relaxed);
    SINCE.store(0, Ordering::Relaxed);
    for signal in HANDLED {
        if current(signal).is_some_and(|action| action.sa_sigaction == libc::SIG_DFL) {
            let handler: extern "C" fn(c_int) = handle;
            let _ = set(signal, handler as libc::sighandler_t);
        }
    }
}

/// Gives the signals back, where nobody else has taken them meanwhile.
pub(super) fn uninstall() {
    for signal in HANDLED {
        if is_ours(signal) {
            let _ = set(signal, libc::SIG_DFL);
        }
    }
}

/// The signal that has come and that nobody else handles.
pub(super) fn come() -> Option<c_int> {
    let signal = COME.load(Ordering::Acquire);
    if signal == 0 {
        return None;
    }
    if !is_ours(signal) {
        // The program has put its own handler over this one, and that one has called this one: what is
        // to be done is the program's affair.
        COME.store(0, Ordering::Release);
        return None;
    }
    Some(signal)
}

/// How people call it.
pub(super) fn name(signal: c_int) -> &'static str {
    if signal == libc::SIGINT { "SIGINT" } else { "SIGTERM" }
}

/// Does what the signal would have done.
pub(super) fn die_of(signal: c_int) -> ! {
    let _ = set(signal, libc::SIG_DFL);
    // SAFETY: a set of signals is plain bits; the mask is that of this thread; `raise` and `_exit` may be
    // called at any time.
    unsafe {
        let mut only: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut only);
        libc::sigaddset(&mut only, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &only, ptr::null_mut());
        libc::raise(signal);
        // Not reached: the default action of both is to end the process.
        libc::_exit(128 + signal)
    }
}

fn is_ours(signal: c_int) -> bool {
    let handler: extern "C" fn(c_int) = handle;
    current(signal).is_some_and(|action| action.sa_sigaction == handler as libc::sighandler_t)
}

fn current(signal: c_int) -> Option<libc::sigaction> {
    // SAFETY: an action is plain data, for which zero is a value; no new one is given, and the result is
    // writable.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        (libc::sigaction(signal, ptr::null(), &mut action) == 0).then_some(action)
    }
}

fn set(signal: c_int, handler: libc::sighandler_t) -> bool {
    // SAFETY: as above. The handler is one of the system's or the one below, which does nothing that is
    // not allowed in a handler. Calls that are interrupted are taken up again.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        libc::sigemptyset(&mut action.sa_mask);
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &action, ptr::null_mut()) == 0
    }
}

/// Nothing but atomic numbers and functions that signal-safety(7) names.
extern "C" fn handle(signal: c_int) {
    // SAFETY: `getpid` may be called at any time.
    let is_rank = unsafe { libc::getpid() } as u32 == PROCESS.load(Ordering::Relaxed);
    let since = SINCE.load(Ordering::Relaxed);
    let now = milliseconds();
    let is_first = COME.compare_exchange(0, signal, Ordering::AcqRel, Ordering::Acquire).is_ok();
    if is_rank && is_first {
        SINCE.store(now, Ordering::Relaxed);
        // SAFETY: the descriptor stays open; the byte lives for the call; the number of the last error is
        // that of the thread which was interrupted, and gets its value back.
        unsafe {
            let error = libc::__errno_location();
            let before = *error;
            // A full pipe wakes the thread as well.
            libc::write(DESCRIPTOR.load(Ordering::Relaxed), [0_u8].as_ptr().cast(), 1);
            *error = before;
        }
    } else if !is_rank || since != 0 && now.saturating_sub(since) > PATIENCE {
        // A forked child, or a rank whose watch does not answer. The signal is blocked until this
        // function returns, and ends the process then.
        let _ = set(signal, libc::SIG_DFL);
        // SAFETY: `raise` may be called at any time.
        unsafe { libc::raise(signal) };
    }
}

fn milliseconds() -> u64 {
    // SAFETY: the result is writable, and the function may be called at any time.
    unsafe {
        let mut now: libc::timespec = mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now);
        now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
    }
}

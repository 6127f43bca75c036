//! How a child comes to its function.
//!
//! A child is the same program. Before `main`, where the C library runs constructors, it sees that it is a child,
//! runs its function and exits: it never enters `main`, and nobody has to call anything there. In all other
//! processes the constructor looks for one environment variable, and does nothing.

use std::ffi::c_int;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use super::family::Birth;
use super::{family, task};
use crate::arena::{self, Ended, existing};
use crate::sys::descriptor;
use crate::sys::memory::Memory;
use crate::sys::socket;

/// The variable that makes a process a child.
pub const MARK: &str = "PHALANX_PROCESS_CHILD";
/// The exit code of a child whose function panicked: Rust's own.
pub const PANICKED: i32 = 101;
const START: [u8; 8] = *b"phx-go-1";
/// Length of what a parent says: the beginning, the slot, its generation.
pub const MESSAGE: usize = 16;

pub fn message(slot: u32, generation: u32) -> [u8; MESSAGE] {
    let mut bytes = [0; MESSAGE];
    bytes[..8].copy_from_slice(&START);
    bytes[8..12].copy_from_slice(&slot.to_le_bytes());
    bytes[12..].copy_from_slice(&generation.to_le_bytes());
    bytes
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn(c_int, *const *const u8, *const *const u8) = construct;

extern "C" fn construct(
    _count: c_int,
    _arguments: *const *const u8,
    _environment: *const *const u8,
) {
    init();
}

/// Runs the function of a child process, and does not return in it. In other processes it does nothing.
///
/// It is called by itself before `main`. A program whose other constructors must run before its children do
/// anything may call it at the beginning of `main` as well; it then has no effect.
pub fn init() {
    // Linkers keep an object file of a library only when something refers to it.
    std::hint::black_box(&CONSTRUCTOR);
    if std::env::var_os(MARK).is_none() {
        return;
    }
    // SAFETY: before `main` there is one thread only. What this process starts must not take itself for a child.
    unsafe { std::env::remove_var(MARK) };
    let code = match become_child() {
        Ok(code) => code,
        // Its parent was killed before it said anything.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 1,
        Err(error) => {
            let _lost = writeln!(io::stderr(), "error: a child process cannot start: {error}");
            1
        }
    };
    std::process::exit(code);
}

fn become_child() -> io::Result<i32> {
    // The standard library does so before `main`.
    // SAFETY: no handler of ours is replaced.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    descriptor::open_standard()?;
    let lifeline = take_standard_input()?;
    let mut said = [0; MESSAGE];
    let memory = socket::recv(&lifeline, &mut said)?;
    let (beginning, numbers) = said.split_at(8);
    let (slot, generation) = numbers.split_at(4);
    if beginning != START {
        return Err(io::Error::other("another version of this library has started it"));
    }
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let (slot, generation) = (number(slot), number(generation));
    let arena = arena::take_part(Memory::from_fd(memory), slot)?;
    let slot = arena.process(slot);
    if slot.generation() != generation {
        return Err(io::Error::other("its parent has given it up"));
    }
    slot.set_pid(std::process::id());
    let name = slot.name();
    let short: Vec<u8> = name.bytes().filter(|byte| *byte != 0).take(15).chain([0]).collect();
    // What `ps` shows. A name that is refused is no reason not to run.
    let _unnamed =
        rustix::thread::set_name(std::ffi::CStr::from_bytes_with_nul(&short).unwrap_or(c"child"));

    if !family::begin(Some(Birth { lifeline, generation }))? {
        return Err(io::Error::other("its parent has given it up"));
    }
    let ended = task::run(existing().process(existing().me())).map_err(io::Error::other)?;
    Ok(match ended {
        Ended::Value => 0,
        Ended::Panic => PANICKED,
        Ended::Nothing | Ended::Encode | Ended::Decode => 1,
    })
}

/// The parent's socket comes as standard input, which is empty for the function.
fn take_standard_input() -> io::Result<OwnedFd> {
    let input = rustix::stdio::stdin();
    let lifeline = rustix::io::fcntl_dupfd_cloexec(input, 3)?;
    let nothing = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&nothing)?;
    Ok(lifeline)
}

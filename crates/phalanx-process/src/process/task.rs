//! What a child is told, and what it leaves.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::panics::{self, Report};
use crate::arena::{Ended, Place, ProcessSlot, Transit, existing};
use crate::codec;
use crate::error::{Error, ErrorKind, Panic, Result};
use crate::sys::image;

/// Calls a function of one type with encoded arguments. The child finds this function by its name in the program.
type Enter = fn(function: usize, arguments: &[u8]) -> (Ended, Vec<u8>);

/// What a child is to run.
pub struct Task {
    enter: u64,
    function: u64,
    arguments: Vec<u8>,
}

impl Task {
    /// `transit` is the way to the child.
    pub fn new<A, R>(function: fn(A) -> R, arguments: &A, transit: Transit) -> Result<Task>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + 'static,
    {
        let enter: Enter = enter::<A, R>;
        let mut bytes = Vec::new();
        let (enter, function) = (
            name_of_function("spawn", enter as usize)?,
            name_of_function("spawn", function as usize)?,
        );
        codec::encode("spawn", transit, arguments, &mut bytes)?;
        Ok(Task { enter, function, arguments: bytes })
    }

    /// Puts it where the child finds it.
    pub fn store(&self, slot: &ProcessSlot) -> Result<()> {
        use std::sync::atomic::Ordering::{Relaxed, Release};
        let place = existing().store(&self.arguments)?;
        slot.enter.store(self.enter, Relaxed);
        slot.function.store(self.function, Relaxed);
        slot.arguments_length.store(self.arguments.len() as u64, Relaxed);
        slot.arguments.store(place.0, Release);
        Ok(())
    }
}

/// Gives back the arguments of a process that has taken them, or never will.
pub fn give_arguments_back(slot: &ProcessSlot) {
    use std::sync::atomic::Ordering::{AcqRel, Relaxed};
    let place = slot.arguments.swap(0, AcqRel);
    if place != 0 {
        let length = slot.arguments_length.load(Relaxed) as usize;
        // SAFETY: they were stored with this length, and whoever takes their place out of the slot owns them.
        unsafe { existing().give(Place(place), length) };
    }
}

/// The name of a function in all processes of this program.
pub fn name_of_function(operation: &'static str, address: usize) -> Result<u64> {
    image::name_of(address).ok_or_else(|| {
        let detail = "the function lies in a shared library, and other processes find functions of the program only: \
                      call it from a function of your own";
        Error::new(ErrorKind::Function, operation, detail)
    })
}

/// Runs what the slot of this process says, and leaves the result there.
pub fn run(slot: &ProcessSlot) -> Result<Ended> {
    use std::sync::atomic::Ordering::Relaxed;
    let arena = existing();
    let (place, length) =
        (Place(slot.arguments.load(Relaxed)), slot.arguments_length.load(Relaxed) as usize);
    // SAFETY: the parent has written them before it started this process, and leaves them alone.
    let arguments = unsafe { arena.load(place, length)? };
    give_arguments_back(slot);

    let address = |name: u64| {
        image::address_of(name).ok_or_else(|| {
            Error::new(ErrorKind::Function, "spawn", "parent and child are not the same program")
        })
    };
    let (enter, function) =
        (address(slot.enter.load(Relaxed))?, address(slot.function.load(Relaxed))?);
    // SAFETY: the parent, which is the same program, has named an `enter` function by this number.
    let enter = unsafe {
        std::mem::transmute::<*const (), Enter>(std::ptr::with_exposed_provenance(enter))
    };
    let (ended, bytes) = enter(function, &arguments);
    let result = arena.store(&bytes)?;
    slot.leave(ended, result.0, bytes.len() as u64);
    Ok(ended)
}

fn enter<A, R>(function: usize, arguments: &[u8]) -> (Ended, Vec<u8>)
where
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    // SAFETY: the parent has named a function of this type together with this `enter`, in `Task::new`.
    let function = unsafe {
        std::mem::transmute::<*const (), fn(A) -> R>(std::ptr::with_exposed_provenance(function))
    };
    let outcome = panics::catch(Report::Write, || {
        let arguments = match codec::decode("spawn", Transit::To(existing().me()), arguments) {
            Ok(arguments) => arguments,
            Err(error) => return (Ended::Decode, error.to_string().into_bytes()),
        };
        let result = function(arguments);
        let mut bytes = Vec::new();
        match codec::encode("join", Transit::Once, &result, &mut bytes) {
            Ok(()) => (Ended::Value, bytes),
            Err(error) => (Ended::Encode, error.to_string().into_bytes()),
        }
    });
    outcome.unwrap_or_else(|panic| (Ended::Panic, pack(&panic)))
}

fn pack(panic: &Panic) -> Vec<u8> {
    let mut bytes = Vec::new();
    match codec::encode("join", Transit::Once, panic, &mut bytes) {
        Ok(()) => bytes,
        Err(error) => unreachable!("three texts: {error}"),
    }
}

/// What a process left, and how it ended.
pub struct Remains {
    pub ended: Ended,
    pub bytes: Vec<u8>,
    pub exit_code: i32,
}

impl Remains {
    /// The value that the function returned.
    pub fn open<R: DeserializeOwned + 'static>(self, operation: &'static str) -> Result<R> {
        match self.ended {
            Ended::Value => codec::decode(operation, Transit::Once, &self.bytes),
            Ended::Panic => {
                let panic: Panic = codec::decode(operation, Transit::Once, &self.bytes)?;
                let detail = format!("{} at {}", panic.message, panic.location);
                Err(Error::new(ErrorKind::Panicked, operation, detail)
                    .with_panic(panic)
                    .with_exit_code(self.exit_code))
            }
            Ended::Encode => Err(Error::new(ErrorKind::Encode, operation, text(&self.bytes))),
            Ended::Decode => Err(Error::new(ErrorKind::Decode, operation, text(&self.bytes))),
            Ended::Nothing => Err(died(operation, self.exit_code)),
        }
    }
}

/// A process has ended without a result.
pub fn died(operation: &'static str, exit_code: i32) -> Error {
    let detail = if exit_code < 0 {
        format!("killed by signal {}{}", -exit_code, signal_name(-exit_code))
    } else {
        format!("ended with exit code {exit_code} before its function returned")
    };
    Error::new(ErrorKind::Died, operation, detail).with_exit_code(exit_code)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTERM => "SIGTERM",
        _ => return String::new(),
    };
    format!(" ({name})")
}

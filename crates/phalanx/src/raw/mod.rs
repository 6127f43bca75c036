//! Every MPI call: checked and recorded.
//!
//! All calls of this crate into MPI live in this room. Each passes one gate, which asks whether the
//! thread may call, writes the record, makes the call, looks at the return code and builds the
//! error. What the functions here take are [`View`]s: a pointer, a number of items and an MPI
//! datatype that were made from a Rust reference, so that lengths can be checked before a library
//! that trusts its caller writes through a pointer.
//!
//! The layers, each of which imports from those above it in this list:
//! - `observer` and `state` (who may call, who looks on), and the gate in this file;
//! - `view`, `large`, `datatype`, `op`, `comm`, `topology`; `status`; `delay` and `wait`;
//! - `strict` (copies of messages, agreement of collectives, texts of notes), then `notes` (what messages hold)
//!   and `arrival` (what has been received);
//! - `request`, then `p2p` and `collective`; `world`.

mod arrival;
pub(crate) mod collective;
pub(crate) mod comm;
pub(crate) mod datatype;
pub(crate) mod delay;
mod inside;
mod large;
pub(crate) mod later;
pub(crate) mod mark;
mod notes;
mod observer;
pub(crate) mod op;
pub(crate) mod p2p;
pub(crate) mod request;
pub(crate) mod state;
mod status;
pub(crate) mod strict;
pub(crate) mod topology;
mod transports;
pub(crate) mod view;
pub(crate) mod wait;
pub(crate) mod world;

use std::ffi::CStr;
use std::os::raw::{c_char, c_int};

use phalanx_sys as ffi;

use crate::error::{Error, ErrorKind, LibraryError, Result};
use crate::record::{self, Allowed, Call, FREE, Kind, Peer, What};
pub(crate) use large::{limit as large_limit, set_limit as set_large_limit};
pub(crate) use observer::compare_types;
pub(crate) use state::permit;
pub(crate) use view::{Scratch, View, ViewMut, object};

/// The code with which every MPI function says that all is well.
pub(crate) const SUCCESS: c_int = ffi::MPI_SUCCESS as c_int;

/// What a wait returns instead of a code of MPI's when the watch has proved that it never ends.
pub(crate) const ABANDONED: c_int = c_int::MIN;

/// The gate: every MPI call of a running world goes through here.
#[inline(always)]
pub(crate) fn gate(call: &Call<'_>, f: impl FnOnce() -> c_int) -> Result<()> {
    gate_as(call, What::local, f)
}

/// The gate of a call that moves data or waits. What it does is asked when the call is allowed.
#[inline(always)]
pub(crate) fn gate_as(
    call: &Call<'_>,
    what: impl FnOnce() -> What,
    f: impl FnOnce() -> c_int,
) -> Result<()> {
    let _permit = state::permit(call)?;
    noted(call, what, f)
}

/// A call that is allowed: noted, made, checked.
#[inline(always)]
fn noted(call: &Call<'_>, what: impl FnOnce() -> What, f: impl FnOnce() -> c_int) -> Result<()> {
    let noting = record::enter(call, &what());
    let code = f();
    if code == SUCCESS {
        record::leave(noting);
        return Ok(());
    }
    let error =
        if code == ABANDONED { deadlock(&call.copy()) } else { failure(&call.copy(), code) };
    record::leave(noting);
    Err(error)
}

/// The gate of a blocking call of all members of a communicator. It gets its number; in strict mode the
/// members agree on what they are about to do.
#[inline]
pub(crate) fn gate_collective(
    call: &Call<'_>,
    what: What,
    f: impl FnOnce() -> c_int,
) -> Result<()> {
    let _permit = state::permit(call)?;
    let what = numbered(call, what);
    let mut disagreement = Ok(());
    let outcome = noted(
        call,
        || what,
        || {
            if observer::is_strict() {
                disagreement = observer::before_collective(call, &what);
                if disagreement.is_err() {
                    return SUCCESS;
                }
            }
            f()
        },
    );
    match outcome {
        Ok(()) => disagreement,
        Err(error) => Err(with_room(error, what.bytes)),
    }
}

/// The error of a collective call with the length that this rank gave.
#[cold]
fn with_room(error: Error, bytes: u64) -> Error {
    if error.is_truncated() && bytes != FREE && bytes > 0 {
        return error.with_hint(&format!("this rank gave room for {bytes} bytes"));
    }
    error
}

/// In strict mode, lets the members of a communicator agree on an operation of all of them that is made
/// of messages.
pub(crate) fn agree(call: &Call<'_>) -> Result<()> {
    if !observer::is_strict() {
        return Ok(());
    }
    let what = What { bytes: FREE, ..What::of(Kind::Collective, 0, record::no_name) };
    gate_collective(call, what, || SUCCESS)
}

/// Notes that an operation of all members begins that is made of messages with its tag on the private
/// communicator.
pub(crate) fn steps(allowed: Allowed<'_>, call: &Call<'_>) {
    record::remember(allowed, call, &What::of(Kind::Steps, 0, record::no_name));
}

/// A collective call with its number on the communicator.
#[inline]
pub(crate) fn numbered(call: &Call<'_>, what: What) -> What {
    let Some(comm) = call.comm else { return What { number: 0, ..what } };
    if call.operation.has_steps {
        comm.has_steps();
    }
    What { number: comm.next_collective(), ..what }
}

/// The gate of a look that does not wait. `f` gives a code and whether it has found something: only
/// then is the look a call that counts.
#[inline(always)]
pub(crate) fn look(
    call: &Call<'_>,
    what: &What,
    f: impl FnOnce() -> (c_int, bool),
) -> Result<bool> {
    let _permit = state::permit(call)?;
    let (code, found) = f();
    if code == SUCCESS && !found {
        record::looked(call, what);
        return Ok(false);
    }
    record::leave(record::enter(call, &What::local()));
    if code == SUCCESS { Ok(true) } else { Err(failure(&call.copy(), code)) }
}

/// The error of a call that never returns.
#[cold]
#[inline(never)]
pub(crate) fn deadlock(call: &Call<'_>) -> Error {
    let report = record::take_verdict();
    // The error says this itself.
    let report = report.strip_prefix("phalanx: deadlock (proved): ").unwrap_or(&report);
    Error::new(ErrorKind::Deadlock, call, report)
}

/// A gate for the few functions that MPI allows before `MPI_Init` and from any thread.
pub(crate) fn ungated(call: &Call<'_>, f: impl FnOnce() -> c_int) -> Result<()> {
    let code = f();
    if code == SUCCESS { Ok(()) } else { Err(failure(call, code)) }
}

/// Turns a return code into an error with the library's own text.
#[cold]
#[inline(never)]
pub(crate) fn failure(call: &Call<'_>, code: c_int) -> Error {
    let class = error_class(code);
    let is = |constant: u32| class == constant as c_int;
    let (kind, detail) = if is(ffi::MPI_ERR_TRUNCATE) {
        (ErrorKind::Truncated, too_long(call))
    } else if is(ffi::MPI_ERR_RANK) {
        (ErrorKind::InvalidRank, "")
    } else if is(ffi::MPI_ERR_ROOT) {
        (ErrorKind::InvalidRoot, "")
    } else if is(ffi::MPI_ERR_TAG) {
        (ErrorKind::InvalidTag, "")
    } else if is(ffi::MPI_ERR_BUFFER) && call.operation.function.contains("Bsend") {
        (ErrorKind::BufferFull, "attach a larger buffer with phalanx::attach_buffer")
    } else {
        (ErrorKind::Library, "")
    };
    let text = error_text(code);
    // Libraries report a length that does not fit as an error of no class, too.
    let is_unclear = kind == ErrorKind::Truncated || is(ffi::MPI_ERR_OTHER);
    let detail = if text.contains("Too many communicators") {
        "a communicator that is only dropped stays in the library until MPI is finalized: call `free()` on \
         those that are not needed any more"
            .to_owned()
    } else {
        let explained = if is_unclear { collective::explain(call) } else { None };
        explained.unwrap_or_else(|| detail.to_owned())
    };
    Error::new(kind, call, detail).with_library(LibraryError { class, text })
}

/// What a truncation means. In a collective operation nobody sends a message to anybody in particular.
fn too_long(call: &Call<'_>) -> &'static str {
    match call.peer {
        Peer::To(_) | Peer::From(_) | Peer::AnySource => {
            "the message is longer than the room given for it"
        }
        Peer::None | Peer::Null | Peer::Root(_) => {
            "another rank gives more than this one has room for: either the lengths differ, or the ranks \
             call different collectives at the same time; strict mode (PHALANX_WATCH=strict) names the \
             calls that do not fit"
        }
    }
}

/// Whether a code says that a message was longer than its buffer: it was received all the same.
pub(crate) fn is_truncation(code: c_int) -> bool {
    error_class(code) == ffi::MPI_ERR_TRUNCATE as c_int
}

fn error_class(code: c_int) -> c_int {
    let mut class = code;
    // SAFETY: `class` is writable; MPI_Error_class may be called at any time and from any thread.
    let answer = unsafe { ffi::MPI_Error_class(code, &mut class) };
    if answer == SUCCESS { class } else { code }
}

fn error_text(code: c_int) -> String {
    let mut text = vec![0 as c_char; ffi::phx_max_error_string() as usize + 1];
    let mut length = 0;
    // SAFETY: the buffer has MPI_MAX_ERROR_STRING characters; MPI_Error_string may be called at any
    // time and from any thread.
    let answer = unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr(), &mut length) };
    if answer != SUCCESS {
        return format!("error code {code}");
    }
    string_from(&text)
}

/// The text up to the first NUL of a buffer that C has filled.
pub(crate) fn string_from(text: &[c_char]) -> String {
    let bytes: Vec<u8> = text.iter().map(|&c| c as u8).collect();
    match CStr::from_bytes_until_nul(&bytes) {
        Ok(text) => text.to_string_lossy().trim().to_owned(),
        Err(_) => String::from_utf8_lossy(&bytes).trim().to_owned(),
    }
}

/// A length as C wants it, or an error that says what was too long.
#[inline(always)]
pub(crate) fn c_count(call: &Call<'_>, what: &str, value: usize) -> Result<c_int> {
    match c_int::try_from(value) {
        Ok(count) => Ok(count),
        Err(_) => Err(uncountable(&call.copy(), what, value)),
    }
}

#[cold]
#[inline(never)]
fn uncountable(call: &Call<'_>, what: &str, value: usize) -> Error {
    let detail = format!("{what} is {value}, more than the {} that this MPI can count", c_int::MAX);
    Error::new(ErrorKind::Unsupported, call, detail)
}

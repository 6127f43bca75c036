//! Every MPI call: checked and recorded.
//!
//! All calls of this crate into MPI live in this room. Each passes one gate, which asks whether the
//! thread may call, writes the record, makes the call, looks at the return code and builds the
//! error. What the functions here take are [`View`]s: a pointer, a number of items and an MPI
//! datatype that were made from a Rust reference, so that lengths can be checked before a library
//! that trusts its caller writes through a pointer.

pub(crate) mod collective;
pub(crate) mod comm;
pub(crate) mod datatype;
mod large;
pub(crate) mod op;
pub(crate) mod p2p;
pub(crate) mod request;
pub(crate) mod state;
pub(crate) mod view;
pub(crate) mod wait;
pub(crate) mod world;

use std::ffi::CStr;
use std::os::raw::{c_char, c_int};

use phalanx_sys as ffi;

use crate::error::{Error, ErrorKind, LibraryError, Result};
use crate::record::{self, Call};

pub(crate) use large::set_limit as set_large_limit;
pub(crate) use view::{View, ViewMut};

/// The code with which every MPI function says that all is well.
pub(crate) const SUCCESS: c_int = ffi::MPI_SUCCESS as c_int;

/// The gate: every MPI call of a running world goes through here.
#[inline(always)]
pub(crate) fn gate(call: &Call<'_>, f: impl FnOnce() -> c_int) -> Result<()> {
    let _permit = state::permit(call)?;
    record::enter(call);
    let code = f();
    record::leave();
    if code == SUCCESS { Ok(()) } else { Err(failure(&call.copy(), code)) }
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
        (ErrorKind::Truncated, "the message is longer than the buffer given for it")
    } else if is(ffi::MPI_ERR_RANK) {
        (ErrorKind::InvalidRank, "")
    } else if is(ffi::MPI_ERR_ROOT) {
        (ErrorKind::InvalidRoot, "")
    } else if is(ffi::MPI_ERR_TAG) {
        (ErrorKind::InvalidTag, "")
    } else if is(ffi::MPI_ERR_BUFFER) {
        (ErrorKind::BufferFull, "attach a larger buffer with phalanx::attach_buffer")
    } else {
        (ErrorKind::Library, "")
    };
    Error::new(kind, call, detail).with_library(LibraryError { class, text: error_text(code) })
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
pub(crate) fn c_count(call: &Call<'_>, what: &str, value: usize) -> Result<c_int> {
    c_int::try_from(value).map_err(|_| {
        Error::new(
            ErrorKind::Unsupported,
            call,
            format!("{what} is {value}, more than the {} that this MPI can count", c_int::MAX),
        )
    })
}

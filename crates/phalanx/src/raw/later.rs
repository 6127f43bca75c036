//! Handles that are freed where they are dropped, or later where that thread may not call MPI.
//!
//! A drop has nobody to tell that it was refused. What it could not free waits here for the next
//! thread that may call; otherwise a program that drops views or reductions on worker threads would
//! fill the tables of the library until finalize. Freeing is no call of the program's, so the record
//! does not show it.

use std::os::raw::c_int;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use phalanx_sys as ffi;

use super::state::{self, Permit};
use crate::record::{Call, RELEASE};

/// A handle of the library's that its owner gives up.
pub(super) enum Handle {
    Datatype(ffi::MPI_Datatype),
    Group(ffi::MPI_Group),
    Op(ffi::MPI_Op),
}

// SAFETY: handles are plain values; the permit says which thread may use them.
unsafe impl Send for Handle {}

impl Handle {
    /// What MPI will not free stays with it until finalize: there is nothing else to do about it.
    fn free(&mut self, _: &Permit) -> c_int {
        // SAFETY: MPI runs, the thread may call, and the owner frees the handle once.
        unsafe {
            match self {
                Handle::Datatype(datatype) => ffi::MPI_Type_free(datatype),
                Handle::Group(group) => ffi::MPI_Group_free(group),
                Handle::Op(op) => ffi::MPI_Op_free(op),
            }
        }
    }
}

static WAITING: Mutex<Vec<Handle>> = Mutex::new(Vec::new());
static SOME: AtomicBool = AtomicBool::new(false);

/// Frees a handle now, if this thread may call MPI, or later. Outside a running world there is nothing
/// left to free.
pub(super) fn free(mut handle: Handle) {
    if !state::is_running() {
        return;
    }
    match state::permit(&Call::local(&RELEASE, Location::caller())) {
        Ok(permit) => {
            handle.free(&permit);
        }
        Err(_) => {
            let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(handle);
            SOME.store(true, Ordering::Release);
        }
    }
}

/// Frees what others could not.
#[inline]
pub(crate) fn free_waiting(permit: &Permit) {
    if SOME.load(Ordering::Acquire) {
        let waiting = {
            let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
            SOME.store(false, Ordering::Release);
            std::mem::take(&mut *waiting)
        };
        for mut handle in waiting {
            handle.free(permit);
        }
    }
}

/// How many handles wait.
pub(crate) fn waiting() -> usize {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner).len()
}

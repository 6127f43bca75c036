//! What MPI says of a message.

use std::mem::MaybeUninit;
use std::os::raw::c_int;

use phalanx_sys as ffi;

use crate::error::{Error, ErrorKind, Result};
use crate::raw::{SUCCESS, failure, gate, state};
use crate::record::Call;

/// What an MPI call said of a message.
#[derive(Clone, Copy)]
pub struct RawStatus(pub ffi::MPI_Status);

// SAFETY: a status is plain data.
unsafe impl Send for RawStatus {}

impl RawStatus {
    /// The status of no message.
    #[inline(always)]
    pub fn empty() -> Self {
        // SAFETY: a status is plain integers, for which zero is a value.
        RawStatus(unsafe { MaybeUninit::zeroed().assume_init() })
    }

    #[inline(always)]
    pub fn source(&self) -> c_int {
        self.0.MPI_SOURCE
    }

    #[inline(always)]
    pub fn tag(&self) -> c_int {
        self.0.MPI_TAG
    }

    /// Bytes of the message.
    #[inline(always)]
    pub fn bytes(&self, call: &Call<'_>) -> Result<usize> {
        // SAFETY: the status was filled by a completed call.
        let bytes = unsafe { ffi::phx_status_bytes(&self.0) };
        if bytes >= 0 { Ok(bytes as usize) } else { self.count_bytes(&call.copy()) }
    }

    /// The same for a library whose status is closed to us.
    #[cold]
    fn count_bytes(&self, call: &Call<'_>) -> Result<usize> {
        if !state::is_running() {
            return Err(Error::new(ErrorKind::State, call, "MPI is finalized already"));
        }
        let mut count: ffi::MPI_Count = 0;
        // SAFETY: the status was filled by a completed call. The function reads the status alone:
        // it may run on any thread that holds one.
        let code = unsafe { ffi::MPI_Get_elements_x(&self.0, ffi::phx_byte(), &mut count) };
        if code != SUCCESS {
            return Err(failure(call, code));
        }
        usize::try_from(count)
            .map_err(|_| Error::new(ErrorKind::TypeMismatch, call, "the length is undefined"))
    }

    pub fn was_cancelled(&self, call: &Call<'_>) -> Result<bool> {
        let mut flag = 0;
        gate(call, || {
            // SAFETY: the status was filled by a completed call.
            unsafe { ffi::MPI_Test_cancelled(&self.0, &mut flag) }
        })?;
        Ok(flag != 0)
    }
}

//! The constants and calls that `mpi-sys` does not export, through a small C shim.
//!
//! `mpi-sys` binds every function of the installed `mpi.h`, but constants that the header spells as
//! macros (`MPI_IN_PLACE`, `MPI_BYTE`, `MPI_MAX_ERROR_STRING`, …) are missing.
//! Each function here is the C symbol
//! of the same meaning; all of them exist with every MPI.
//!
//! This crate follows `mpi-sys`: the same probe finds the same library at build time.

use std::os::raw::{c_int, c_longlong, c_void};

pub use mpi_sys::*;

#[link(name = "phalanx_mpi_shim", kind = "static")]
unsafe extern "C" {
    /// `MPI_IN_PLACE`, section 6.2.3 of MPI-4.1.
    pub safe fn phx_in_place() -> *mut c_void;
    /// `MPI_BOTTOM`, section 5.1.5.
    pub safe fn phx_bottom() -> *mut c_void;
    /// `MPI_BYTE`, section 3.2.2.
    pub safe fn phx_byte() -> MPI_Datatype;
    /// `MPI_PACKED`, section 3.2.2.
    pub safe fn phx_packed() -> MPI_Datatype;
    /// `MPI_OP_NULL`, section 6.9.2.
    pub safe fn phx_op_null() -> MPI_Op;
    /// `MPI_REPLACE`, section 12.3.4.
    pub safe fn phx_op_replace() -> MPI_Op;
    /// `MPI_NO_OP`, section 12.3.4.
    pub safe fn phx_op_no_op() -> MPI_Op;
    /// `MPI_ERRORS_RETURN`, section 9.3.
    pub safe fn phx_errors_return() -> MPI_Errhandler;
    /// `MPI_MAX_ERROR_STRING`, section 9.4.
    pub safe fn phx_max_error_string() -> c_int;
    /// `MPI_MAX_OBJECT_NAME`, section 7.8.
    pub safe fn phx_max_object_name() -> c_int;
    /// `MPI_BSEND_OVERHEAD`, section 3.6.
    pub safe fn phx_bsend_overhead() -> c_int;
    /// `MPI_COMM_TYPE_SHARED`, section 7.4.2.
    pub safe fn phx_comm_type_shared() -> c_int;
    /// `MPI_UNWEIGHTED`, section 8.5.4.
    pub safe fn phx_unweighted() -> *mut c_int;
    /// `MPI_ERR_IN_STATUS`, section 9.4.
    pub safe fn phx_err_in_status() -> c_int;
    /// Reads the attribute `MPI_TAG_UB` of a communicator, section 9.1.2.
    ///
    /// # Safety
    /// `comm` is a valid communicator; `value` and `found` point to writable integers.
    pub fn phx_tag_upper_bound(comm: MPI_Comm, value: *mut c_int, found: *mut c_int) -> c_int;
    /// Bytes of a received message, read from the status without a call into the library; negative
    /// where the header does not say where they are: `MPI_Get_elements_x` knows, section 5.1.11.
    ///
    /// # Safety
    /// `status` points to a status that a completed receive has filled.
    pub fn phx_status_bytes(status: *const MPI_Status) -> c_longlong;
    safe fn phx_family() -> c_int;
    safe fn phx_header_version() -> c_int;
    safe fn phx_header_subversion() -> c_int;
}

/// A family of MPI libraries: members share one binary interface and one kind of launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Open MPI.
    OpenMpi,
    /// MPICH and its derivatives (Intel MPI, MVAPICH, Cray MPICH).
    Mpich,
    /// Something else.
    Other,
}

/// The family of the MPI that this program was compiled for.
pub fn family() -> Family {
    match phx_family() {
        1 => Family::OpenMpi,
        2 => Family::Mpich,
        _ => Family::Other,
    }
}

/// The version of the MPI standard that `mpi.h` announced at build time.
pub fn header_version() -> (u32, u32) {
    let number = |value: c_int| u32::try_from(value).unwrap_or(0);
    (number(phx_header_version()), number(phx_header_subversion()))
}

//! Reduction operations: predefined ones, and closures behind `MPI_Op_create`.
//!
//! MPI calls a user function with two arrays and nothing else: no room for a closure's captures.
//! So there is a fixed number of C functions, one for each *slot*; an operation takes a free slot,
//! puts its closure there, and gives the slot back when the last reduction with it is complete.

use std::any::Any;
use std::os::raw::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use phalanx_sys as ffi;

use super::later::{self, Handle};
use super::{gate, permit};
use crate::error::{Error, ErrorKind, Result};
use crate::record::Call;

/// A reduction operation as MPI knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawOp(pub(crate) ffi::MPI_Op);

// SAFETY: an operation handle is a plain value; the gate checks which thread may use it.
unsafe impl Send for RawOp {}
// SAFETY: as above.
unsafe impl Sync for RawOp {}

/// Declares one function for each predefined operation.
macro_rules! predefined {
    ($($name:ident = $constant:ident;)*) => {
        $(
            #[inline(always)]
            pub(crate) fn $name() -> RawOp {
                // SAFETY: reading a constant of the C library.
                RawOp(unsafe { ffi::$constant })
            }
        )*
    };
}

predefined! {
    sum = RSMPI_SUM;
    product = RSMPI_PROD;
    min = RSMPI_MIN;
    max = RSMPI_MAX;
    bit_and = RSMPI_BAND;
    bit_or = RSMPI_BOR;
    bit_xor = RSMPI_BXOR;
    logical_and = RSMPI_LAND;
    logical_or = RSMPI_LOR;
    logical_xor = RSMPI_LXOR;
}

/// The name of an operation whose handle was noted as a number, for reports.
pub(crate) fn name_of_number(number: u64) -> &'static str {
    if number == 0 {
        return "";
    }
    let known = [
        (sum(), "Sum"),
        (product(), "Product"),
        (min(), "Min"),
        (max(), "Max"),
        (bit_and(), "BitAnd"),
        (bit_or(), "BitOr"),
        (bit_xor(), "BitXor"),
        (logical_and(), "LogicalAnd"),
        (logical_or(), "LogicalOr"),
        (logical_xor(), "LogicalXor"),
    ];
    known.iter().find(|(op, _)| op.number() == number).map_or(CLOSURE, |(_, name)| name)
}

/// What an operation is called that is no predefined one: `MinLoc` and `MaxLoc` are closures too.
pub(crate) const CLOSURE: &str = "a closure";

impl RawOp {
    /// The handle as a number.
    #[inline(always)]
    pub(crate) fn number(self) -> u64 {
        const SIZE: usize = size_of::<ffi::MPI_Op>();
        const { assert!(SIZE <= size_of::<u64>()) };
        let mut number = 0_u64;
        // SAFETY: a handle is an integer or an address, and the number has room for its bytes.
        unsafe {
            let handle = (&raw const self.0).cast::<u8>();
            std::ptr::copy_nonoverlapping(handle, (&raw mut number).cast(), SIZE);
        }
        number
    }
}

/// Combines `count` elements of `in` into those of `inout`: `inout[i] = f(in[i], inout[i])`.
pub(crate) type Combine = dyn Fn(*const c_void, *mut c_void, usize) + Send + Sync;

struct Slot {
    combine: RwLock<Option<Arc<Combine>>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

const SLOTS: usize = 64;

static TABLE: [Slot; SLOTS] =
    [const { Slot { combine: RwLock::new(None), panic: Mutex::new(None) } }; SLOTS];

/// What MPI calls for the operation in slot `SLOT`.
unsafe extern "C" fn trampoline<const SLOT: usize>(
    input: *mut c_void,
    inout: *mut c_void,
    count: *mut c_int,
    _datatype: *mut ffi::MPI_Datatype,
) {
    let slot = &TABLE[SLOT];
    // SAFETY: MPI passes a pointer to the number of elements.
    let count = usize::try_from(unsafe { *count }).unwrap_or(0);
    let combine = slot.combine.read().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(combine) = combine else { return };
    // A panic must not unwind through the C library; it goes on when the call has returned.
    let closed = super::state::close();
    let outcome = catch_unwind(AssertUnwindSafe(|| combine(input, inout, count)));
    drop(closed);
    if let Err(panic) = outcome {
        // The payload is a value of the program's: it is not dropped under our lock.
        let later = {
            let mut first = slot.panic.lock().unwrap_or_else(PoisonError::into_inner);
            if first.is_none() { first.replace(panic) } else { Some(panic) }
        };
        drop(later);
    }
}

type UserFunction =
    unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_int, *mut ffi::MPI_Datatype);

macro_rules! table_of_trampolines {
    ($($slot:literal)*) => { [$(trampoline::<$slot>),*] };
}

static TRAMPOLINES: [UserFunction; SLOTS] = table_of_trampolines!(
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
);

/// An operation made from a closure. Dropping it frees the operation and its slot.
pub(crate) struct UserOp {
    op: RawOp,
    slot: usize,
}

impl UserOp {
    pub fn new(call: &Call<'_>, combine: Arc<Combine>, commutative: bool) -> Result<Self> {
        let _permit = permit(call)?;
        let slot = TABLE.iter().position(|slot| {
            let mut place = slot.combine.write().unwrap_or_else(PoisonError::into_inner);
            place.is_none() && place.replace(combine.clone()).is_none()
        });
        let Some(slot) = slot else {
            return Err(Error::new(
                ErrorKind::InUse,
                call,
                format!("{SLOTS} reductions with closures are in flight already"),
            ));
        };
        let mut op = ffi::phx_op_null();
        // SAFETY: the function lives as long as the program.
        let made = gate(call, || unsafe {
            ffi::MPI_Op_create(Some(TRAMPOLINES[slot]), c_int::from(commutative), &mut op)
        });
        if let Err(error) = made {
            *TABLE[slot].combine.write().unwrap_or_else(PoisonError::into_inner) = None;
            return Err(error);
        }
        Ok(UserOp { op: RawOp(op), slot })
    }

    pub fn raw(&self) -> RawOp {
        self.op
    }

    /// Goes on with a panic of the closure, which could not pass through the library.
    pub fn resume_panic(&self) {
        if let Some(panic) = self.take_panic() {
            resume_unwind(panic);
        }
    }

    /// The first panic of the closure that nobody has heard of.
    pub fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        TABLE[self.slot].panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How many closures are in use.
pub(crate) fn in_use() -> usize {
    let used = |slot: &&Slot| slot.combine.read().unwrap_or_else(PoisonError::into_inner).is_some();
    TABLE.iter().filter(used).count()
}

/// A panic of any closure that nobody has heard of: that of a reduction which never completed.
pub(crate) fn unheard_panic() -> Option<Box<dyn Any + Send>> {
    let panic = |slot: &Slot| slot.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
    TABLE.iter().find_map(panic)
}

impl Drop for UserOp {
    fn drop(&mut self) {
        later::free(Handle::Op(self.op.0));
        // The closure and what it has captured are the program's: they are dropped when the lock is
        // free, since they may start another reduction.
        let slot = &TABLE[self.slot];
        let panic = self.take_panic();
        let combine = slot.combine.write().unwrap_or_else(PoisonError::into_inner).take();
        drop((panic, combine));
    }
}

//! Counts above 2³¹−1: the `int` of the C interface counts one item of a large datatype.

use std::os::raw::c_int;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use phalanx_sys as ffi;

use super::datatype::{self, Datatype};
use super::gate;
use crate::error::Result;
use crate::record::Call;

/// The most items that one call counts with its `int`.
static LIMIT: AtomicUsize = AtomicUsize::new(c_int::MAX as usize);

/// Lowers the limit, so that a test can see the path of large messages with small ones.
pub(crate) fn set_limit(items: usize) {
    LIMIT.store(items.clamp(1, c_int::MAX as usize), Relaxed);
}

/// The most items that one call counts.
#[inline(always)]
pub(crate) fn limit() -> usize {
    LIMIT.load(Relaxed)
}

/// A count and a datatype that together say how many items there are.
pub(crate) struct Counted {
    pub count: c_int,
    pub datatype: ffi::MPI_Datatype,
    temporary: bool,
}

impl Counted {
    #[inline(always)]
    pub fn new(call: &Call<'_>, items: usize, datatype: ffi::MPI_Datatype) -> Result<Self> {
        if items <= LIMIT.load(Relaxed) {
            return Ok(Counted { count: items as c_int, datatype, temporary: false });
        }
        large(&call.copy(), items, datatype)
    }
}

impl Drop for Counted {
    #[inline(always)]
    fn drop(&mut self) {
        if self.temporary {
            datatype::free(Datatype(self.datatype));
        }
    }
}

/// One item that is `items` items: a struct of whole chunks and a rest.
#[cold]
fn large(call: &Call<'_>, items: usize, datatype: ffi::MPI_Datatype) -> Result<Counted> {
    let chunk = LIMIT.load(Relaxed);
    let chunks = super::c_count(call, "number of chunks of a large message", items / chunk)?;
    let rest = (items % chunk) as c_int;
    let (mut lower, mut extent) = (0, 0);
    // SAFETY: the handle is a live type, and both results are writable.
    gate(call, || unsafe { ffi::MPI_Type_get_extent(datatype, &mut lower, &mut extent) })?;
    let null = datatype::null().0;
    let (mut one, mut whole, mut result) = (null, null, null);
    // SAFETY: as above.
    gate(call, || unsafe { ffi::MPI_Type_contiguous(chunk as c_int, datatype, &mut one) })?;
    // SAFETY: as above.
    gate(call, || unsafe { ffi::MPI_Type_contiguous(chunks, one, &mut whole) })?;
    let lengths = [1, rest];
    let displacements = [0, (items - items % chunk) as ffi::MPI_Aint * extent];
    let types = [whole, datatype];
    // SAFETY: the arrays have the two entries that the count says.
    gate(call, || unsafe {
        ffi::MPI_Type_create_struct(
            2,
            lengths.as_ptr(),
            displacements.as_ptr(),
            types.as_ptr(),
            &mut result,
        )
    })?;
    // SAFETY: the type was made above.
    gate(call, || unsafe { ffi::MPI_Type_commit(&mut result) })?;
    for mut part in [one, whole] {
        // SAFETY: the parts may be freed once the whole is made.
        gate(call, || unsafe { ffi::MPI_Type_free(&mut part) })?;
    }
    Ok(Counted { count: 1, datatype: result, temporary: true })
}

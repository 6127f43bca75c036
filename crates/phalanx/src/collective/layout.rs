//! Counts and starts of blocks, as C wants them.

use std::os::raw::c_int;

use super::NO_LENGTH;
use crate::datatype::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::c_count;
use crate::raw::collective::Layout;
use crate::record::Call;

/// The layout of one block for each rank, in items.
pub(crate) struct OwnedLayout {
    counts: Vec<c_int>,
    starts: Vec<c_int>,
}

impl OwnedLayout {
    /// Blocks of `counts` elements, one after another.
    pub fn of<T: Element>(call: &Call<'_>, counts: &[usize]) -> Result<Self> {
        let mut layout = OwnedLayout { counts: Vec::new(), starts: Vec::new() };
        let mut start: usize = 0;
        for &count in counts {
            let items = count.saturating_mul(T::ITEMS);
            layout.counts.push(c_count(call, "number of items of a block", items)?);
            layout.starts.push(c_count(call, "start of a block", start)?);
            start = start.saturating_add(items);
        }
        Ok(layout)
    }

    pub fn borrow(&self) -> Layout<'_> {
        Layout { counts: &self.counts, starts: &self.starts }
    }
}

/// The sum of counts that came from other ranks.
pub(crate) fn total(call: &Call<'_>, counts: &[usize]) -> Result<usize> {
    counts.iter().try_fold(0_usize, |sum, &count| sum.checked_add(count)).ok_or_else(|| {
        Error::new(ErrorKind::InvalidLength, call, "the counts add up to more than memory holds")
    })
}

/// A length that the root has told, or the error of a rank that was told there is none.
pub(super) fn told(call: &Call<'_>, length: u64) -> Result<usize> {
    if length == NO_LENGTH {
        let detail =
            "the root could not divide what it has among the ranks; its own error says why";
        return Err(Error::new(ErrorKind::InvalidLength, call, detail));
    }
    Ok(length as usize)
}

/// Elements of each rank's share, if all shares are equal.
#[inline]
pub(super) fn equal_share(call: &Call<'_>, elements: usize, ranks: usize) -> Result<usize> {
    if !elements.is_multiple_of(ranks) {
        let detail = format!("{elements} elements cannot be shared evenly by {ranks} ranks");
        return Err(Error::new(ErrorKind::InvalidLength, call, detail));
    }
    Ok(elements / ranks)
}

/// One count for each rank, or an error.
pub(super) fn one_for_each(call: &Call<'_>, counts: &[usize], elements: usize) -> Result<()> {
    let ranks = call.comm.map_or(0, |comm| comm.size);
    if counts.len() != ranks {
        let detail = format!("{} blocks were given for {ranks} ranks", counts.len());
        return Err(Error::new(ErrorKind::InvalidLength, call, detail));
    }
    let sum = total(call, counts)?;
    if sum != elements {
        let detail = format!("the counts add up to {sum}, the buffer holds {elements} elements");
        return Err(Error::new(ErrorKind::InvalidLength, call, detail));
    }
    Ok(())
}

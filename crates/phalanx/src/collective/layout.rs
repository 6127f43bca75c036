//! Counts of blocks, and whether they fit.

use super::NO_LENGTH;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::collective::{invalid_length, wrong_items};
use crate::record::Call;
use crate::words::count;

/// The sum of counts that came from other ranks.
pub(crate) fn total(call: &Call<'_>, counts: &[usize]) -> Result<usize> {
    counts.iter().try_fold(0_usize, |sum, &count| sum.checked_add(count)).ok_or_else(|| {
        Error::new(ErrorKind::InvalidLength, call, "the counts add up to more than memory holds")
    })
}

/// A length that the root has told, or the error of a rank that was told there is none.
pub(super) fn length_from_root(call: &Call<'_>, length: u64) -> Result<usize> {
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
        let detail =
            format!("{elements} elements cannot be shared evenly by {}", count(ranks, "rank"));
        return Err(Error::new(ErrorKind::InvalidLength, call, detail));
    }
    Ok(elements / ranks)
}

/// One count for each rank, or an error.
pub(super) fn one_for_each(call: &Call<'_>, counts: &[usize], elements: usize) -> Result<()> {
    let ranks = call.comm.map_or(0, |comm| comm.size);
    if counts.len() != ranks {
        let detail =
            format!("{} were given for {}", count(counts.len(), "block"), count(ranks, "rank"));
        return Err(Error::new(ErrorKind::InvalidLength, call, detail));
    }
    let sum = total(call, counts)?;
    if sum != elements {
        let detail = format!("the counts add up to {sum}, the buffer holds {elements} elements");
        return Err(Error::new(ErrorKind::InvalidLength, call, detail));
    }
    Ok(())
}

/// The error of a rank whose buffer is missing, or is not what the call needs: elements needed, and given.
#[cold]
pub(crate) fn misfit(call: &Call<'_>, buffer: &str, needed: usize, given: Option<usize>) -> Error {
    match given {
        Some(given) => wrong_items(call, buffer, needed, given),
        None => {
            invalid_length(call, format!("the root must give a {buffer} buffer, it gave `None`"))
        }
    }
}

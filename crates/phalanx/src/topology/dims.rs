//! How many ranks lie along each dimension of a grid.

use std::panic::Location;

use crate::error::{Error, ErrorKind, Result};
use crate::raw;
use crate::record::{Call, DIMS_CREATE};

/// Shares a number of ranks among the dimensions of a grid, as evenly as possible. Dimensions that are
/// not 0 stay as they are.
///
/// # Errors
/// [`InvalidLength`](ErrorKind::InvalidLength) if there are no ranks or no dimensions, or if what is
/// fixed does not divide the number of ranks, or is not all of them where nothing is free; those of a thread that may not call MPI.
///
/// MPI: `MPI_Dims_create`, MPI-4.1 section 8.5.2.
///
/// ```
/// # phalanx::run(|_world| -> phalanx::Result<()> {
/// assert_eq!(phalanx::dims_create(12, &[0, 0])?, [4, 3]);
/// assert_eq!(phalanx::dims_create(12, &[0, 6])?, [2, 6]);
/// assert!(phalanx::dims_create(12, &[0, 5]).is_err());
/// # Ok(())
/// # });
/// ```
#[track_caller]
pub fn dims_create(ranks: usize, dims: &[usize]) -> Result<Vec<usize>> {
    let call = Call::local(&DIMS_CREATE, Location::caller());
    fill(&call, ranks, dims, true)
}

/// The dimensions with the free ones filled. All ranks are used if there are free ones, or if `all` says
/// so.
pub(super) fn fill(call: &Call<'_>, ranks: usize, dims: &[usize], all: bool) -> Result<Vec<usize>> {
    let refuse = |detail| Err(Error::new(ErrorKind::InvalidLength, call, detail));
    if dims.is_empty() {
        return refuse("a grid has at least one dimension".to_owned());
    }
    if ranks == 0 {
        return refuse("a grid has at least one rank".to_owned());
    }
    let free = dims.contains(&0);
    let fixed = dims
        .iter()
        .filter(|&&dim| dim != 0)
        .try_fold(1_usize, |product, &dim| product.checked_mul(dim));
    match fixed {
        Some(fixed) if free || all => {
            if !ranks.is_multiple_of(fixed) || (!free && fixed != ranks) {
                return refuse(format!(
                    "{ranks} ranks do not fill a grid of {}, whose fixed dimensions take {fixed}: give 0 for each \
                     dimension that may have any length",
                    text(dims)
                ));
            }
        }
        Some(fixed) if fixed <= ranks => {}
        _ => {
            let needed = fixed.map_or("more".to_owned(), |fixed| fixed.to_string());
            return refuse(format!(
                "a grid of {} needs {needed} ranks, the communicator has {ranks}: start more, or give 0 for each \
                 dimension that may have any length",
                text(dims)
            ));
        }
    }
    if free { raw::topology::dims_create(call, ranks, dims) } else { Ok(dims.to_vec()) }
}

/// As people write a grid: `4 × 3`.
pub(super) fn text(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ")
}

//! Blocks of elements for and from neighbours: their lengths, and where they lie.

use super::PerNeighbor;
use super::neighborhood::Neighborhood;
use crate::collective::{PerRank, total};
use crate::datatype::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::collective::RawBlock;
use crate::record::Call;

fn invalid(call: &Call<'_>, detail: String) -> Error {
    Error::new(ErrorKind::InvalidLength, call, detail)
}

/// Where blocks of so many elements lie that start at an address, one after another.
pub(super) fn parts<T: Element>(start: *const T, counts: &[usize]) -> Result<Vec<RawBlock>> {
    let datatype = T::datatype()?.0;
    let mut at = start;
    let part = |&count: &usize| {
        let part = (at.cast(), count * T::ITEMS, datatype);
        at = at.wrapping_add(count);
        part
    };
    Ok(counts.iter().map(part).collect())
}

/// The same block for each neighbour.
pub(super) fn repeated<T: Element>(block: &[T], times: usize) -> Result<Vec<RawBlock>> {
    Ok(vec![(block.as_ptr().cast(), block.len() * T::ITEMS, T::datatype()?.0); times])
}

/// A buffer holds a block for each of so many neighbours.
pub(super) fn expect_len(
    call: &Call<'_>,
    buffer: &str,
    len: usize,
    (each, neighbors): (usize, usize),
) -> Result<()> {
    if each.checked_mul(neighbors) == Some(len) {
        return Ok(());
    }
    let detail = format!(
        "the {buffer} buffer holds {len} elements, not {each} for each of {neighbors} neighbors"
    );
    Err(invalid(call, detail))
}

/// One count for each neighbour on a side, which add up to the elements of the buffer.
pub(super) fn expect_counts(
    call: &Call<'_>,
    counts: &[usize],
    (who, neighbors): (&str, usize),
    elements: usize,
) -> Result<()> {
    if counts.len() != neighbors {
        let given = counts.len();
        return Err(invalid(call, format!("{given} blocks were given for {neighbors} {who}s")));
    }
    let sum = total(call, counts)?;
    if sum != elements {
        let detail = format!("the counts add up to {sum}, the buffer holds {elements} elements");
        return Err(invalid(call, detail));
    }
    Ok(())
}

impl Neighborhood {
    /// Elements of each destination's share.
    pub(super) fn share(&self, call: &Call<'_>, elements: usize) -> Result<usize> {
        let destinations = self.outdegree();
        match elements.checked_div(destinations) {
            Some(each) if each * destinations == elements => Ok(each),
            None if elements == 0 => Ok(0),
            _ => {
                let detail = format!(
                    "{elements} elements cannot be shared evenly by {destinations} destinations"
                );
                Err(invalid(call, detail))
            }
        }
    }

    /// An error where some rank could not know how much it receives.
    pub(super) fn expect_answers(&self, call: &Call<'_>) -> Result<()> {
        self.receives_only().map_or(Ok(()), |rank| {
            let detail = format!(
                "rank {rank} has sources and no destinations, so that it cannot know how many elements \
                 come: use neighbor_alltoall_into or neighbor_alltoallv"
            );
            Err(invalid(call, detail))
        })
    }

    /// Blocks of `each` elements, without those of sources that do not exist.
    pub(super) fn existing<T>(
        &self,
        call: &Call<'_>,
        mut all: Vec<T>,
        each: usize,
    ) -> Result<PerNeighbor<T>> {
        let sources = self.sources();
        if each > 0 && sources.contains(&None) {
            let mut index = 0;
            all.retain(|_| {
                let exists = sources[index / each].is_some();
                index += 1;
                exists
            });
        }
        let counts = sources.iter().map(|it| if it.is_some() { each } else { 0 }).collect();
        self.per_neighbor(call, all, counts)
    }

    pub(super) fn per_neighbor<T>(
        &self,
        call: &Call<'_>,
        data: Vec<T>,
        counts: Vec<usize>,
    ) -> Result<PerNeighbor<T>> {
        let blocks = PerRank::from_flat(data, counts)
            .ok_or_else(|| invalid(call, "the counts do not add up".to_owned()))?;
        Ok(PerNeighbor::new(blocks, self.sources().clone()))
    }
}

//! Which part of a block goes to whom in an exchange of ghost cells: worked out once, when the halo is made.

use super::Corners;
use crate::datatype::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::datatype::{self, Datatype};
use crate::record::Call;
use crate::topology::Cart;

/// One message: whom it goes to or comes from, and which part of the array it is.
pub(super) struct Transfer {
    pub rank: usize,
    pub part: Datatype,
    pub bytes: usize,
}

impl Drop for Transfer {
    fn drop(&mut self) {
        datatype::free(self.part);
    }
}

/// The geometry of a block and the messages of its exchange.
pub(super) struct Plan {
    pub interior: Vec<usize>,
    /// Ghost cells before and after the interior.
    pub widths: Vec<(usize, usize)>,
    /// The cells of the array, ghost cells included.
    pub shape: Vec<usize>,
    /// In the order of the directions in which messages are sent.
    pub sends: Vec<Transfer>,
    pub receives: Vec<Transfer>,
}

impl Plan {
    /// The plan for a block of this shape. Local.
    pub fn new<T: Element>(
        cart: &Cart,
        call: &Call<'_>,
        interior: &[usize],
        widths: &[(usize, usize)],
        corners: Corners,
    ) -> Result<Self> {
        let shape = shape_of::<T>(cart, call, interior, widths)?;
        let (interior, widths) = (interior.to_vec(), widths.to_vec());
        let mut plan = Plan { interior, widths, shape, sends: Vec::new(), receives: Vec::new() };
        if size_of::<T>() > 0 {
            plan.find_transfers::<T>(cart, call, corners)?;
        }
        Ok(plan)
    }

    /// Finds out which part of the array goes where.
    fn find_transfers<T: Element>(
        &mut self,
        cart: &Cart,
        call: &Call<'_>,
        corners: Corners,
    ) -> Result<()> {
        // Alike on all ranks, so that the messages of a pair are in one order on both sides.
        let is_open: Vec<bool> = (0..self.shape.len())
            .map(|it| {
                let shared = cart.dims()[it] > 1 || cart.periods()[it];
                shared && self.widths[it] != (0, 0)
            })
            .collect();
        for steps in directions(&is_open) {
            let sides = steps.iter().filter(|&&step| step != 0).count();
            if sides > 1 && corners == Corners::Skip {
                continue;
            }
            // What is sent in a direction are the ghost cells on the other side of who gets it. Past a
            // closed end there is nobody, and no part of the array either.
            if let Some(to) = cart.rank_at_offset(&steps)? {
                let sent =
                    self.part::<T>(call, &steps, |step, length, (before, after)| match step {
                        -1 => (before, after),
                        0 => (before, length),
                        _ => (before + length - before.min(length), before),
                    })?;
                self.sends.extend(sent.map(|(part, bytes)| Transfer { rank: to, part, bytes }));
            }
            let back: Vec<isize> = steps.iter().map(|step| -step).collect();
            if let Some(from) = cart.rank_at_offset(&back)? {
                let ghosts =
                    self.part::<T>(call, &back, |step, length, (before, after)| match step {
                        -1 => (0, before),
                        0 => (before, length),
                        _ => (before + length, after),
                    })?;
                self.receives.extend(ghosts.map(|(part, bytes)| Transfer {
                    rank: from,
                    part,
                    bytes,
                }));
            }
        }
        Ok(())
    }

    /// The part of the array in a direction, of which `range` says start and length in a dimension.
    /// `None` if there are no cells in it.
    fn part<T: Element>(
        &self,
        call: &Call<'_>,
        steps: &[isize],
        range: impl Fn(isize, usize, (usize, usize)) -> (usize, usize),
    ) -> Result<Option<(Datatype, usize)>> {
        let size = size_of::<T>();
        let mut shape = self.shape.clone();
        let dimensions = steps.iter().zip(&self.interior).zip(&self.widths);
        let (mut starts, mut lengths): (Vec<_>, Vec<_>) =
            dimensions.map(|((&step, &length), &widths)| range(step, length, widths)).unzip();
        let cells: usize = lengths.iter().product();
        if cells == 0 {
            return Ok(None);
        }
        let (word, width) = datatype::word(align_of::<T>());
        for numbers in [&mut shape, &mut starts, &mut lengths] {
            if let Some(last) = numbers.last_mut() {
                *last *= size / width;
            }
        }
        let part = datatype::subarray(call, word, &shape, &lengths, &starts)?;
        Ok(Some((part, cells * size)))
    }
}

/// The shape of a block with its ghost cells.
fn shape_of<T>(
    cart: &Cart,
    call: &Call<'_>,
    interior: &[usize],
    widths: &[(usize, usize)],
) -> Result<Vec<usize>> {
    let refuse = |detail: String| Err(Error::new(ErrorKind::InvalidLength, call, detail));
    let dimensions = cart.dims().len();
    for (what, given) in [("lengths", interior.len()), ("widths", widths.len())] {
        if given != dimensions {
            return refuse(format!("{given} {what} were given for {dimensions} dimensions"));
        }
    }
    let mut shape = Vec::with_capacity(dimensions);
    for (dimension, (&length, &(before, after))) in interior.iter().zip(widths).enumerate() {
        let shared = cart.dims()[dimension] > 1 || cart.periods()[dimension];
        let width = before.max(after);
        if shared && width > length {
            return refuse(format!(
                "in dimension {dimension} the interior has {length} cells, of which a neighbor \
                 needs {width} as ghost cells"
            ));
        }
        match length.checked_add(before).and_then(|it| it.checked_add(after)) {
            Some(all) => shape.push(all),
            None => return refuse(format!("dimension {dimension} is larger than memory")),
        }
    }
    let bytes = shape
        .iter()
        .try_fold(size_of::<T>().max(1), |all, &length| all.checked_mul(length))
        .filter(|bytes| isize::try_from(*bytes).is_ok());
    if bytes.is_none() {
        return refuse(format!("a block of {shape:?} cells is larger than memory"));
    }
    Ok(shape)
}

/// Every direction but none at all: for each dimension −1, 0 or 1, and 0 alone where `is_open` says that
/// there is nobody.
fn directions(is_open: &[bool]) -> impl Iterator<Item = Vec<isize>> {
    let open: Vec<usize> = (0..is_open.len()).filter(|&it| is_open[it]).collect();
    let dimensions = is_open.len();
    // So many neighbours nobody has: an open dimension at least doubles the ranks, or the cells.
    let all = 3_usize.checked_pow(open.len() as u32).unwrap_or(usize::MAX);
    let direction = move |mut number: usize| {
        let mut steps = vec![0; dimensions];
        for &dimension in open.iter().rev() {
            steps[dimension] = (number % 3) as isize - 1;
            number /= 3;
        }
        steps
    };
    (0..all).map(direction).filter(|steps| steps.iter().any(|&step| step != 0))
}

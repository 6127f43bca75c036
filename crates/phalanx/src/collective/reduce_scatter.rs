//! Reductions whose result is shared out.

use std::panic::Location;

use super::layout::{equal_share, misfit, one_for_each};
use super::reduce::reduce;
use crate::comm::Comm;
use crate::datatype::{Buffer, Element, zeros};
use crate::error::Result;
use crate::op::{Prepared, Reduction};
use crate::raw::collective::{self, Input};
use crate::raw::op::RawOp;
use crate::raw::{self, View, ViewMut, state};
use crate::record::{
    Call, IREDUCE_SCATTER, IREDUCE_SCATTER_BLOCK, REDUCE_SCATTER, REDUCE_SCATTER_BLOCK,
};
use crate::request::{Request, Run, start_several};

/// # Reductions whose result is divided among the ranks
impl Comm {
    /// Combines the elements of all ranks and gives rank `i` the next `counts[i]` of the result.
    /// Collective; data and counts have the same lengths and values everywhere.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if the counts do not add up to the elements.
    ///
    /// MPI: `MPI_Reduce_scatter`, MPI-4.1 section 6.10.2.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let counts: Vec<usize> = (0..world.size()).map(|rank| rank + 1).collect();
    /// let data = vec![1; counts.iter().sum()];
    /// let mine = world.reduce_scatter(&data, &counts, Sum)?;
    /// assert_eq!(mine, vec![world.size() as i32; world.rank() + 1]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn reduce_scatter<B: Buffer + ?Sized>(
        &self,
        data: &B,
        counts: &[usize],
        op: impl Reduction<B::Element>,
    ) -> Result<Vec<B::Element>> {
        let call = self.call(&REDUCE_SCATTER, Location::caller());
        let data = data.elements();
        let checked = one_for_each(&call, counts, data.len());
        checked.map_err(|error| collective::refused(&call, error))?;
        let mut mine = zeros(counts[self.rank()]);
        self.reduce_scatter_at(&call, data, &mut mine, counts, op)?;
        Ok(mine)
    }

    /// [`reduce_scatter`](Comm::reduce_scatter) into a buffer of this rank's count.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if counts, data and buffer do not fit each other.
    ///
    /// MPI: `MPI_Reduce_scatter`, MPI-4.1 section 6.10.2.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let counts = vec![1; world.size()];
    /// let mut mine = [0];
    /// world.reduce_scatter_into(&vec![2; world.size()], &mut mine, &counts, Sum)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn reduce_scatter_into<T: Element>(
        &self,
        data: &[T],
        buffer: &mut [T],
        counts: &[usize],
        op: impl Reduction<T>,
    ) -> Result<()> {
        let call = self.call(&REDUCE_SCATTER, Location::caller());
        let checked = one_for_each(&call, counts, data.len());
        checked.map_err(|error| collective::refused(&call, error))?;
        self.reduce_scatter_at(&call, data, buffer, counts, op)
    }

    fn reduce_scatter_at<T: Element>(
        &self,
        call: &Call<'_>,
        data: &[T],
        buffer: &mut [T],
        counts: &[usize],
        op: impl Reduction<T>,
    ) -> Result<()> {
        let _permit = state::permit(call)?;
        let op = op.prepare(call)?;
        let needed = counts[self.rank()];
        let mut counts = Counts::new::<T>(counts, &op);
        let send = op.view(call, data)?;
        let outcome = if buffer.len() == needed {
            let recv = op.view_mut(call, buffer)?;
            reduce_to_each(call, &mut Run::Now, send, recv, &mut counts, op.raw())
        } else {
            // The others must not wait for a rank that has made a mistake: it takes part all the same.
            let error = misfit(call, "receive", needed, Some(buffer.len()));
            let mut aside: Vec<T> = zeros(needed);
            let recv = op.view_mut(call, &mut aside)?;
            reduce_to_each(call, &mut Run::Now, send, recv, &mut counts, op.raw()).and(Err(error))
        };
        op.complete();
        outcome
    }

    /// Combines the elements of all ranks and gives every rank an equal part of the result.
    /// Collective; the buffer has the same length everywhere.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if the ranks cannot share the elements evenly.
    ///
    /// MPI: `MPI_Reduce_scatter_block`, MPI-4.1 section 6.10.1.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mine = world.reduce_scatter_block(&vec![1; 2 * world.size()], Sum)?;
    /// assert_eq!(mine, vec![world.size() as i32; 2]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn reduce_scatter_block<B: Buffer + ?Sized>(
        &self,
        data: &B,
        op: impl Reduction<B::Element>,
    ) -> Result<Vec<B::Element>> {
        let call = self.call(&REDUCE_SCATTER_BLOCK, Location::caller());
        let data = data.elements();
        let share = equal_share(&call, data.len(), self.size());
        let mut mine = zeros(share.map_err(|error| collective::refused(&call, error))?);
        self.reduce_scatter_block_at(&call, data, &mut mine, op)?;
        Ok(mine)
    }

    /// [`reduce_scatter_block`](Comm::reduce_scatter_block) into a buffer of one part.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if data and buffer do not fit each other.
    ///
    /// MPI: `MPI_Reduce_scatter_block`, MPI-4.1 section 6.10.1.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut mine = [0; 2];
    /// world.reduce_scatter_block_into(&vec![1; 2 * world.size()], &mut mine, Sum)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn reduce_scatter_block_into<T: Element>(
        &self,
        data: &[T],
        buffer: &mut [T],
        op: impl Reduction<T>,
    ) -> Result<()> {
        let call = self.call(&REDUCE_SCATTER_BLOCK, Location::caller());
        let share = equal_share(&call, data.len(), self.size());
        share.map_err(|error| collective::refused(&call, error))?;
        self.reduce_scatter_block_at(&call, data, buffer, op)
    }

    fn reduce_scatter_block_at<T: Element>(
        &self,
        call: &Call<'_>,
        data: &[T],
        buffer: &mut [T],
        op: impl Reduction<T>,
    ) -> Result<()> {
        let _permit = state::permit(call)?;
        let op = op.prepare(call)?;
        let needed = data.len() / self.size();
        let send = op.view(call, data)?;
        let outcome = if buffer.len() == needed {
            let recv = op.view_mut(call, buffer)?;
            reduce_to_each_block(call, &mut Run::Now, send, recv, op.raw())
        } else {
            // The others must not wait for a rank that has made a mistake: it takes part all the same.
            let error = misfit(call, "receive", needed, Some(buffer.len()));
            let mut aside: Vec<T> = zeros(needed);
            let recv = op.view_mut(call, &mut aside)?;
            reduce_to_each_block(call, &mut Run::Now, send, recv, op.raw()).and(Err(error))
        };
        op.complete();
        outcome
    }

    /// Starts a [`reduce_scatter`](Comm::reduce_scatter). Collective.
    ///
    /// # Errors
    /// As [`reduce_scatter`](Comm::reduce_scatter).
    ///
    /// MPI: `MPI_Ireduce_scatter`, MPI-4.1 section 6.12.10.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let counts = vec![1; world.size()];
    /// let mine = world.ireduce_scatter(vec![3; world.size()], &counts, Max)?.wait()?;
    /// assert_eq!(mine, [3]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ireduce_scatter<B>(
        &self,
        data: B,
        counts: &[usize],
        op: impl Reduction<B::Element>,
    ) -> Result<Request<Vec<B::Element>>>
    where
        B: Buffer + Send + 'static,
    {
        struct Storage<B: Buffer> {
            data: B,
            mine: Vec<B::Element>,
            counts: Counts,
            op: Prepared,
        }
        let call = self.call(&IREDUCE_SCATTER, Location::caller());
        let _permit = state::permit(&call)?;
        let checked = one_for_each(&call, counts, data.elements().len());
        checked.map_err(|error| collective::refused_later(&call, error))?;
        let op = op.prepare(&call)?;
        let mine = zeros(counts[self.rank()]);
        let counts = Counts::new::<B::Element>(counts, &op);
        let begin = |s: &mut Storage<B>, run: &mut Run<'_>| {
            let send = s.op.view(&call, s.data.elements())?;
            let recv = s.op.view_mut(&call, &mut s.mine)?;
            reduce_to_each(&call, run, send, recv, &mut s.counts, s.op.raw())
        };
        let storage = Storage { data, mine, counts, op };
        start_several(self, &call, storage, begin, |s, _| {
            s.op.complete();
            Ok(s.mine)
        })
    }

    /// Starts a [`reduce_scatter_block`](Comm::reduce_scatter_block). Collective.
    ///
    /// # Errors
    /// As [`reduce_scatter_block`](Comm::reduce_scatter_block).
    ///
    /// MPI: `MPI_Ireduce_scatter_block`, MPI-4.1 section 6.12.9.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mine = world.ireduce_scatter_block(vec![1; world.size()], Sum)?.wait()?;
    /// assert_eq!(mine, [world.size() as i32]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ireduce_scatter_block<B>(
        &self,
        data: B,
        op: impl Reduction<B::Element>,
    ) -> Result<Request<Vec<B::Element>>>
    where
        B: Buffer + Send + 'static,
    {
        let call = self.call(&IREDUCE_SCATTER_BLOCK, Location::caller());
        let _permit = state::permit(&call)?;
        let share = equal_share(&call, data.elements().len(), self.size());
        let mine = zeros(share.map_err(|error| collective::refused_later(&call, error))?);
        let op = op.prepare(&call)?;
        let begin = |(data, mine, op): &mut (B, Vec<B::Element>, Prepared), run: &mut Run<'_>| {
            let (send, recv) = (op.view(&call, data.elements())?, op.view_mut(&call, mine)?);
            reduce_to_each_block(&call, run, send, recv, op.raw())
        };
        start_several(self, &call, (data, mine, op), begin, |(_, mine, op), _| {
            op.complete();
            Ok(mine)
        })
    }
}

/// Items of each rank's part, and the same as C wants them, until the call is complete.
struct Counts {
    items: Vec<usize>,
    c: Vec<i32>,
}

impl Counts {
    /// The counts add up to the elements of a buffer, so that their items are no more than memory holds.
    fn new<T: Element>(counts: &[usize], op: &Prepared) -> Self {
        let each = op.items_per_element::<T>();
        Counts { items: counts.iter().map(|&count| count * each).collect(), c: Vec::new() }
    }
}

/// A reduction whose result is shared out. What a call cannot count is reduced to each rank in turn.
fn reduce_to_each(
    call: &Call<'_>,
    run: &mut Run<'_>,
    send: View<'_>,
    recv: ViewMut<'_>,
    counts: &mut Counts,
    op: RawOp,
) -> Result<()> {
    if send.items <= raw::large_limit() {
        counts.c = counts.items.iter().map(|&items| items as i32).collect();
        return collective::reduce_scatter(call, run.form(), send, recv, &counts.c, op);
    }
    in_turn(call, run, send, recv, counts.items.iter().copied(), op)
}

/// The same with equal parts.
fn reduce_to_each_block(
    call: &Call<'_>,
    run: &mut Run<'_>,
    send: View<'_>,
    recv: ViewMut<'_>,
    op: RawOp,
) -> Result<()> {
    if send.items <= raw::large_limit() {
        return collective::reduce_scatter_block(call, run.form(), send, recv, op);
    }
    let ranks = call.comm.map_or(1, |comm| comm.size);
    in_turn(call, run, send, recv, std::iter::repeat_n(send.items / ranks, ranks), op)
}

fn in_turn(
    call: &Call<'_>,
    run: &mut Run<'_>,
    send: View<'_>,
    mut recv: ViewMut<'_>,
    parts: impl Iterator<Item = usize>,
    op: RawOp,
) -> Result<()> {
    let rank = call.comm.map_or(0, |comm| comm.rank);
    let mut start = 0;
    for (root, items) in parts.enumerate() {
        let recv = (rank == root).then(|| recv.piece(0, usize::MAX));
        let part = Input::View(send.piece(start, items));
        reduce(&call.root(root), run, part, recv, op, root)?;
        start += items;
    }
    Ok(())
}

//! Reductions whose result is shared out.

use std::panic::Location;

use super::layout::{equal_share, one_for_each};
use crate::comm::Comm;
use crate::datatype::{Buffer, Element, zeros};
use crate::error::Result;
use crate::op::{Prepared, Reduction};
use crate::raw::c_count;
use crate::raw::collective::{self, Form};
use crate::record::{
    Call, IREDUCE_SCATTER, IREDUCE_SCATTER_BLOCK, REDUCE_SCATTER, REDUCE_SCATTER_BLOCK,
};
use crate::request::{Request, start_collective};

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
        one_for_each(&call, counts, data.len())?;
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
        one_for_each(&call, counts, data.len())?;
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
        let op = op.prepare(call)?;
        let counts = counts_in_items::<T>(call, counts, &op)?;
        let (send, recv) = (op.view(call, data)?, op.view_mut(call, buffer)?);
        collective::reduce_scatter(call, Form::Blocking, send, recv, &counts, op.raw())?;
        op.complete();
        Ok(())
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
        let mut mine = zeros(equal_share(&call, data.len(), self.size())?);
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
        equal_share(&call, data.len(), self.size())?;
        self.reduce_scatter_block_at(&call, data, buffer, op)
    }

    fn reduce_scatter_block_at<T: Element>(
        &self,
        call: &Call<'_>,
        data: &[T],
        buffer: &mut [T],
        op: impl Reduction<T>,
    ) -> Result<()> {
        let op = op.prepare(call)?;
        let (send, recv) = (op.view(call, data)?, op.view_mut(call, buffer)?);
        collective::reduce_scatter_block(call, Form::Blocking, send, recv, op.raw())?;
        op.complete();
        Ok(())
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
            counts: Vec<i32>,
            op: Prepared,
        }
        let call = self.call(&IREDUCE_SCATTER, Location::caller());
        one_for_each(&call, counts, data.elements().len())?;
        let op = op.prepare(&call)?;
        let mine = zeros(counts[self.rank()]);
        let counts = counts_in_items::<B::Element>(&call, counts, &op)?;
        let begin = |s: &mut Storage<B>, form: Form<'_>| {
            let send = s.op.view(&call, s.data.elements())?;
            let recv = s.op.view_mut(&call, &mut s.mine)?;
            collective::reduce_scatter(&call, form, send, recv, &s.counts, s.op.raw())
        };
        let storage = Storage { data, mine, counts, op };
        start_collective(self, &call, storage, begin, |s, _, _| {
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
        let op = op.prepare(&call)?;
        let mine = zeros(equal_share(&call, data.elements().len(), self.size())?);
        let begin = |(data, mine, op): &mut (B, Vec<B::Element>, Prepared), form: Form<'_>| {
            let (send, recv) = (op.view(&call, data.elements())?, op.view_mut(&call, mine)?);
            collective::reduce_scatter_block(&call, form, send, recv, op.raw())
        };
        start_collective(self, &call, (data, mine, op), begin, |(_, mine, op), _, _| {
            op.complete();
            Ok(mine)
        })
    }
}

fn counts_in_items<T: Element>(
    call: &Call<'_>,
    counts: &[usize],
    op: &Prepared,
) -> Result<Vec<i32>> {
    let items = op.items_per_element::<T>();
    counts
        .iter()
        .map(|&count| c_count(call, "number of items of a part", count.saturating_mul(items)))
        .collect()
}

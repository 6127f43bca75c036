//! Reductions to one rank and to all.

use std::panic::Location;

use super::layout::misfit;
use crate::comm::Comm;
use crate::datatype::{Buffer, BufferMut, Element, zeros};
use crate::error::Result;
use crate::op::{Prepared, Reduction};
use crate::raw::collective::{self, Everywhere, Input};
use crate::raw::op::RawOp;
use crate::raw::{self, ViewMut, state};
use crate::record::{ALLREDUCE, Call, IALLREDUCE, IREDUCE, Operation, REDUCE};
use crate::request::{Request, Run, start_several};

/// # Reductions of elements
///
/// With [`Sum`](crate::Sum) and the like, or a closure: see [`Reduction`](crate::Reduction).
impl Comm {
    /// Combines the elements of all ranks, each with those at the same place; the root gets the result.
    /// `Some` on the root alone. Collective; the buffer has the same length everywhere.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot), and what the MPI library reports.
    ///
    /// MPI: `MPI_Reduce`, MPI-4.1 section 6.9.1.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// if let Some(ranks) = world.reduce(&1, Sum, 0)? {
    ///     assert_eq!((world.rank(), ranks as usize), (0, world.size()));
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn reduce<B: Buffer + ?Sized>(
        &self,
        data: &B,
        op: impl Reduction<B::Element>,
        root: usize,
    ) -> Result<Option<B::Owned>> {
        let call = self.call(&REDUCE, Location::caller()).root(root);
        let mut result = (self.rank() == root).then(|| data.zeroed());
        let recv = result.as_mut().map(BufferMut::elements_mut);
        self.reduce_at(&call, data.elements(), recv, op, root)?;
        Ok(result)
    }

    /// [`reduce`](Comm::reduce) into a buffer of the root's, which is `Some` on the root alone.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot);
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if the root's buffer has another length.
    ///
    /// MPI: `MPI_Reduce`, MPI-4.1 section 6.9.1.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut sums = [0.0; 2];
    /// let buffer = (world.rank() == 0).then_some(&mut sums[..]);
    /// world.reduce_into(&[1.0, 2.0], buffer, Sum, 0)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn reduce_into<T: Element>(
        &self,
        data: &[T],
        buffer: Option<&mut [T]>,
        op: impl Reduction<T>,
        root: usize,
    ) -> Result<()> {
        let call = self.call(&REDUCE, Location::caller()).root(root);
        self.reduce_at(&call, data, buffer, op, root)
    }

    fn reduce_at<T: Element>(
        &self,
        call: &Call<'_>,
        send: &[T],
        recv: Option<&mut [T]>,
        op: impl Reduction<T>,
        root: usize,
    ) -> Result<()> {
        let _permit = state::permit(call)?;
        self.check_root(call, root).map_err(|error| collective::refused(call, error))?;
        let op = op.prepare(call)?;
        let needed = send.len();
        let send = Input::View(op.view(call, send)?);
        let run = &mut Run::Now;
        let outcome = match recv {
            _ if self.rank() != root => reduce(call, run, send, None, op.raw(), root),
            Some(recv) if recv.len() == needed => {
                reduce(call, run, send, Some(op.view_mut(call, recv)?), op.raw(), root)
            }
            // The others must not wait for a root that has made a mistake: it takes part all the same.
            recv => {
                let error = misfit(call, "receive", needed, recv.map(|it| it.len()));
                let mut aside: Vec<T> = zeros(needed);
                let recv = Some(op.view_mut(call, &mut aside)?);
                reduce(call, run, send, recv, op.raw(), root).and(Err(error))
            }
        };
        op.complete();
        outcome
    }

    /// [`reduce`](Comm::reduce) that leaves the result in the root's buffer; the others' stay as they
    /// were.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot), and what the MPI library reports.
    ///
    /// MPI: `MPI_Reduce` with `MPI_IN_PLACE`, MPI-4.1 section 6.9.1.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut count = 1_u64;
    /// world.reduce_in_place(&mut count, Sum, 0)?;
    /// assert_eq!(count, if world.rank() == 0 { world.size() as u64 } else { 1 });
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn reduce_in_place<B: BufferMut + ?Sized>(
        &self,
        buffer: &mut B,
        op: impl Reduction<B::Element>,
        root: usize,
    ) -> Result<()> {
        let call = self.call(&REDUCE, Location::caller()).root(root);
        let _permit = state::permit(&call)?;
        self.check_root(&call, root).map_err(|error| collective::refused(&call, error))?;
        let op = op.prepare(&call)?;
        let buffer = buffer.elements_mut();
        if self.rank() == root {
            let recv = Some(op.view_mut(&call, buffer)?);
            reduce(&call, &mut Run::Now, Input::InPlace, recv, op.raw(), root)?;
        } else {
            let send = Input::View(op.view(&call, buffer)?);
            reduce(&call, &mut Run::Now, send, None, op.raw(), root)?;
        }
        op.complete();
        Ok(())
    }

    /// Combines the elements of all ranks; every rank gets the result. Collective; the buffer has the
    /// same length everywhere.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Allreduce`, MPI-4.1 section 6.9.6.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let largest = world.allreduce(&world.rank(), Max)?;
    /// assert_eq!(largest, world.size() - 1);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn allreduce<B: Buffer + ?Sized>(
        &self,
        data: &B,
        op: impl Reduction<B::Element>,
    ) -> Result<B::Owned> {
        let call = self.call(&ALLREDUCE, Location::caller());
        self.everywhere(&call, Everywhere::Allreduce, data, op)
    }

    /// [`allreduce`](Comm::allreduce) into a buffer.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if the buffer has another length.
    ///
    /// MPI: `MPI_Allreduce`, MPI-4.1 section 6.9.6.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut sums = [0.0; 2];
    /// world.allreduce_into(&[1.0, 2.0], &mut sums, Sum)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn allreduce_into<T: Element>(
        &self,
        data: &[T],
        buffer: &mut [T],
        op: impl Reduction<T>,
    ) -> Result<()> {
        let call = self.call(&ALLREDUCE, Location::caller());
        self.everywhere_at(&call, Everywhere::Allreduce, Some(data), buffer, op)
    }

    /// [`allreduce`](Comm::allreduce) that replaces the elements by the result.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Allreduce` with `MPI_IN_PLACE`, MPI-4.1 section 6.9.6.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut histogram = vec![1_u64; 16];
    /// world.allreduce_in_place(&mut histogram, Sum)?;
    /// assert_eq!(histogram, vec![world.size() as u64; 16]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn allreduce_in_place<B: BufferMut + ?Sized>(
        &self,
        buffer: &mut B,
        op: impl Reduction<B::Element>,
    ) -> Result<()> {
        let call = self.call(&ALLREDUCE, Location::caller());
        self.everywhere_at(&call, Everywhere::Allreduce, None, buffer.elements_mut(), op)
    }

    /// A reduction of which every rank gets a result, into a new value.
    #[inline]
    pub(crate) fn everywhere<B: Buffer + ?Sized>(
        &self,
        call: &Call<'_>,
        which: Everywhere,
        data: &B,
        op: impl Reduction<B::Element>,
    ) -> Result<B::Owned> {
        let mut result = data.zeroed();
        self.everywhere_at(call, which, Some(data.elements()), result.elements_mut(), op)?;
        Ok(result)
    }

    /// The same into a buffer; in place without `data`.
    #[inline]
    pub(super) fn everywhere_at<T: Element>(
        &self,
        call: &Call<'_>,
        which: Everywhere,
        data: Option<&[T]>,
        buffer: &mut [T],
        op: impl Reduction<T>,
    ) -> Result<()> {
        let _permit = state::permit(call)?;
        let op = op.prepare(call)?;
        let send = match data {
            Some(data) => Input::View(op.view(call, data)?),
            None => Input::InPlace,
        };
        let needed = data.map_or(buffer.len(), <[T]>::len);
        let outcome = if buffer.len() == needed {
            let recv = op.view_mut(call, buffer)?;
            everywhere(call, &mut Run::Now, which, send, recv, op.raw())
        } else {
            // The others must not wait for a rank that has made a mistake: it takes part all the same.
            let error = misfit(call, "receive", needed, Some(buffer.len()));
            let mut aside: Vec<T> = zeros(needed);
            let recv = op.view_mut(call, &mut aside)?;
            everywhere(call, &mut Run::Now, which, send, recv, op.raw()).and(Err(error))
        };
        op.complete();
        outcome
    }

    /// The non-blocking form of the same.
    pub(super) fn start_everywhere<B>(
        &self,
        operation: &'static Operation,
        which: Everywhere,
        data: B,
        op: impl Reduction<B::Element>,
        location: &'static Location<'static>,
    ) -> Result<Request<B::Owned>>
    where
        B: Buffer + Send + 'static,
    {
        let call = self.call(operation, location);
        let _permit = state::permit(&call)?;
        let op = op.prepare(&call)?;
        let result = data.zeroed();
        let begin = |(data, result, op): &mut (B, B::Owned, Prepared), run: &mut Run<'_>| {
            let send = Input::View(op.view(&call, data.elements())?);
            let recv = op.view_mut(&call, result.elements_mut())?;
            everywhere(&call, run, which, send, recv, op.raw())
        };
        start_several(self, &call, (data, result, op), begin, |(_, result, op), _| {
            op.complete();
            Ok(result)
        })
    }

    /// Starts an [`allreduce`](Comm::allreduce). Collective.
    ///
    /// # Errors
    /// As [`allreduce`](Comm::allreduce).
    ///
    /// MPI: `MPI_Iallreduce`, MPI-4.1 section 6.12.8.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let sum = world.iallreduce(vec![1, 2], Sum)?;
    /// // … work …
    /// assert_eq!(sum.wait()?[0] as usize, world.size());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iallreduce<B>(
        &self,
        data: B,
        op: impl Reduction<B::Element>,
    ) -> Result<Request<B::Owned>>
    where
        B: Buffer + Send + 'static,
    {
        let location = Location::caller();
        self.start_everywhere(&IALLREDUCE, Everywhere::Allreduce, data, op, location)
    }

    /// Starts a [`reduce`](Comm::reduce). Collective.
    ///
    /// # Errors
    /// As [`reduce`](Comm::reduce).
    ///
    /// MPI: `MPI_Ireduce`, MPI-4.1 section 6.12.7.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let largest = world.ireduce(world.rank(), Max, 0)?.wait()?;
    /// assert_eq!(largest, (world.rank() == 0).then_some(world.size() - 1));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ireduce<B>(
        &self,
        data: B,
        op: impl Reduction<B::Element>,
        root: usize,
    ) -> Result<Request<Option<B::Owned>>>
    where
        B: Buffer + Send + 'static,
    {
        let call = self.call(&IREDUCE, Location::caller()).root(root);
        let _permit = state::permit(&call)?;
        self.check_root(&call, root).map_err(|error| collective::refused_later(&call, error))?;
        let op = op.prepare(&call)?;
        let result = (self.rank() == root).then(|| data.zeroed());
        let begin = |(data, result, op): &mut (B, Option<B::Owned>, Prepared),
                     run: &mut Run<'_>| {
            let send = Input::View(op.view(&call, data.elements())?);
            let recv = result.as_mut().map(BufferMut::elements_mut);
            let recv = recv.map(|recv| op.view_mut(&call, recv)).transpose()?;
            reduce(&call, run, send, recv, op.raw(), root)
        };
        start_several(self, &call, (data, result, op), begin, |(_, result, op), _| {
            op.complete();
            Ok(result)
        })
    }
}

/// The pieces in which a reduction of so many items is made: where they start, and how many items they have.
/// Elements are combined one by one, so that each piece is a reduction of its own.
pub(super) fn pieces(items: usize) -> impl Iterator<Item = (usize, usize)> {
    let limit = raw::large_limit();
    // Of no items there is one piece: every rank takes part.
    (0..items.max(1)).step_by(limit).map(move |start| (start, limit.min(items - start)))
}

/// A reduction to the root, in as many pieces as it takes.
#[inline]
pub(super) fn reduce(
    call: &Call<'_>,
    run: &mut Run<'_>,
    send: Input<'_>,
    mut recv: Option<ViewMut<'_>>,
    op: RawOp,
    root: usize,
) -> Result<()> {
    let items = match (&send, &recv) {
        (Input::View(view), _) => view.items,
        (Input::InPlace, recv) => recv.as_ref().map_or(0, |it| it.items),
    };
    for (start, items) in pieces(items) {
        let recv = recv.as_mut().map(|recv| recv.piece(start, items));
        collective::reduce(call, run.form(), send.piece(start, items), recv, op, root)?;
    }
    Ok(())
}

/// A reduction of which every rank gets a result, in as many pieces as it takes.
#[inline(always)]
fn everywhere(
    call: &Call<'_>,
    run: &mut Run<'_>,
    which: Everywhere,
    send: Input<'_>,
    recv: ViewMut<'_>,
    op: RawOp,
) -> Result<()> {
    if recv.items <= raw::large_limit() {
        return collective::reduce_everywhere(call, run.form(), which, send, recv, op);
    }
    everywhere_in_pieces(call, run, which, send, recv, op)
}

#[cold]
#[inline(never)]
fn everywhere_in_pieces(
    call: &Call<'_>,
    run: &mut Run<'_>,
    which: Everywhere,
    send: Input<'_>,
    mut recv: ViewMut<'_>,
    op: RawOp,
) -> Result<()> {
    for (start, items) in pieces(recv.items) {
        let (send, recv) = (send.piece(start, items), recv.piece(start, items));
        collective::reduce_everywhere(call, run.form(), which, send, recv, op)?;
    }
    Ok(())
}

//! Reductions to one rank and to all.

use std::panic::Location;

use crate::comm::Comm;
use crate::datatype::{Buffer, BufferMut, Element};
use crate::error::Result;
use crate::op::{Prepared, Reduction};
use crate::raw::collective::{self, Everywhere, Form, Input};
use crate::record::{ALLREDUCE, Call, IALLREDUCE, IREDUCE, Operation, REDUCE};
use crate::request::{Request, start_collective};

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
        self.check_root(call, root)?;
        let op = op.prepare(call)?;
        let send = Input::View(op.view(call, send)?);
        let recv = recv.map(|recv| op.view_mut(call, recv)).transpose()?;
        collective::reduce(call, Form::Blocking, send, recv, op.raw(), root)?;
        op.complete();
        Ok(())
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
        self.check_root(&call, root)?;
        let op = op.prepare(&call)?;
        let buffer = buffer.elements_mut();
        if self.rank() == root {
            let recv = Some(op.view_mut(&call, buffer)?);
            collective::reduce(&call, Form::Blocking, Input::InPlace, recv, op.raw(), root)?;
        } else {
            let send = Input::View(op.view(&call, buffer)?);
            collective::reduce(&call, Form::Blocking, send, None, op.raw(), root)?;
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
        let op = op.prepare(call)?;
        let send = match data {
            Some(data) => Input::View(op.view(call, data)?),
            None => Input::InPlace,
        };
        let recv = op.view_mut(call, buffer)?;
        collective::reduce_everywhere(call, Form::Blocking, which, send, recv, op.raw())?;
        op.complete();
        Ok(())
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
        let op = op.prepare(&call)?;
        let result = data.zeroed();
        let begin = |(data, result, op): &mut (B, B::Owned, Prepared), form: Form<'_>| {
            let send = Input::View(op.view(&call, data.elements())?);
            let recv = op.view_mut(&call, result.elements_mut())?;
            collective::reduce_everywhere(&call, form, which, send, recv, op.raw())
        };
        start_collective(self, &call, (data, result, op), begin, |(_, result, op), _, _| {
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
        self.check_root(&call, root)?;
        let op = op.prepare(&call)?;
        let result = (self.rank() == root).then(|| data.zeroed());
        let begin = |(data, result, op): &mut (B, Option<B::Owned>, Prepared), form: Form<'_>| {
            let send = Input::View(op.view(&call, data.elements())?);
            let recv = result.as_mut().map(BufferMut::elements_mut);
            let recv = recv.map(|recv| op.view_mut(&call, recv)).transpose()?;
            collective::reduce(&call, form, send, recv, op.raw(), root)
        };
        start_collective(self, &call, (data, result, op), begin, |(_, result, op), _, _| {
            op.complete();
            Ok(result)
        })
    }
}

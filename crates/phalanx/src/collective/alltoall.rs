//! Alltoall: every rank to every rank, something else for each.

use std::panic::Location;

use super::allgather::per_rank;
use super::layout::{OwnedLayout, equal_share, one_for_each, total};
use super::{Blocks, PerRank};
use crate::comm::Comm;
use crate::datatype::{Buffer, Element, view_of, view_of_mut, zeros};
use crate::error::Result;
use crate::raw::collective::{self, Form, Input};
use crate::record::{ALLTOALL, ALLTOALLV, Call, IALLTOALL, IALLTOALLV};
use crate::request::{Request, start_collective};

impl Comm {
    /// Gives every rank an equal part of this rank's elements; the result holds a part from every rank,
    /// in the order of the ranks. Collective; the buffer has the same length everywhere.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if the ranks cannot share the elements evenly.
    ///
    /// MPI: `MPI_Alltoall`, MPI-4.1 section 6.8.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let for_each: Vec<usize> = (0..world.size()).map(|to| 10 * world.rank() + to).collect();
    /// let from_each = world.alltoall(&for_each)?;
    /// assert_eq!(from_each[0], world.rank()); // rank 0's part for this rank
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn alltoall<B: Buffer + ?Sized>(&self, data: &B) -> Result<Vec<B::Element>> {
        let call = self.call(&ALLTOALL, Location::caller());
        let mut received = zeros(data.elements().len());
        self.alltoall_at(&call, data.elements(), &mut received)?;
        Ok(received)
    }

    /// [`alltoall`](Comm::alltoall) into a buffer of the same length.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if the lengths differ or the ranks cannot
    /// share them evenly.
    ///
    /// MPI: `MPI_Alltoall`, MPI-4.1 section 6.8.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut received = vec![0; world.size()];
    /// world.alltoall_into(&vec![world.rank(); world.size()], &mut received)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn alltoall_into<B: Buffer + ?Sized>(
        &self,
        data: &B,
        buffer: &mut [B::Element],
    ) -> Result<()> {
        let call = self.call(&ALLTOALL, Location::caller());
        self.alltoall_at(&call, data.elements(), buffer)
    }

    #[inline]
    fn alltoall_at<T: Element>(&self, call: &Call<'_>, data: &[T], buffer: &mut [T]) -> Result<()> {
        equal_share(call, data.len(), self.size())?;
        let (send, recv) = (Input::View(view_of(data)?), view_of_mut(buffer)?);
        collective::alltoall(call, Form::Blocking, send, recv)
    }

    /// [`alltoall`](Comm::alltoall) that replaces the elements by those received.
    ///
    /// # Errors
    /// As [`alltoall`](Comm::alltoall).
    ///
    /// MPI: `MPI_Alltoall` with `MPI_IN_PLACE`, MPI-4.1 section 6.8.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut data = vec![world.rank(); world.size()];
    /// world.alltoall_in_place(&mut data)?;
    /// assert_eq!(data, (0..world.size()).collect::<Vec<_>>());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn alltoall_in_place<T: Element>(&self, buffer: &mut [T]) -> Result<()> {
        let call = self.call(&ALLTOALL, Location::caller());
        equal_share(&call, buffer.len(), self.size())?;
        collective::alltoall(&call, Form::Blocking, Input::InPlace, view_of_mut(buffer)?)
    }

    /// Gives every rank its block of this rank's, of any length; the result holds a block from every
    /// rank. Takes `Vec<Vec<T>>`, [`PerRank`], or `(&[T], &[usize])`. Collective.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if there is not one block for each rank;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on a rank that would send or get more than `i32::MAX`
    /// items in all; the others may wait for it until it ends.
    ///
    /// MPI: `MPI_Alltoall` of the lengths, then `MPI_Alltoallv`; MPI-4.1 section 6.8.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let buckets: Vec<Vec<usize>> = (0..world.size()).map(|to| vec![world.rank(); to]).collect();
    /// let inbox = world.alltoallv(&buckets)?;
    /// assert_eq!(inbox[0], vec![0; world.rank()]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn alltoallv<B: Blocks + ?Sized>(&self, blocks: &B) -> Result<PerRank<B::Element>> {
        self.alltoallv_by(&self.call(&ALLTOALLV, Location::caller()), blocks)
    }

    /// [`alltoallv`](Comm::alltoallv) as part of another call.
    pub(crate) fn alltoallv_by<B: Blocks + ?Sized>(
        &self,
        call: &Call<'_>,
        blocks: &B,
    ) -> Result<PerRank<B::Element>> {
        let (data, counts) = (blocks.flat(), blocks.counts());
        one_for_each(call, &counts, data.len())?;
        let mut incoming = vec![0; self.size()];
        self.alltoall_at(call, &counts, &mut incoming)?;
        let mut received = zeros(total(call, &incoming)?);
        self.alltoallv_at(call, &data, &counts, &mut received, &incoming)?;
        per_rank(call, received, incoming)
    }

    /// [`alltoallv`](Comm::alltoallv) into a buffer, with the number of elements for and from each
    /// rank: one MPI call.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if counts and buffers do not fit each other.
    ///
    /// MPI: `MPI_Alltoallv`, MPI-4.1 section 6.8.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let outgoing = vec![1; world.size()];
    /// let incoming = vec![1; world.size()];
    /// let mut received = vec![0.0; world.size()];
    /// world.alltoallv_into(&vec![1.5; world.size()], &outgoing, &mut received, &incoming)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn alltoallv_into<T: Element>(
        &self,
        data: &[T],
        outgoing: &[usize],
        buffer: &mut [T],
        incoming: &[usize],
    ) -> Result<()> {
        let call = self.call(&ALLTOALLV, Location::caller());
        one_for_each(&call, outgoing, data.len())?;
        one_for_each(&call, incoming, buffer.len())?;
        self.alltoallv_at(&call, data, outgoing, buffer, incoming)
    }

    fn alltoallv_at<T: Element>(
        &self,
        call: &Call<'_>,
        data: &[T],
        outgoing: &[usize],
        buffer: &mut [T],
        incoming: &[usize],
    ) -> Result<()> {
        let send_layout = OwnedLayout::of::<T>(call, outgoing)?;
        let recv_layout = OwnedLayout::of::<T>(call, incoming)?;
        let (send, recv) = (view_of(data)?, view_of_mut(buffer)?);
        let (outgoing, incoming) = (send_layout.borrow(), recv_layout.borrow());
        collective::alltoallv(call, Form::Blocking, send, outgoing, recv, incoming)
    }

    /// Starts an [`alltoall`](Comm::alltoall). Collective.
    ///
    /// # Errors
    /// As [`alltoall`](Comm::alltoall).
    ///
    /// MPI: `MPI_Ialltoall`, MPI-4.1 section 6.12.6.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let received = world.ialltoall(vec![world.rank(); world.size()])?.wait()?;
    /// assert_eq!(received, (0..world.size()).collect::<Vec<_>>());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ialltoall<B>(&self, data: B) -> Result<Request<Vec<B::Element>>>
    where
        B: Buffer + Send + 'static,
    {
        let call = self.call(&IALLTOALL, Location::caller());
        equal_share(&call, data.elements().len(), self.size())?;
        let received = zeros(data.elements().len());
        let begin = |(data, received): &mut (B, Vec<B::Element>), form: Form<'_>| {
            collective::alltoall(
                &call,
                form,
                Input::View(view_of(data.elements())?),
                view_of_mut(received)?,
            )
        };
        start_collective(self, &call, (data, received), begin, |(_, received), _, _| Ok(received))
    }

    /// Starts an [`alltoallv`](Comm::alltoallv) with the number of elements that come from each rank.
    /// Collective.
    ///
    /// # Errors
    /// As [`alltoallv_into`](Comm::alltoallv_into).
    ///
    /// MPI: `MPI_Ialltoallv`, MPI-4.1 section 6.12.6.
    ///
    /// ```
    /// use phalanx::PerRank;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let blocks: Vec<_> = (0..world.size()).map(|to| vec![world.rank(); to]).collect();
    /// let incoming = vec![world.rank(); world.size()];
    /// let inbox = world.ialltoallv(PerRank::from(blocks), incoming)?.wait()?;
    /// assert_eq!(inbox[0], vec![0; world.rank()]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ialltoallv<T: Element>(
        &self,
        blocks: PerRank<T>,
        incoming: Vec<usize>,
    ) -> Result<Request<PerRank<T>>> {
        struct Storage<T> {
            blocks: PerRank<T>,
            received: Vec<T>,
            outgoing: OwnedLayout,
            incoming: OwnedLayout,
        }
        let call = self.call(&IALLTOALLV, Location::caller());
        one_for_each(&call, blocks.counts(), blocks.flat().len())?;
        let elements = total(&call, &incoming)?;
        one_for_each(&call, &incoming, elements)?;
        let storage = Storage {
            outgoing: OwnedLayout::of::<T>(&call, blocks.counts())?,
            incoming: OwnedLayout::of::<T>(&call, &incoming)?,
            received: zeros(elements),
            blocks,
        };
        let begin = |s: &mut Storage<T>, form: Form<'_>| {
            let (send, recv) = (view_of(s.blocks.flat())?, view_of_mut(&mut s.received)?);
            let (outgoing, incoming) = (s.outgoing.borrow(), s.incoming.borrow());
            collective::alltoallv(&call, form, send, outgoing, recv, incoming)
        };
        start_collective(self, &call, storage, begin, |s, _, call| {
            per_rank(call, s.received, incoming)
        })
    }
}

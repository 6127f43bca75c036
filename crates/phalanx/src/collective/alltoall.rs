//! Alltoall: every rank to every rank, something else for each.

use std::panic::Location;

use super::allgather::per_rank;
use super::layout::{equal_share, misfit, one_for_each, total};
use super::shares::{Aside, Shares};
use super::{Blocks, NO_LENGTH, PerRank};
use crate::comm::Comm;
use crate::datatype::{Buffer, Element, view_of, view_of_mut, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::collective::{self, Form, Input};
use crate::raw::state;
use crate::record::{ALLTOALL, ALLTOALLV, Call, IALLTOALL, IALLTOALLV};
use crate::request::{Request, Run, start_collective, start_several};

/// # From all to all
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
        let share = equal_share(call, data.len(), self.size());
        share.map_err(|error| collective::refused(call, error))?;
        let send = Input::View(view_of(call, data)?);
        if data.len() == buffer.len() {
            return collective::alltoall(call, Form::Blocking, send, view_of_mut(call, buffer)?);
        }
        // The others must not wait for a rank that has made a mistake: it takes part all the same.
        let error = misfit(call, "receive", data.len(), Some(buffer.len()));
        let mut aside: Vec<T> = zeros(data.len());
        collective::alltoall(call, Form::Blocking, send, view_of_mut(call, &mut aside)?)?;
        Err(error)
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
        let share = equal_share(&call, buffer.len(), self.size());
        share.map_err(|error| collective::refused(&call, error))?;
        collective::alltoall(&call, Form::Blocking, Input::InPlace, view_of_mut(&call, buffer)?)
    }

    /// Gives every rank its block of this rank's, of any length; the result holds a block from every
    /// rank. Takes `Vec<Vec<T>>`, [`PerRank`], or `(&[T], &[usize])`. Collective.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) on every rank if one of them does not give one block
    /// for each rank.
    ///
    /// MPI: `MPI_Alltoall` of the lengths, then `MPI_Alltoallv`; MPI-4.1 section 6.8. A block that is longer
    /// than an equal share of 2³¹−1 items goes as a message of its own.
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
        let _permit = state::permit(call)?;
        let (data, counts) = (blocks.flat(), blocks.counts());
        let checked = one_for_each(call, &counts, data.len())
            .and_then(|()| Shares::new(call, &counts, B::Element::ITEMS));
        let lengths: Vec<u64> = match &checked {
            Ok(_) => counts.iter().map(|&count| count as u64).collect(),
            Err(_) => vec![NO_LENGTH; self.size()],
        };
        let mut incoming = vec![0; self.size()];
        self.alltoall_at(call, &lengths, &mut incoming)?;
        let outgoing = checked?;
        if let Some(rank) = incoming.iter().position(|&length| length == NO_LENGTH) {
            let detail = format!("rank {rank} has no block for each rank; its own error says why");
            return Err(Error::new(ErrorKind::InvalidLength, call, detail));
        }
        let incoming: Vec<usize> = incoming.into_iter().map(|length| length as usize).collect();
        let mut received = zeros(total(call, &incoming)?);
        let shares = Shares::new(call, &incoming, B::Element::ITEMS)?;
        let (send, recv) =
            ((view_of(call, &data)?, &outgoing), (view_of_mut(call, &mut received)?, &shares));
        self.alltoall_shares(call, &mut Run::Now, send, recv, &mut Aside::default())?;
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
        let _permit = state::permit(&call)?;
        let (outgoing, incoming, mut checked) = self
            .announced_each::<T>(&call, outgoing, data.len(), incoming)
            .map_err(|error| collective::refused(&call, error))?;
        let needed = total(&call, &incoming)?;
        if buffer.len() != needed {
            checked = checked.and(Err(misfit(&call, "receive", needed, Some(buffer.len()))));
        }
        let shares = Shares::new(&call, &incoming, T::ITEMS)?;
        let (run, send) = (&mut Run::Now, (view_of(&call, data)?, &outgoing));
        let aside = &mut Aside::default();
        if checked.is_ok() {
            let recv = (view_of_mut(&call, buffer)?, &shares);
            return self.alltoall_shares(&call, run, send, recv, aside);
        }
        // The others must not wait for a rank that has made a mistake: it takes part all the same.
        let mut all: Vec<T> = zeros(needed);
        let recv = (view_of_mut(&call, &mut all)?, &shares);
        self.alltoall_shares(&call, run, send, recv, aside)?;
        checked
    }

    /// What counts say that a rank sends and receives, if it has so much: the blocks to send, the counts to
    /// receive, and whether there is a mistake in spite of which it can take part.
    fn announced_each<T: Element>(
        &self,
        call: &Call<'_>,
        outgoing: &[usize],
        elements: usize,
        incoming: &[usize],
    ) -> Result<(Shares, Vec<usize>, Result<()>)> {
        let mut checked = one_for_each(call, outgoing, elements);
        let are_there = outgoing.len() == self.size() && total(call, outgoing)? <= elements;
        if !are_there {
            checked?;
            return Err(misfit(call, "send", total(call, outgoing)?, Some(elements)));
        }
        one_for_each(call, incoming, total(call, incoming)?)?;
        let mut incoming = incoming.to_vec();
        let (to_self, from_self) = (outgoing[self.rank()], incoming[self.rank()]);
        if to_self != from_self {
            let detail =
                format!("this rank sends itself {to_self} elements and expects {from_self}");
            checked = checked.and(Err(collective::invalid_length(call, detail)));
            incoming[self.rank()] = to_self;
        }
        Ok((Shares::new(call, outgoing, T::ITEMS)?, incoming, checked))
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
        let share = equal_share(&call, data.elements().len(), self.size());
        share.map_err(|error| collective::refused_later(&call, error))?;
        let received = zeros(data.elements().len());
        let begin = |(data, received): &mut (B, Vec<B::Element>), form: Form<'_>| {
            collective::alltoall(
                &call,
                form,
                Input::View(view_of(&call, data.elements())?),
                view_of_mut(&call, received)?,
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
            outgoing: Shares,
            incoming: Shares,
            aside: Aside,
        }
        let call = self.call(&IALLTOALLV, Location::caller());
        let _permit = state::permit(&call)?;
        let (outgoing, incoming, checked) = self
            .announced_each::<T>(&call, blocks.counts(), blocks.flat().len(), &incoming)
            .map_err(|error| collective::refused_later(&call, error))?;
        let storage = Storage {
            outgoing,
            received: zeros(total(&call, &incoming)?),
            incoming: Shares::new(&call, &incoming, T::ITEMS)?,
            blocks,
            aside: Aside::default(),
        };
        let begin = |s: &mut Storage<T>, run: &mut Run<'_>| {
            let send = (view_of(&call, s.blocks.flat())?, &s.outgoing);
            let recv = (view_of_mut(&call, &mut s.received)?, &s.incoming);
            self.alltoall_shares(&call, run, send, recv, &mut s.aside)
        };
        let finish = |mut s: Storage<T>, call: &Call<'_>| {
            s.incoming.unpack(s.aside.received(), &mut view_of_mut(call, &mut s.received)?);
            per_rank(call, s.received, incoming)
        };
        let request = start_several(self, &call, storage, begin, finish)?;
        match checked {
            Ok(()) => Ok(request),
            // What is announced is there: the others get theirs in spite of the mistake.
            Err(error) => {
                request.in_background();
                Err(error)
            }
        }
    }
}

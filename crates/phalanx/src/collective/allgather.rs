//! Allgather: all to all, the same for everybody.

use std::panic::Location;

use super::PerRank;
use super::layout::{misfit, one_for_each, total};
use super::shares::{Aside, Shares};
use crate::comm::Comm;
use crate::datatype::{Buffer, Element, view_of, view_of_mut, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::collective::{self, Form, Input};
use crate::raw::{View, state};
use crate::record::{ALLGATHER, ALLGATHERV, Call, IALLGATHER, IALLGATHERV};
use crate::request::{Request, Run, start_collective, start_several};

/// # Allgather of elements
impl Comm {
    /// Collects as many elements from every rank on every rank, in the order of the ranks. Collective;
    /// every rank gives the same number of elements.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Allgather`, MPI-4.1 section 6.7.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ranks = world.allgather(&world.rank())?;
    /// assert_eq!(ranks, (0..world.size()).collect::<Vec<_>>());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn allgather<B: Buffer + ?Sized>(&self, data: &B) -> Result<Vec<B::Element>> {
        let call = self.call(&ALLGATHER, Location::caller());
        let mut all = zeros(data.elements().len().saturating_mul(self.size()));
        let send = Input::View(view_of(&call, data.elements())?);
        collective::allgather(&call, Form::Blocking, send, view_of_mut(&call, &mut all)?)?;
        Ok(all)
    }

    /// [`allgather`](Comm::allgather) into a buffer.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if the buffer does not hold as many elements for
    /// each rank.
    ///
    /// MPI: `MPI_Allgather`, MPI-4.1 section 6.7.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut all = vec![0; 2 * world.size()];
    /// world.allgather_into(&[world.rank(), 7], &mut all)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn allgather_into<B: Buffer + ?Sized>(
        &self,
        data: &B,
        buffer: &mut [B::Element],
    ) -> Result<()> {
        let call = self.call(&ALLGATHER, Location::caller());
        let send = Input::View(view_of(&call, data.elements())?);
        let needed = data.elements().len().saturating_mul(self.size());
        if buffer.len() == needed {
            return collective::allgather(&call, Form::Blocking, send, view_of_mut(&call, buffer)?);
        }
        // The others must not wait for a rank that has made a mistake: it takes part all the same.
        let error = misfit(&call, "receive", needed, Some(buffer.len()));
        let mut aside: Vec<B::Element> = zeros(needed);
        collective::allgather(&call, Form::Blocking, send, view_of_mut(&call, &mut aside)?)?;
        Err(error)
    }

    /// [`allgather`](Comm::allgather) in one buffer, in which this rank's part lies in its place.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if the ranks cannot share the buffer evenly.
    ///
    /// MPI: `MPI_Allgather` with `MPI_IN_PLACE`, MPI-4.1 section 6.7.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut all = vec![0; world.size()];
    /// all[world.rank()] = world.rank();
    /// world.allgather_in_place(&mut all)?;
    /// assert_eq!(all, (0..world.size()).collect::<Vec<_>>());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn allgather_in_place<T: Element>(&self, buffer: &mut [T]) -> Result<()> {
        let call = self.call(&ALLGATHER, Location::caller());
        let buffer = view_of_mut(&call, buffer)?;
        let checked = collective::block(&call, "receive", buffer.items);
        checked.map_err(|error| collective::refused(&call, error))?;
        collective::allgather(&call, Form::Blocking, Input::InPlace, buffer)
    }

    /// Collects any number of elements from every rank on every rank. Collective.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Allgather` of the lengths, then `MPI_Allgatherv`; `MPI_Alltoallw` for more than 2³¹−1 items in
    /// all; MPI-4.1 sections 6.7 and 6.8.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let all = world.allgatherv(&vec![world.rank(); world.rank()])?;
    /// for (rank, block) in all.iter().enumerate() {
    ///     assert_eq!(block, vec![rank; rank]);
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn allgatherv<B: Buffer + ?Sized>(&self, data: &B) -> Result<PerRank<B::Element>> {
        self.allgatherv_at(&self.call(&ALLGATHERV, Location::caller()), data.elements())
    }

    pub(crate) fn allgatherv_at<T: Element>(
        &self,
        call: &Call<'_>,
        mine: &[T],
    ) -> Result<PerRank<T>> {
        let _permit = state::permit(call)?;
        let mut counts = vec![0; self.size()];
        let length = [mine.len()];
        let send = Input::View(view_of(call, &length)?);
        collective::allgather(call, Form::Blocking, send, view_of_mut(call, &mut counts)?)?;
        let mut all = zeros(total(call, &counts)?);
        let shares = Shares::new(call, &counts, T::ITEMS)?;
        let (send, recv) = (view_of(call, mine)?, (view_of_mut(call, &mut all)?, &shares));
        self.allgather_shares(call, &mut Run::Now, send, recv, &mut Aside::default())?;
        per_rank(call, all, counts)
    }

    /// [`allgatherv`](Comm::allgatherv) into a buffer, with the number of elements of each rank: one
    /// MPI call.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if counts, buffer and data do not fit each other.
    ///
    /// MPI: `MPI_Allgatherv`, MPI-4.1 section 6.7.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let counts: Vec<usize> = (0..world.size()).collect();
    /// let mut all = vec![0; counts.iter().sum()];
    /// world.allgatherv_into(&vec![1; world.rank()], &mut all, &counts)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn allgatherv_into<B: Buffer + ?Sized>(
        &self,
        data: &B,
        buffer: &mut [B::Element],
        counts: &[usize],
    ) -> Result<()> {
        let call = self.call(&ALLGATHERV, Location::caller());
        let _permit = state::permit(&call)?;
        let (send, shares, mut checked) = self
            .announced(&call, data.elements(), counts)
            .map_err(|error| collective::refused(&call, error))?;
        let needed = total(&call, counts)?;
        if buffer.len() != needed {
            checked = checked.and(Err(misfit(&call, "receive", needed, Some(buffer.len()))));
        }
        let (run, aside) = (&mut Run::Now, &mut Aside::default());
        if checked.is_ok() {
            let recv = (view_of_mut(&call, buffer)?, &shares);
            return self.allgather_shares(&call, run, send, recv, aside);
        }
        // The others must not wait for a rank that has made a mistake: it takes part all the same.
        let mut all: Vec<B::Element> = zeros(needed);
        let recv = (view_of_mut(&call, &mut all)?, &shares);
        self.allgather_shares(&call, run, send, recv, aside)?;
        checked
    }

    /// What a rank sends of which the counts say how much it is, if it has so much. With more than that it
    /// can send what is announced, and there is a mistake all the same.
    fn announced<'a, T: Element>(
        &self,
        call: &Call<'_>,
        mine: &'a [T],
        counts: &[usize],
    ) -> Result<(View<'a>, Shares, Result<()>)> {
        one_for_each(call, counts, total(call, counts)?)?;
        let announced = counts[self.rank()];
        let error = || collective::not_as_announced(call, announced, mine.len());
        let checked = if mine.len() == announced { Ok(()) } else { Err(error()) };
        let send = mine.get(..announced).ok_or_else(error)?;
        Ok((view_of(call, send)?, Shares::new(call, counts, T::ITEMS)?, checked))
    }

    /// Starts an [`allgather`](Comm::allgather). Collective.
    ///
    /// # Errors
    /// As [`allgather`](Comm::allgather).
    ///
    /// MPI: `MPI_Iallgather`, MPI-4.1 section 6.12.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ranks = world.iallgather(world.rank())?.wait()?;
    /// assert_eq!(ranks, (0..world.size()).collect::<Vec<_>>());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iallgather<B>(&self, data: B) -> Result<Request<Vec<B::Element>>>
    where
        B: Buffer + Send + 'static,
    {
        let call = self.call(&IALLGATHER, Location::caller());
        let all = zeros(data.elements().len().saturating_mul(self.size()));
        let begin = |(data, all): &mut (B, Vec<B::Element>), form: Form<'_>| {
            collective::allgather(
                &call,
                form,
                Input::View(view_of(&call, data.elements())?),
                view_of_mut(&call, all)?,
            )
        };
        start_collective(self, &call, (data, all), begin, |(_, all), _, _| Ok(all))
    }

    /// Starts an [`allgatherv`](Comm::allgatherv) with the number of elements of each rank. Collective.
    ///
    /// # Errors
    /// As [`allgatherv_into`](Comm::allgatherv_into).
    ///
    /// MPI: `MPI_Iallgatherv`, MPI-4.1 section 6.12.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let counts: Vec<usize> = (0..world.size()).collect();
    /// let all = world.iallgatherv(vec![2.5; world.rank()], counts)?.wait()?;
    /// assert_eq!(all[world.rank()].len(), world.rank());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iallgatherv<B>(
        &self,
        data: B,
        counts: Vec<usize>,
    ) -> Result<Request<PerRank<B::Element>>>
    where
        B: Buffer + Send + 'static,
    {
        struct Storage<B: Buffer> {
            data: B,
            all: Vec<B::Element>,
            shares: Shares,
            aside: Aside,
        }
        let call = self.call(&IALLGATHERV, Location::caller());
        let _permit = state::permit(&call)?;
        let (_, shares, checked) = self
            .announced(&call, data.elements(), &counts)
            .map_err(|error| collective::refused_later(&call, error))?;
        let all = zeros(total(&call, &counts)?);
        let own = counts[self.rank()];
        let storage = Storage { data, all, shares, aside: Aside::default() };
        let begin = |s: &mut Storage<B>, run: &mut Run<'_>| {
            let send = view_of(&call, &s.data.elements()[..own])?;
            let recv = (view_of_mut(&call, &mut s.all)?, &s.shares);
            self.allgather_shares(&call, run, send, recv, &mut s.aside)
        };
        let finish = |s: Storage<B>, call: &Call<'_>| per_rank(call, s.all, counts);
        let request = start_several(self, &call, storage, begin, finish)?;
        match checked {
            Ok(()) => Ok(request),
            // What is announced is there: the others get it in spite of the mistake.
            Err(error) => {
                request.in_background();
                Err(error)
            }
        }
    }
}

/// Elements and their counts, which add up because the buffer was made from them.
pub(super) fn per_rank<T>(call: &Call<'_>, data: Vec<T>, counts: Vec<usize>) -> Result<PerRank<T>> {
    PerRank::from_flat(data, counts)
        .ok_or_else(|| Error::new(ErrorKind::InvalidLength, call, "the counts do not add up"))
}

//! Alltoall among neighbours: something else for each destination.

use std::panic::Location;

use super::PerNeighbor;
use super::blocks::{expect_counts, expect_len, parts};
use super::neighborhood::Neighborhood;
use crate::collective::{Blocks, NO_LENGTH, PerRank, misfit, total};
use crate::datatype::{Buffer, Element, view_of, view_of_mut, zeros};
use crate::error::Result;
use crate::raw::collective::{self, BlockTable, Form};
use crate::raw::state;
use crate::record::{
    Call, INEIGHBOR_ALLTOALL, INEIGHBOR_ALLTOALLV, NEIGHBOR_ALLTOALL, NEIGHBOR_ALLTOALLV, name_of,
};
use crate::request::{Request, start_collective};

/// What MPI reads of a call until it is complete.
type Arrays = Option<(BlockTable, BlockTable)>;

impl Neighborhood {
    /// Gives every destination an equal part of the elements; the result holds a part from every source.
    /// On a grid there is a part for each neighbour, and those for neighbours that do not exist are not
    /// looked at. Collective; parts of neighbours have the same length.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if the destinations cannot share the elements
    /// evenly; on all ranks of a graph in which some rank has sources and no destinations.
    ///
    /// MPI: `MPI_Neighbor_alltoall`, MPI-4.1 section 8.6.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// // One number to the left, another to the right.
    /// let from_each = ring.neighbor_alltoall(&[-1, 1])?;
    /// assert_eq!(from_each[0], [1]); // the left neighbour sent it to the right
    /// assert_eq!(from_each[1], [-1]);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_alltoall<B>(&self, data: &B) -> Result<PerNeighbor<B::Element>>
    where
        B: Buffer + ?Sized,
    {
        let call = self.neighbor_call(&NEIGHBOR_ALLTOALL, Location::caller());
        let each =
            self.expect_answers(&call).and_then(|()| self.share(&call, data.elements().len()));
        let each = each.map_err(|error| collective::refused(&call, error))?;
        let mut received = zeros(each.saturating_mul(self.indegree()));
        let sends = data.elements();
        self.neighbor_alltoall_at(&call, Form::Blocking, &mut None, sends, &mut received, each)?;
        self.existing(&call, received, each)
    }

    /// [`neighbor_alltoall`](Neighborhood::neighbor_alltoall) into a buffer with a part for each source.
    /// That of a neighbour that does not exist stays as it was.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if the parts of the two buffers are not
    /// equally long.
    ///
    /// MPI: `MPI_Neighbor_alltoall`, MPI-4.1 section 8.6.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let line = world.cart(&[0], &[false])?.expect("every rank fits");
    /// let mut received = [0; 2];
    /// line.neighbor_alltoall_into(&[-1, 1], &mut received)?;
    /// assert_eq!(received[0], i32::from(line.rank() > 0));
    /// line.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_alltoall_into<B: Buffer + ?Sized>(
        &self,
        data: &B,
        buffer: &mut [B::Element],
    ) -> Result<()> {
        let call = self.neighbor_call(&NEIGHBOR_ALLTOALL, Location::caller());
        let data = data.elements();
        let each = match self.outdegree() {
            0 => buffer.len().checked_div(self.indegree()).unwrap_or(0),
            _ => {
                self.share(&call, data.len()).map_err(|error| collective::refused(&call, error))?
            }
        };
        let _permit = state::permit(&call)?;
        expect_len(&call, "send", data.len(), (each, self.outdegree()))
            .map_err(|error| collective::refused(&call, error))?;
        let checked = expect_len(&call, "receive", buffer.len(), (each, self.indegree()));
        if checked.is_ok() {
            return self.neighbor_alltoall_at(&call, Form::Blocking, &mut None, data, buffer, each);
        }
        // The neighbours must not wait for a rank that has made a mistake: it takes part all the same.
        let mut aside: Vec<B::Element> = zeros(each.saturating_mul(self.indegree()));
        self.neighbor_alltoall_at(&call, Form::Blocking, &mut None, data, &mut aside, each)?;
        checked
    }

    fn neighbor_alltoall_at<T: Element>(
        &self,
        call: &Call<'_>,
        form: Form<'_>,
        arrays: &mut Arrays,
        data: &[T],
        buffer: &mut [T],
        each: usize,
    ) -> Result<()> {
        expect_len(call, "send", data.len(), (each, self.outdegree()))?;
        expect_len(call, "receive", buffer.len(), (each, self.indegree()))?;
        if self.is_point() {
            return Ok(());
        }
        if self.is_merged() {
            let sends = parts(data.as_ptr(), &vec![each; self.outdegree()])?;
            let receives = parts(buffer.as_mut_ptr(), &vec![each; self.indegree()])?;
            return self.exchange_parts(call, form, arrays, (&sends, &receives), name_of::<T>);
        }
        let (send, recv) = (view_of(call, data)?, view_of_mut(call, buffer)?);
        collective::neighbor_alltoall(call, form, send, recv, each * T::ITEMS, self.degrees())
    }

    /// Gives every destination its block, of any length; the result holds a block from every source.
    /// Takes `Vec<Vec<T>>`, [`PerRank`], or `(&[T], &[usize])`, with a block for each destination; on a
    /// grid those for neighbours that do not exist are not looked at. Collective.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) on this rank and its neighbours if there is not one
    /// block for each destination.
    ///
    /// MPI: `MPI_Neighbor_alltoall` of the lengths, then `MPI_Neighbor_alltoallw`, whose blocks may start
    /// anywhere and have any length; MPI-4.1 sections 8.6.2 and 8.6.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let from_each = ring.neighbor_alltoallv(&vec![vec![], vec![1, 2, 3]])?;
    /// assert_eq!(from_each[0], [1, 2, 3]);
    /// assert!(from_each[1].is_empty());
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_alltoallv<B>(&self, blocks: &B) -> Result<PerNeighbor<B::Element>>
    where
        B: Blocks + ?Sized,
    {
        let call = self.neighbor_call(&NEIGHBOR_ALLTOALLV, Location::caller());
        let (data, counts) = (blocks.flat(), blocks.counts());
        let _permit = state::permit(&call)?;
        let mut counts = counts;
        let checked = expect_counts(&call, &counts, ("destination", self.outdegree()), data.len());
        let mut lengths: Vec<u64> = counts.iter().map(|&count| count as u64).collect();
        if checked.is_err() {
            // Nobody waits for what is not sent.
            counts = vec![0; self.outdegree()];
            lengths = vec![NO_LENGTH; self.outdegree()];
        }
        let mut incoming = vec![0; self.indegree()];
        self.neighbor_alltoall_at(&call, Form::Blocking, &mut None, &lengths, &mut incoming, 1)?;
        // Other neighbours of a rank that has been told so know nothing of it: it takes part all the same.
        let failed = incoming.iter().position(|&length| length == NO_LENGTH);
        let known = |&length: &u64| if length == NO_LENGTH { 0 } else { length as usize };
        let incoming: Vec<usize> = incoming.iter().map(known).collect();
        let mut received = zeros(total(&call, &incoming)?);
        let (sends, receives) = ((&data[..], &counts[..]), (&mut received[..], &incoming[..]));
        self.neighbor_alltoallv_at(&call, Form::Blocking, &mut None, sends, receives)?;
        checked?;
        if let Some(index) = failed {
            let rank = self.sources()[index].unwrap_or(self.rank());
            let detail =
                format!("rank {rank} has no block for each destination; its own error says why");
            return Err(collective::invalid_length(&call, detail));
        }
        self.per_neighbor(&call, received, incoming)
    }

    /// [`neighbor_alltoallv`](Neighborhood::neighbor_alltoallv) into a buffer, with the number of
    /// elements for each destination and from each source: one MPI call. The block of a neighbour that
    /// does not exist stays as it was.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if counts and buffers do not fit each other.
    ///
    /// MPI: `MPI_Neighbor_alltoallw`, MPI-4.1 section 8.6.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let mut received = [0; 3];
    /// ring.neighbor_alltoallv_into(&[7, 8, 8], &[1, 2], &mut received, &[2, 1])?;
    /// assert_eq!(received, [8, 8, 7]);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_alltoallv_into<T: Element>(
        &self,
        data: &[T],
        outgoing: &[usize],
        buffer: &mut [T],
        incoming: &[usize],
    ) -> Result<()> {
        let call = self.neighbor_call(&NEIGHBOR_ALLTOALLV, Location::caller());
        let _permit = state::permit(&call)?;
        let refused = |error| collective::refused(&call, error);
        let elements = total(&call, incoming).map_err(refused)?;
        expect_counts(&call, outgoing, ("destination", self.outdegree()), data.len())
            .and_then(|()| expect_counts(&call, incoming, ("source", self.indegree()), elements))
            .map_err(refused)?;
        let sends = (data, outgoing);
        if buffer.len() == elements {
            let receives = (buffer, incoming);
            return self.neighbor_alltoallv_at(&call, Form::Blocking, &mut None, sends, receives);
        }
        // The neighbours must not wait for a rank that has made a mistake: it takes part all the same.
        let mut aside: Vec<T> = zeros(elements);
        let receives = (&mut aside[..], incoming);
        self.neighbor_alltoallv_at(&call, Form::Blocking, &mut None, sends, receives)?;
        Err(misfit(&call, "receive", elements, Some(buffer.len())))
    }

    fn neighbor_alltoallv_at<T: Element>(
        &self,
        call: &Call<'_>,
        form: Form<'_>,
        arrays: &mut Arrays,
        (data, outgoing): (&[T], &[usize]),
        (buffer, incoming): (&mut [T], &[usize]),
    ) -> Result<()> {
        if self.is_point() {
            return Ok(());
        }
        let sends = parts(data.as_ptr(), outgoing)?;
        let receives = parts(buffer.as_mut_ptr(), incoming)?;
        self.exchange_parts(call, form, arrays, (&sends, &receives), name_of::<T>)
    }

    /// Starts a [`neighbor_alltoall`](Neighborhood::neighbor_alltoall). Collective.
    ///
    /// # Errors
    /// As [`neighbor_alltoall`](Neighborhood::neighbor_alltoall).
    ///
    /// MPI: `MPI_Ineighbor_alltoall`, MPI-4.1 section 8.7.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let from_each = ring.ineighbor_alltoall(vec![-1, 1])?.wait()?;
    /// assert_eq!(from_each.flat(), [1, -1]);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn ineighbor_alltoall<B>(&self, data: B) -> Result<Request<PerNeighbor<B::Element>>>
    where
        B: Buffer + Send + 'static,
    {
        let call = self.neighbor_call(&INEIGHBOR_ALLTOALL, Location::caller());
        let each =
            self.expect_answers(&call).and_then(|()| self.share(&call, data.elements().len()));
        let each = each.map_err(|error| collective::refused_later(&call, error))?;
        let received = zeros(each.saturating_mul(self.indegree()));
        let begin = |(data, received, arrays): &mut (B, Vec<B::Element>, Arrays),
                     form: Form<'_>| {
            self.neighbor_alltoall_at(&call, form, arrays, data.elements(), received, each)
        };
        let here = self.clone();
        let storage = (data, received, None);
        start_collective(self.carrier(), &call, storage, begin, move |(_, received, _), _, call| {
            here.existing(call, received, each)
        })
    }

    /// Starts a [`neighbor_alltoallv`](Neighborhood::neighbor_alltoallv) with the number of elements
    /// that come from each source. Collective.
    ///
    /// # Errors
    /// As [`neighbor_alltoallv_into`](Neighborhood::neighbor_alltoallv_into).
    ///
    /// MPI: `MPI_Ineighbor_alltoallw`, MPI-4.1 section 8.7.3.
    ///
    /// ```
    /// use phalanx::PerRank;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let blocks = PerRank::from(vec![vec![7], vec![8, 8]]);
    /// let from_each = ring.ineighbor_alltoallv(blocks, vec![2, 1])?.wait()?;
    /// assert_eq!(from_each[0], [8, 8]);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn ineighbor_alltoallv<T: Element>(
        &self,
        blocks: PerRank<T>,
        incoming: Vec<usize>,
    ) -> Result<Request<PerNeighbor<T>>> {
        struct Storage<T> {
            blocks: PerRank<T>,
            received: Vec<T>,
            incoming: Vec<usize>,
            arrays: Arrays,
        }
        let call = self.neighbor_call(&INEIGHBOR_ALLTOALLV, Location::caller());
        let _permit = state::permit(&call)?;
        let refused = |error| collective::refused_later(&call, error);
        let given = blocks.flat().len();
        let elements = total(&call, &incoming).map_err(refused)?;
        expect_counts(&call, blocks.counts(), ("destination", self.outdegree()), given)
            .and_then(|()| expect_counts(&call, &incoming, ("source", self.indegree()), elements))
            .map_err(refused)?;
        let storage = Storage { blocks, received: zeros(elements), incoming, arrays: None };
        let begin = |s: &mut Storage<T>, form: Form<'_>| {
            let sends = (s.blocks.flat(), s.blocks.counts());
            let receives = (&mut s.received[..], &s.incoming[..]);
            self.neighbor_alltoallv_at(&call, form, &mut s.arrays, sends, receives)
        };
        let here = self.clone();
        start_collective(self.carrier(), &call, storage, begin, move |s, _, call| {
            here.per_neighbor(call, s.received, s.incoming)
        })
    }
}

//! Allgather among neighbours: from every source, the same to every destination.

use std::panic::Location;

use super::PerNeighbor;
use super::blocks::{expect_counts, expect_len, parts, repeated};
use super::neighborhood::Neighborhood;
use crate::collective::{misfit, total};
use crate::datatype::{Buffer, Element, view_of, view_of_mut, zeros};
use crate::error::Result;
use crate::raw::collective::{self, BlockTable, Form};
use crate::raw::state;
use crate::record::{
    Call, INEIGHBOR_ALLGATHER, INEIGHBOR_ALLGATHERV, NEIGHBOR_ALLGATHER, NEIGHBOR_ALLGATHERV,
    name_of,
};
use crate::request::{Request, start_collective};

/// What MPI reads of a call until it is complete.
type Arrays = Option<(BlockTable, BlockTable)>;

impl Neighborhood {
    /// Sends the elements to every destination, and collects as many from every source. Collective;
    /// neighbours give the same number of elements.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Neighbor_allgather`, MPI-4.1 section 8.6.1.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let from_each = ring.neighbor_allgather(&[ring.rank(), 7])?;
    /// let left = (ring.rank() + ring.size() - 1) % ring.size();
    /// assert_eq!(from_each[0], [left, 7]);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_allgather<B>(&self, data: &B) -> Result<PerNeighbor<B::Element>>
    where
        B: Buffer + ?Sized,
    {
        let call = self.neighbor_call(&NEIGHBOR_ALLGATHER, Location::caller());
        let mine = data.elements();
        let mut all = zeros(mine.len().saturating_mul(self.indegree()));
        self.allgather_at(&call, Form::Blocking, &mut None, mine, &mut all)?;
        self.existing(&call, all, mine.len())
    }

    /// [`neighbor_allgather`](Neighborhood::neighbor_allgather) into a buffer with a block for each
    /// source. That of a neighbour that does not exist stays as it was.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if the buffer does not hold as many elements
    /// for each source.
    ///
    /// MPI: `MPI_Neighbor_allgather`, MPI-4.1 section 8.6.1.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let line = world.cart(&[0], &[false])?.expect("every rank fits");
    /// let mut sides = [-1.0; 2]; // what is past the ends
    /// line.neighbor_allgather_into(&(line.rank() as f64), &mut sides)?;
    /// assert_eq!(sides[0], line.rank() as f64 - 1.0);
    /// line.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_allgather_into<B: Buffer + ?Sized>(
        &self,
        data: &B,
        buffer: &mut [B::Element],
    ) -> Result<()> {
        let call = self.neighbor_call(&NEIGHBOR_ALLGATHER, Location::caller());
        let _permit = state::permit(&call)?;
        let data = data.elements();
        let checked = expect_len(&call, "receive", buffer.len(), (data.len(), self.indegree()));
        if checked.is_ok() {
            return self.allgather_at(&call, Form::Blocking, &mut None, data, buffer);
        }
        // The neighbours must not wait for a rank that has made a mistake: it takes part all the same.
        let mut aside: Vec<B::Element> = zeros(data.len().saturating_mul(self.indegree()));
        self.allgather_at(&call, Form::Blocking, &mut None, data, &mut aside)?;
        checked
    }

    fn allgather_at<T: Element>(
        &self,
        call: &Call<'_>,
        form: Form<'_>,
        arrays: &mut Arrays,
        data: &[T],
        buffer: &mut [T],
    ) -> Result<()> {
        expect_len(call, "receive", buffer.len(), (data.len(), self.indegree()))?;
        if self.is_point() {
            return Ok(());
        }
        if self.is_merged() {
            let sends = repeated(data, self.outdegree())?;
            let receives = parts(buffer.as_mut_ptr(), &vec![data.len(); self.indegree()])?;
            return self.exchange_parts(call, form, arrays, (&sends, &receives), name_of::<T>);
        }
        let (send, recv) = (view_of(call, data)?, view_of_mut(call, buffer)?);
        collective::neighbor_allgather(call, form, send, recv, self.degrees())
    }

    /// Sends any number of elements to every destination, and collects as many as there are from every
    /// source. Collective.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Neighbor_allgather` of the lengths, then `MPI_Neighbor_alltoallw`, whose blocks may start
    /// anywhere and have any length; MPI-4.1 sections 8.6.1 and 8.6.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let from_each = ring.neighbor_allgatherv(&vec![1.5; ring.rank()])?;
    /// for (neighbor, block) in from_each.iter() {
    ///     assert_eq!(Some(block.len()), neighbor);
    /// }
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_allgatherv<B>(&self, data: &B) -> Result<PerNeighbor<B::Element>>
    where
        B: Buffer + ?Sized,
    {
        let call = self.neighbor_call(&NEIGHBOR_ALLGATHERV, Location::caller());
        let _permit = state::permit(&call)?;
        let mine = data.elements();
        let mut counts = vec![0; self.indegree()];
        self.allgather_at(&call, Form::Blocking, &mut None, &[mine.len()], &mut counts)?;
        let mut all = zeros(total(&call, &counts)?);
        self.allgatherv_at(&call, Form::Blocking, &mut None, mine, (&mut all, &counts))?;
        self.per_neighbor(&call, all, counts)
    }

    /// [`neighbor_allgatherv`](Neighborhood::neighbor_allgatherv) into a buffer, with the number of
    /// elements of each source: one MPI call. The block of a neighbour that does not exist stays as it
    /// was.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if counts and buffer do not fit each other.
    ///
    /// MPI: `MPI_Neighbor_alltoallw`, MPI-4.1 section 8.6.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let counts: Vec<usize> = ring.neighbors().iter().map(|it| it.unwrap_or(0)).collect();
    /// let mut all = vec![0_u8; counts.iter().sum()];
    /// ring.neighbor_allgatherv_into(&vec![1; ring.rank()], &mut all, &counts)?;
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_allgatherv_into<B: Buffer + ?Sized>(
        &self,
        data: &B,
        buffer: &mut [B::Element],
        counts: &[usize],
    ) -> Result<()> {
        let call = self.neighbor_call(&NEIGHBOR_ALLGATHERV, Location::caller());
        let _permit = state::permit(&call)?;
        let elements = total(&call, counts).map_err(|error| collective::refused(&call, error))?;
        expect_counts(&call, counts, ("source", self.indegree()), elements)
            .map_err(|error| collective::refused(&call, error))?;
        let data = data.elements();
        if buffer.len() == elements {
            return self.allgatherv_at(&call, Form::Blocking, &mut None, data, (buffer, counts));
        }
        // The neighbours must not wait for a rank that has made a mistake: it takes part all the same.
        let mut aside: Vec<B::Element> = zeros(elements);
        self.allgatherv_at(&call, Form::Blocking, &mut None, data, (&mut aside, counts))?;
        Err(misfit(&call, "receive", elements, Some(buffer.len())))
    }

    fn allgatherv_at<T: Element>(
        &self,
        call: &Call<'_>,
        form: Form<'_>,
        arrays: &mut Arrays,
        data: &[T],
        (buffer, counts): (&mut [T], &[usize]),
    ) -> Result<()> {
        if self.is_point() {
            return Ok(());
        }
        let sends = repeated(data, self.outdegree())?;
        let receives = parts(buffer.as_mut_ptr(), counts)?;
        self.exchange_parts(call, form, arrays, (&sends, &receives), name_of::<T>)
    }

    /// Starts a [`neighbor_allgather`](Neighborhood::neighbor_allgather). Collective.
    ///
    /// # Errors
    /// As [`neighbor_allgather`](Neighborhood::neighbor_allgather).
    ///
    /// MPI: `MPI_Ineighbor_allgather`, MPI-4.1 section 8.7.1.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let from_each = ring.ineighbor_allgather(ring.rank())?.wait()?;
    /// assert_eq!(from_each[1], [(ring.rank() + 1) % ring.size()]);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn ineighbor_allgather<B>(&self, data: B) -> Result<Request<PerNeighbor<B::Element>>>
    where
        B: Buffer + Send + 'static,
    {
        let call = self.neighbor_call(&INEIGHBOR_ALLGATHER, Location::caller());
        let each = data.elements().len();
        let all = zeros(each.saturating_mul(self.indegree()));
        let begin = |(data, all, arrays): &mut (B, Vec<B::Element>, Arrays), form: Form<'_>| {
            self.allgather_at(&call, form, arrays, data.elements(), all)
        };
        let here = self.clone();
        let storage = (data, all, None);
        start_collective(self.carrier(), &call, storage, begin, move |(_, all, _), _, call| {
            here.existing(call, all, each)
        })
    }

    /// Starts a [`neighbor_allgatherv`](Neighborhood::neighbor_allgatherv) with the number of elements
    /// of each source. Collective.
    ///
    /// # Errors
    /// As [`neighbor_allgatherv_into`](Neighborhood::neighbor_allgatherv_into).
    ///
    /// MPI: `MPI_Ineighbor_alltoallw`, MPI-4.1 section 8.7.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let counts: Vec<usize> = ring.neighbors().iter().map(|it| it.unwrap_or(0)).collect();
    /// let from_each = ring.ineighbor_allgatherv(vec![1; ring.rank()], counts)?.wait()?;
    /// assert_eq!(Some(from_each[0].len()), from_each.neighbor(0));
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn ineighbor_allgatherv<B>(
        &self,
        data: B,
        counts: Vec<usize>,
    ) -> Result<Request<PerNeighbor<B::Element>>>
    where
        B: Buffer + Send + 'static,
    {
        struct Storage<B: Buffer> {
            data: B,
            all: Vec<B::Element>,
            counts: Vec<usize>,
            arrays: Arrays,
        }
        let call = self.neighbor_call(&INEIGHBOR_ALLGATHERV, Location::caller());
        let _permit = state::permit(&call)?;
        let refused = |error| collective::refused_later(&call, error);
        let elements = total(&call, &counts).map_err(refused)?;
        expect_counts(&call, &counts, ("source", self.indegree()), elements).map_err(refused)?;
        let storage = Storage { data, all: zeros(elements), counts, arrays: None };
        let begin = |s: &mut Storage<B>, form: Form<'_>| {
            let place = (&mut s.all[..], &s.counts[..]);
            self.allgatherv_at(&call, form, &mut s.arrays, s.data.elements(), place)
        };
        let here = self.clone();
        start_collective(self.carrier(), &call, storage, begin, move |s, _, call| {
            here.per_neighbor(call, s.all, s.counts)
        })
    }
}

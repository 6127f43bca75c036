//! Alltoallw among neighbours: another type and place for each block.

use std::panic::Location;

use super::neighborhood::Neighborhood;
use crate::collective::{AnyPayload, AnyPayloadMut};
use crate::datatype::{Payload, PayloadMut};
use crate::error::Result;
use crate::raw::collective::{self, BlockTable, Form, RawBlock};
use crate::raw::{View, ViewMut, state};
use crate::record::{Call, INEIGHBOR_ALLTOALLW, NEIGHBOR_ALLTOALLW, no_name};
use crate::request::{Request, start_collective};

fn sent<'a>(views: impl Iterator<Item = Result<View<'a>>>) -> Result<Vec<RawBlock>> {
    views.map(|view| view.map(|it| (it.pointer, it.items, it.datatype))).collect()
}

fn received<'a>(views: impl Iterator<Item = Result<ViewMut<'a>>>) -> Result<Vec<RawBlock>> {
    views.map(|view| view.map(|it| (it.pointer.cast_const(), it.items, it.datatype))).collect()
}

impl Neighborhood {
    /// Gives every destination a block of any type, and takes one of any type from every source. The
    /// blocks are buffers or strided views, one for each neighbour; types and lengths agree pairwise.
    /// On a grid those for and from neighbours that do not exist are not touched. Collective.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if there is not one block for each neighbour,
    /// and what the MPI library reports.
    ///
    /// MPI: `MPI_Neighbor_alltoallw`, MPI-4.1 section 8.6.3.
    ///
    /// ```
    /// use phalanx::{AnyPayload, AnyPayloadMut};
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let (letters, numbers) = (*b"left", [1.5, 2.5]);
    /// let (mut from_left, mut from_right) = ([0.0; 2], [0_u8; 4]);
    /// let sends: [&dyn AnyPayload; 2] = [&letters, &numbers];
    /// let mut receives: [&mut dyn AnyPayloadMut; 2] = [&mut from_left, &mut from_right];
    /// ring.neighbor_alltoallw(&sends, &mut receives)?;
    /// assert_eq!((from_left, &from_right), ([1.5, 2.5], b"left"));
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_alltoallw(
        &self,
        sends: &[&dyn AnyPayload],
        receives: &mut [&mut dyn AnyPayloadMut],
    ) -> Result<()> {
        let call = self.neighbor_call(&NEIGHBOR_ALLTOALLW, Location::caller());
        let sends =
            sent(sends.iter().map(|block| block.any_view().map_err(|error| error.at(&call))))?;
        let receives = received(
            receives.iter_mut().map(|block| block.any_view_mut().map_err(|error| error.at(&call))),
        )?;
        let _permit = state::permit(&call)?;
        self.one_each(&call, sends.len(), receives.len())
            .map_err(|error| collective::refused(&call, error))?;
        self.exchange_parts(&call, Form::Blocking, &mut None, (&sends, &receives), no_name)
    }

    /// Starts a [`neighbor_alltoallw`](Neighborhood::neighbor_alltoallw) on blocks that the request owns;
    /// the result are the received ones. Collective.
    ///
    /// # Errors
    /// As [`neighbor_alltoallw`](Neighborhood::neighbor_alltoallw).
    ///
    /// MPI: `MPI_Ineighbor_alltoallw`, MPI-4.1 section 8.7.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let sends = vec![vec![1_u8; 3], vec![2; 5]];
    /// let received = ring.ineighbor_alltoallw(sends, vec![vec![0_u8; 5], vec![0; 3]])?.wait()?;
    /// assert_eq!(received, [vec![2; 5], vec![1; 3]]);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn ineighbor_alltoallw<P, Q>(
        &self,
        sends: Vec<P>,
        receives: Vec<Q>,
    ) -> Result<Request<Vec<Q>>>
    where
        P: Payload + Send + 'static,
        Q: PayloadMut + Send + 'static,
    {
        struct Storage<P, Q> {
            sends: Vec<P>,
            receives: Vec<Q>,
            arrays: Option<(BlockTable, BlockTable)>,
        }
        let call = self.neighbor_call(&INEIGHBOR_ALLTOALLW, Location::caller());
        let _permit = state::permit(&call)?;
        self.one_each(&call, sends.len(), receives.len())
            .map_err(|error| collective::refused_later(&call, error))?;
        let storage = Storage { sends, receives, arrays: None };
        let begin = |s: &mut Storage<P, Q>, form: Form<'_>| {
            let sends = sent(s.sends.iter().map(Payload::view))?;
            let receives = received(s.receives.iter_mut().map(PayloadMut::view_mut))?;
            self.exchange_parts(&call, form, &mut s.arrays, (&sends, &receives), no_name)
        };
        start_collective(self.carrier(), &call, storage, begin, |s, _, _| Ok(s.receives))
    }

    /// A block for each destination, and one for each source.
    fn one_each(&self, call: &Call<'_>, sends: usize, receives: usize) -> Result<()> {
        let sides =
            [("destination", sends, self.outdegree()), ("source", receives, self.indegree())];
        for (who, given, needed) in sides {
            if given != needed {
                let detail = format!("{given} blocks were given for {needed} {who}s");
                return Err(collective::invalid_length(call, detail));
            }
        }
        Ok(())
    }
}

//! Alltoallw: every rank to every rank, another type and place for each.

use std::panic::Location;

use crate::comm::Comm;
use crate::datatype::{Payload, PayloadMut};
use crate::error::Result;
use crate::raw::collective::{self, BlockTable, Form};
use crate::raw::{View, ViewMut, state};
use crate::record::{ALLTOALLW, Call, IALLTOALLW};
use crate::request::{Request, start_collective};

/// A block that is sent, of any type: a buffer or a strided view behind one face.
pub trait AnyPayload {
    #[doc(hidden)]
    fn any_view(&self) -> Result<View<'_>>;
}

impl<P: Payload> AnyPayload for P {
    fn any_view(&self) -> Result<View<'_>> {
        self.view()
    }
}

/// A block that is received, of any type: a buffer or a strided view behind one face.
pub trait AnyPayloadMut {
    #[doc(hidden)]
    fn any_view_mut(&mut self) -> Result<ViewMut<'_>>;
}

impl<P: PayloadMut> AnyPayloadMut for P {
    fn any_view_mut(&mut self) -> Result<ViewMut<'_>> {
        self.view_mut()
    }
}

/// # From all to all, with another type for each block
impl Comm {
    /// Gives every rank a block of any type, and takes one of any type from every rank. The blocks are
    /// buffers or strided views, one for each rank; types and lengths agree pairwise. Collective.
    ///
    /// # Errors
    /// [`InvalidLength`](crate::ErrorKind::InvalidLength) if there is not one block for each rank, and
    /// what the MPI library reports.
    ///
    /// MPI: `MPI_Alltoallw`, MPI-4.1 section 6.8.
    ///
    /// ```
    /// use phalanx::{AnyPayload, AnyPayloadMut, Strided, StridedMut};
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// // A matrix whose column `rank` goes to that rank, which puts it into a row.
    /// let n = world.size();
    /// let matrix: Vec<f64> = (0..n * n).map(|i| i as f64).collect();
    /// let columns: Vec<_> = (0..n).map(|to| Strided::column(&matrix, n, to)).collect::<Result<_, _>>()?;
    /// let mut rows = vec![vec![0.0; n]; n];
    /// let sends: Vec<&dyn AnyPayload> = columns.iter().map(|c| c as &dyn AnyPayload).collect();
    /// let mut receives: Vec<&mut dyn AnyPayloadMut> =
    ///     rows.iter_mut().map(|row| row as &mut dyn AnyPayloadMut).collect();
    /// world.alltoallw(&sends, &mut receives)?;
    /// assert_eq!(rows[0][0], world.rank() as f64);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn alltoallw(
        &self,
        sends: &[&dyn AnyPayload],
        receives: &mut [&mut dyn AnyPayloadMut],
    ) -> Result<()> {
        let call = self.call(&ALLTOALLW, Location::caller());
        let _permit = state::permit(&call)?;
        let checked = one_each(&call, self.size(), sends.len(), receives.len());
        checked.map_err(|error| collective::refused(&call, error))?;
        let outgoing = outgoing(
            &call,
            sends.iter().map(|block| block.any_view().map_err(|error| error.at(&call))),
        )?;
        let incoming = incoming(
            &call,
            receives.iter_mut().map(|block| block.any_view_mut().map_err(|error| error.at(&call))),
        )?;
        collective::alltoallw(&call, Form::Blocking, &outgoing, &incoming)
    }

    /// Starts an [`alltoallw`](Comm::alltoallw) on blocks that the request owns; the result are the
    /// received ones. Collective.
    ///
    /// # Errors
    /// As [`alltoallw`](Comm::alltoallw).
    ///
    /// MPI: `MPI_Ialltoallw`, MPI-4.1 section 6.12.6.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let sends: Vec<Vec<u8>> = (0..world.size()).map(|to| vec![7; to + 1]).collect();
    /// let receives: Vec<Vec<u8>> = vec![vec![0; world.rank() + 1]; world.size()];
    /// let received = world.ialltoallw(sends, receives)?.wait()?;
    /// assert_eq!(received[0], vec![7; world.rank() + 1]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ialltoallw<P, Q>(&self, sends: Vec<P>, receives: Vec<Q>) -> Result<Request<Vec<Q>>>
    where
        P: Payload + Send + 'static,
        Q: PayloadMut + Send + 'static,
    {
        struct Storage<P, Q> {
            sends: Vec<P>,
            receives: Vec<Q>,
            blocks: Option<(BlockTable, BlockTable)>,
        }
        let call = self.call(&IALLTOALLW, Location::caller());
        let _permit = state::permit(&call)?;
        let checked = one_each(&call, self.size(), sends.len(), receives.len());
        checked.map_err(|error| collective::refused_later(&call, error))?;
        let storage = Storage { sends, receives, blocks: None };
        let begin = |s: &mut Storage<P, Q>, form: Form<'_>| {
            let outgoing = outgoing(&call, s.sends.iter().map(Payload::view))?;
            let incoming = incoming(&call, s.receives.iter_mut().map(PayloadMut::view_mut))?;
            // The arrays of the call live in the storage too: MPI reads them until completion.
            let (outgoing, incoming) = s.blocks.insert((outgoing, incoming));
            collective::alltoallw(&call, form, outgoing, incoming)
        };
        start_collective(self, &call, storage, begin, |s, _, _| Ok(s.receives))
    }
}

/// A block to send and one to receive for each rank.
fn one_each(call: &Call<'_>, ranks: usize, sends: usize, receives: usize) -> Result<()> {
    for (which, blocks) in [("send", sends), ("receive", receives)] {
        if blocks != ranks {
            let detail = format!("{blocks} {which} blocks were given for {ranks} ranks");
            return Err(collective::invalid_length(call, detail));
        }
    }
    Ok(())
}

fn outgoing<'a>(
    call: &Call<'_>,
    views: impl Iterator<Item = Result<View<'a>>>,
) -> Result<BlockTable> {
    let views = views.collect::<Result<Vec<_>>>()?;
    BlockTable::new(call, views.iter().map(|view| (view.pointer, view.items, view.datatype)))
}

fn incoming<'a>(
    call: &Call<'_>,
    views: impl Iterator<Item = Result<ViewMut<'a>>>,
) -> Result<BlockTable> {
    let views = views.collect::<Result<Vec<_>>>()?;
    let parts = views.iter().map(|view| (view.pointer.cast_const(), view.items, view.datatype));
    BlockTable::new(call, parts)
}

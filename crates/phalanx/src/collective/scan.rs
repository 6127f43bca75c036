//! Prefix reductions: over the ranks up to this one.

use std::panic::Location;

use crate::comm::Comm;
use crate::datatype::{Buffer, BufferMut};
use crate::error::Result;
use crate::op::Reduction;
use crate::raw::collective::Everywhere;
use crate::record::{EXSCAN, IEXSCAN, ISCAN, SCAN};
use crate::request::Request;

/// # Prefix reductions of elements
impl Comm {
    /// Combines the elements of the ranks from 0 to this one. Collective; the buffer has the same
    /// length everywhere.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Scan`, MPI-4.1 section 6.11.1.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let end = world.scan(&10, Sum)?;
    /// assert_eq!(end as usize, 10 * (world.rank() + 1));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn scan<B: Buffer + ?Sized>(
        &self,
        data: &B,
        op: impl Reduction<B::Element>,
    ) -> Result<B::Owned> {
        self.everywhere(&self.call(&SCAN, Location::caller()), Everywhere::Scan, data, op)
    }

    /// [`scan`](Comm::scan) that replaces the elements by the result.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Scan` with `MPI_IN_PLACE`, MPI-4.1 section 6.11.1.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut end = [10];
    /// world.scan_in_place(&mut end, Sum)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn scan_in_place<B: BufferMut + ?Sized>(
        &self,
        buffer: &mut B,
        op: impl Reduction<B::Element>,
    ) -> Result<()> {
        let call = self.call(&SCAN, Location::caller());
        self.everywhere_at(&call, Everywhere::Scan, None, buffer.elements_mut(), op)
    }

    /// Combines the elements of the ranks before this one. `None` on rank 0, before which there is no
    /// rank. Collective; the buffer has the same length everywhere.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Exscan`, MPI-4.1 section 6.11.2.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// // Where this rank's 10 elements begin in an array of all.
    /// let start = world.exscan(&10, Sum)?.unwrap_or(0);
    /// assert_eq!(start as usize, 10 * world.rank());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn exscan<B: Buffer + ?Sized>(
        &self,
        data: &B,
        op: impl Reduction<B::Element>,
    ) -> Result<Option<B::Owned>> {
        let call = self.call(&EXSCAN, Location::caller());
        let result = self.everywhere(&call, Everywhere::Exscan, data, op)?;
        Ok((self.rank() > 0).then_some(result))
    }

    /// [`exscan`](Comm::exscan) that replaces the elements by the result; rank 0's stay as they were.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Exscan` with `MPI_IN_PLACE`, MPI-4.1 section 6.11.2.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut before = [1];
    /// world.exscan_in_place(&mut before, Sum)?;
    /// assert_eq!(before[0] as usize, world.rank().max(1));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn exscan_in_place<B: BufferMut + ?Sized>(
        &self,
        buffer: &mut B,
        op: impl Reduction<B::Element>,
    ) -> Result<()> {
        let call = self.call(&EXSCAN, Location::caller());
        self.everywhere_at(&call, Everywhere::Exscan, None, buffer.elements_mut(), op)
    }

    /// Starts a [`scan`](Comm::scan). Collective.
    ///
    /// # Errors
    /// As [`scan`](Comm::scan).
    ///
    /// MPI: `MPI_Iscan`, MPI-4.1 section 6.12.11.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let end = world.iscan(10, Sum)?.wait()?;
    /// assert_eq!(end as usize, 10 * (world.rank() + 1));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iscan<B>(&self, data: B, op: impl Reduction<B::Element>) -> Result<Request<B::Owned>>
    where
        B: Buffer + Send + 'static,
    {
        self.start_everywhere(&ISCAN, Everywhere::Scan, data, op, Location::caller())
    }

    /// Starts an [`exscan`](Comm::exscan). Collective.
    ///
    /// # Errors
    /// As [`exscan`](Comm::exscan).
    ///
    /// MPI: `MPI_Iexscan`, MPI-4.1 section 6.12.12.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let start = world.iexscan(10, Sum)?.wait()?;
    /// assert_eq!(start.unwrap_or(0) as usize, 10 * world.rank());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iexscan<B>(
        &self,
        data: B,
        op: impl Reduction<B::Element>,
    ) -> Result<Request<Option<B::Owned>>>
    where
        B: Buffer + Send + 'static,
    {
        let first = self.rank() == 0;
        let location = Location::caller();
        let request = self.start_everywhere(&IEXSCAN, Everywhere::Exscan, data, op, location)?;
        Ok(request.map(move |result| (!first).then_some(result)))
    }
}

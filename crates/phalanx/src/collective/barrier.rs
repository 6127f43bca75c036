//! Barrier.

use std::panic::Location;

use crate::comm::Comm;
use crate::error::Result;
use crate::raw::collective::{self, Form};
use crate::record::{BARRIER, Call, IBARRIER};
use crate::request::{Request, start_collective};

/// # Barrier
impl Comm {
    /// Waits until every rank has called it. Collective.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Barrier`, MPI-4.1 section 6.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// world.barrier()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn barrier(&self) -> Result<()> {
        collective::barrier(&self.call(&BARRIER, Location::caller()), Form::Blocking)
    }

    /// Says that this rank has come; the request is complete when all have. Collective.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Ibarrier`, MPI-4.1 section 6.12.1.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let all_here = world.ibarrier()?;
    /// // … work …
    /// all_here.wait()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ibarrier(&self) -> Result<Request<()>> {
        self.ibarrier_at(&self.call(&IBARRIER, Location::caller()))
    }

    pub(crate) fn ibarrier_at(&self, call: &Call<'_>) -> Result<Request<()>> {
        let begin = |(): &mut (), form: Form<'_>| collective::barrier(call, form);
        start_collective(self, call, (), begin, |(), _, _| Ok(()))
    }
}

//! One rank after another.

use std::io::Write;
use std::panic::Location;

use crate::comm::{Comm, from, to};
use crate::error::Result;
use crate::raw::collective::{self, Form};
use crate::raw::p2p::{self, Mode, RawStatus};
use crate::raw::{View, ViewMut};
use crate::record::{IN_ORDER, Peer};

/// # One rank after another
impl Comm {
    /// Runs `f` on one rank after another, in the order of the ranks: for output, and for files that
    /// all ranks write. Returns on every rank what `f` returned there, when it has run everywhere.
    /// Collective.
    ///
    /// What `f` returns is not looked at: after an `Err`, too, it is the next rank's turn. When `f`
    /// panics no further rank runs it, and [`run`](crate::run) ends the job.
    ///
    /// Standard output is flushed before the next rank's turn. Launchers collect it through one pipe for
    /// each rank and usually, but not always, print it in the order in which it was written.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Recv` and `MPI_Send` on a private communicator, `MPI_Barrier`.
    ///
    /// ```
    /// # phalanx::run(|world| -> Result<(), Box<dyn std::error::Error>> {
    /// world.in_order(|| println!("rank {} of {}", world.rank(), world.size()))?;
    /// // One `?` for MPI, one for what the closure returns.
    /// let answer: i32 = world.in_order(|| "42".parse())??;
    /// assert_eq!(answer, 42);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn in_order<R>(&self, f: impl FnOnce() -> R) -> Result<R> {
        let location = Location::caller();
        let call = self.private_call(&IN_ORDER, location);
        let permit = crate::raw::permit(&call)?;
        let tag = self.next_collective_tag(&permit, &call);
        let call = call.tag(Some(tag));
        if let Some(before) = self.rank().checked_sub(1) {
            let call = call.peer(Peer::From(before));
            let envelope = from(before).tag(tag).envelope(&call)?;
            p2p::recv(&call, ViewMut::bytes(&mut []), envelope, &mut RawStatus::empty())?;
        }
        let result = f();
        // A closed output concerns those who write to it.
        let _ = std::io::stdout().flush();
        let next = self.rank() + 1;
        if next < self.size() {
            let call = call.peer(Peer::To(next));
            let envelope = to(next).tag(tag).envelope(&call)?;
            p2p::send(&call, Mode::Standard, View::bytes(&[]), envelope)?;
        }
        // Two turns in a row must not overlap: the first rank's second comes after the last one's first.
        collective::barrier(&self.call(&IN_ORDER, location), Form::Blocking)?;
        Ok(result)
    }
}

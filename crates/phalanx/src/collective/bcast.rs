//! Broadcast: one rank to all.

use std::panic::Location;

use super::layout::length_from_root;
use crate::comm::Comm;
use crate::datatype::{BufferMut, Element, view_of_mut, zeros};
use crate::error::Result;
use crate::raw::collective::{self, Form};
use crate::raw::state;
use crate::record::{BCAST, IBCAST};
use crate::request::{Request, start_collective};

/// # Broadcast of elements
impl Comm {
    /// Copies the root's elements to every rank. Collective; the buffer has the same length everywhere.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot), and what the MPI library reports, for one if the
    /// buffer is too short here.
    ///
    /// MPI: `MPI_Bcast`, MPI-4.1 section 6.4.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut table = if world.rank() == 0 { [1.0, 2.0, 3.0] } else { [0.0; 3] };
    /// world.bcast(&mut table, 0)?;
    /// assert_eq!(table, [1.0, 2.0, 3.0]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn bcast<B: BufferMut + ?Sized>(&self, buffer: &mut B, root: usize) -> Result<()> {
        let call = self.call(&BCAST, Location::caller()).root(root);
        self.check_root(&call, root).map_err(|error| collective::refused(&call, error))?;
        collective::bcast(&call, Form::Blocking, view_of_mut(&call, buffer.elements_mut())?, root)
    }

    /// Copies the root's vector to every rank; its length need not be known elsewhere. Collective.
    ///
    /// What other ranks pass is dropped.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot), and what the MPI library reports.
    ///
    /// MPI: two `MPI_Bcast`, length first; MPI-4.1 section 6.4.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let names = if world.rank() == 0 { b"abc".to_vec() } else { Vec::new() };
    /// assert_eq!(world.bcast_vec(names, 0)?, b"abc");
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn bcast_vec<T: Element>(&self, mut data: Vec<T>, root: usize) -> Result<Vec<T>> {
        let call = self.call(&BCAST, Location::caller()).root(root);
        let _permit = state::permit(&call)?;
        self.check_root(&call, root).map_err(|error| collective::refused(&call, error))?;
        let mut length = [data.len() as u64];
        collective::bcast(&call, Form::Blocking, view_of_mut(&call, &mut length)?, root)?;
        if self.rank() != root {
            data = zeros(length_from_root(&call, length[0])?);
        }
        collective::bcast(&call, Form::Blocking, view_of_mut(&call, &mut data)?, root)?;
        Ok(data)
    }

    /// Starts a broadcast of a buffer that has the same length everywhere. Collective.
    ///
    /// # Errors
    /// As [`bcast`](Comm::bcast).
    ///
    /// MPI: `MPI_Ibcast`, MPI-4.1 section 6.12.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let table = if world.rank() == 0 { vec![1, 2, 3] } else { vec![0; 3] };
    /// let table = world.ibcast(table, 0)?.wait()?;
    /// assert_eq!(table, [1, 2, 3]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ibcast<B>(&self, buffer: B, root: usize) -> Result<Request<B>>
    where
        B: BufferMut + Send + 'static,
    {
        let call = self.call(&IBCAST, Location::caller()).root(root);
        self.check_root(&call, root).map_err(|error| collective::refused_later(&call, error))?;
        let begin = |buffer: &mut B, form: Form<'_>| {
            collective::bcast(&call, form, view_of_mut(&call, buffer.elements_mut())?, root)
        };
        start_collective(self, &call, buffer, begin, |buffer, _, _| Ok(buffer))
    }
}

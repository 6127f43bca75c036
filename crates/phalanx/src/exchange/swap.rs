//! Two ranks that give each other what they have.

use std::panic::Location;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::comm::{Comm, Dest};
use crate::datatype::{BufferMut, is_all};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{self, Bincode, Outgoing, start_send};
use crate::p2p::{replace, status_of};
use crate::raw::p2p::Mode;
use crate::record::{Peer, SWAP, SWAP_OBJECT};

/// # Exchanges that cannot deadlock: with one other rank
impl Comm {
    /// Swaps a buffer with that of another rank, which calls it, too, with a buffer of the same length.
    ///
    /// With itself and with `None` a rank swaps nothing: the buffer stays as it is. The receive takes
    /// messages with the tag of the send alone, which is 0 if none is given.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if the other rank gave fewer elements,
    /// [`Truncated`](ErrorKind::Truncated) if it gave more; those of
    /// [`sendrecv`](Comm::sendrecv).
    ///
    /// MPI: `MPI_Sendrecv_replace`, MPI-4.1 section 3.11.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let peer = world.rank() ^ 1; // 0 with 1, 2 with 3, …
    /// let peer = (peer < world.size()).then_some(peer);
    /// let mut numbers = [world.rank(); 3];
    /// world.swap(&mut numbers, peer)?;
    /// assert_eq!(numbers, [peer.unwrap_or(world.rank()); 3]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn swap<B: BufferMut + ?Sized>(&self, buffer: &mut B, peer: impl Into<Dest>) -> Result<()> {
        let peer = peer.into();
        let call = self.call(&SWAP, Location::caller()).peer(peer.peer()).tag(Some(peer.tag));
        let envelope = peer.envelope(&call)?;
        if peer.rank.is_none_or(|rank| rank == self.rank()) {
            return Ok(());
        }
        let raw = replace(&call, buffer, envelope, envelope)?;
        let (expected, came) = (buffer.elements().len(), status_of::<B::Element>(&call, &raw)?.len);
        if !is_all::<B::Element>(expected, came) {
            let detail = format!("{expected} elements were given, {came} came");
            return Err(Error::new(ErrorKind::InvalidLength, &call, detail));
        }
        Ok(())
    }

    /// Gives a value to another rank and returns the one that it gives.
    ///
    /// With itself and with `None` a rank swaps nothing: the value comes back as it is.
    ///
    /// # Errors
    /// [`Encode`](ErrorKind::Encode) if serde or the codec refuses the value, and an error on the other
    /// rank, which does not wait; [`TypeMismatch`](ErrorKind::TypeMismatch); those of
    /// [`sendrecv_object`](Comm::sendrecv_object).
    ///
    /// MPI: `MPI_Isend`, `MPI_Recv`, `MPI_Wait`.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let peer = world.rank() ^ 1;
    /// let peer = (peer < world.size()).then_some(peer);
    /// let name = world.swap_object(format!("rank {}", world.rank()), peer)?;
    /// assert_eq!(name, format!("rank {}", peer.unwrap_or(world.rank())));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn swap_object<T>(&self, value: T, peer: impl Into<Dest>) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
    {
        let (peer, location) = (peer.into(), Location::caller());
        let call = self.call(&SWAP_OBJECT, location).peer(peer.peer()).tag(Some(peer.tag));
        let envelope = peer.envelope(&call)?;
        let Some(rank) = peer.rank.filter(|&rank| rank != self.rank()) else { return Ok(value) };
        let encoded = object::to_bytes_checked::<Bincode, T>(&call, &value)
            .map(|bytes| Outgoing::new(self, bytes));
        // An empty message says that there is no value.
        let (message, encoded) = match encoded {
            Ok(message) => (message, Ok(())),
            Err(error) => (Outgoing::default(), Err(error)),
        };
        let sending = start_send(self, &call, Mode::Standard, message, envelope)?;
        let receiving = call.peer(Peer::From(rank));
        let received = object::receive::<Bincode, T>(self, &receiving, envelope);
        sending.wait()?;
        encoded?;
        match received? {
            Some((value, _)) => Ok(value),
            None => Err(object::no_value(&receiving, rank)),
        }
    }
}

//! A send and a receive that cannot wait for each other.

use std::panic::Location;

use super::recv::status_of;
use crate::comm::{Comm, Dest, Source, Status};
use crate::datatype::{Buffer, BufferMut, Payload, PayloadMut, filled, sent};
use crate::error::Result;
use crate::raw::p2p::{self, Envelope, RawStatus};
use crate::raw::wait::{Policy, policy};
use crate::record::{Call, SENDRECV, SENDRECV_REPLACE};

/// # Sending and receiving elements at once
impl Comm {
    /// Sends to one rank and receives as many elements from another, in one operation that cannot
    /// deadlock.
    ///
    /// # Errors
    /// Those of [`send`](Comm::send) and [`recv_into`](Comm::recv_into).
    ///
    /// MPI: `MPI_Sendrecv`, MPI-4.1 section 3.11.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let (rank, size) = (world.rank(), world.size());
    /// let from_left = world.sendrecv(&rank, (rank + 1) % size, (rank + size - 1) % size)?;
    /// assert_eq!(from_left, (rank + size - 1) % size);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn sendrecv<B: Buffer + ?Sized>(
        &self,
        data: &B,
        to: impl Into<Dest>,
        from: impl Into<Source>,
    ) -> Result<B::Owned> {
        let mut received = data.zeroed();
        self.sendrecv_at(data, to.into(), &mut received, from.into(), Location::caller())?;
        Ok(received)
    }

    /// [`sendrecv`](Comm::sendrecv) into a buffer of the caller's, which may be longer than what
    /// comes.
    ///
    /// # Errors
    /// Those of [`send`](Comm::send) and [`recv_into`](Comm::recv_into).
    ///
    /// MPI: `MPI_Sendrecv`, MPI-4.1 section 3.11.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut received = [0; 4];
    /// let me = world.rank();
    /// let got = world.sendrecv_into(&[1, 2], me, &mut received, me)?;
    /// assert_eq!(received[..got.len], [1, 2]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn sendrecv_into<P: Payload + ?Sized, Q: PayloadMut + ?Sized>(
        &self,
        data: &P,
        to: impl Into<Dest>,
        buffer: &mut Q,
        from: impl Into<Source>,
    ) -> Result<Status> {
        self.sendrecv_at(data, to.into(), buffer, from.into(), Location::caller())
    }

    fn sendrecv_at<P: Payload + ?Sized, Q: PayloadMut + ?Sized>(
        &self,
        data: &P,
        to: Dest,
        buffer: &mut Q,
        from: Source,
        location: &'static Location<'static>,
    ) -> Result<Status> {
        let call = self.call(&SENDRECV, location).peer(to.peer()).tag(Some(to.tag));
        let outgoing = to.envelope(&call)?;
        let receiving = call.peer(from.peer()).tag(from.tag);
        let incoming = from.envelope(&receiving)?;
        let view = sent(&call, data)?;
        let room = filled(&receiving, buffer)?;
        let raw = p2p::sendrecv(&call, view, outgoing, room, incoming)?;
        status_of::<Q::Element>(&receiving, &raw)
    }

    /// Sends a buffer and receives into the same one.
    ///
    /// # Errors
    /// Those of [`send`](Comm::send) and [`recv_into`](Comm::recv_into).
    ///
    /// MPI: `MPI_Sendrecv_replace`, MPI-4.1 section 3.11. The order of the parts is that of
    /// [`sendrecv`](Comm::sendrecv).
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let (rank, size) = (world.rank(), world.size());
    /// let mut token = [rank];
    /// world.sendrecv_replace(&mut token, (rank + 1) % size, (rank + size - 1) % size)?;
    /// assert_eq!(token, [(rank + size - 1) % size]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn sendrecv_replace<B: BufferMut + ?Sized>(
        &self,
        buffer: &mut B,
        to: impl Into<Dest>,
        from: impl Into<Source>,
    ) -> Result<Status> {
        let (to, from) = (to.into(), from.into());
        let call =
            self.call(&SENDRECV_REPLACE, Location::caller()).peer(to.peer()).tag(Some(to.tag));
        let outgoing = to.envelope(&call)?;
        let receiving = call.peer(from.peer()).tag(from.tag);
        let incoming = from.envelope(&receiving)?;
        let raw = replace(&call, buffer, outgoing, incoming)?;
        status_of::<B::Element>(&receiving, &raw)
    }
}

/// Sends a buffer and receives into the same one.
pub(crate) fn replace<B: BufferMut + ?Sized>(
    call: &Call<'_>,
    buffer: &mut B,
    to: Envelope,
    from: Envelope,
) -> Result<RawStatus> {
    if policy() == Policy::Poll {
        // The library's own call would wait in its own way; it copies the buffer too.
        let data = buffer.elements().to_vec();
        p2p::sendrecv(call, sent(call, &data)?, to, filled(call, buffer)?, from)
    } else {
        p2p::sendrecv_replace(call, filled(call, buffer)?, to, from)
    }
}

//! Every rank gives to the rank at one distance and takes from the rank at the opposite one.

use std::panic::Location;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::comm::{Comm, Dest, Status};
use crate::datatype::{Buffer, Element, Payload, PayloadMut, filled, is_all, sent};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{self, Bincode};
use crate::p2p::status_of;
use crate::raw::View;
use crate::raw::p2p::{self, Mode};
use crate::record::{Call, Peer, SHIFT, SHIFT_INTO, SHIFT_OBJECT, SHIFT_OPEN, SHIFT_OPEN_OBJECT};

/// Whom a rank gives to and takes from.
#[derive(Clone, Copy)]
struct Neighbors {
    to: Option<usize>,
    from: Option<usize>,
}

/// # Exchanges that cannot deadlock: along the ranks
impl Comm {
    /// Gives elements to the rank that is `distance` above and returns those of the rank that is as
    /// far below, around the ring: `shift(&x, 1)` returns what the left neighbour gave. Collective;
    /// the distance is the same everywhere, and so is the length of the buffer.
    ///
    /// Any distance goes: a negative one shifts down, one above the size goes around.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) or [`Truncated`](ErrorKind::Truncated) if the
    /// neighbour gave fewer or more elements.
    ///
    /// MPI: `MPI_Sendrecv`, MPI-4.1 section 3.11, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let (rank, size) = (world.rank(), world.size());
    /// assert_eq!(world.shift(&rank, 1)?, (rank + size - 1) % size); // of the left neighbour
    /// assert_eq!(world.shift(&[rank; 2], -1)?, [(rank + 1) % size; 2]); // of the right one
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn shift<B: Buffer + ?Sized>(&self, data: &B, distance: isize) -> Result<B::Owned> {
        let call = self.private_call(&SHIFT, Location::caller());
        let mut received = data.zeroed();
        let neighbors = self.around(distance);
        let got = self.shift_at(&call, data, &mut received, neighbors)?;
        expect_all::<B::Element>(&call, data.elements().len(), got)?;
        Ok(received)
    }

    /// [`shift`](Comm::shift) into a buffer of the caller's, which may be longer than what comes.
    /// Collective.
    ///
    /// # Errors
    /// [`Truncated`](ErrorKind::Truncated) if the buffer is too short.
    ///
    /// MPI: `MPI_Sendrecv`, MPI-4.1 section 3.11, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut received = vec![0; world.size()];
    /// let got = world.shift_into(&vec![7; world.rank()], &mut received, 1)?;
    /// assert_eq!(Some(got.len), got.source); // as many as the neighbour's rank
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn shift_into<P: Payload + ?Sized, Q: PayloadMut + ?Sized>(
        &self,
        data: &P,
        buffer: &mut Q,
        distance: isize,
    ) -> Result<Status> {
        let call = self.private_call(&SHIFT_INTO, Location::caller());
        self.shift_at(&call, data, buffer, self.around(distance))
    }

    /// [`shift`](Comm::shift) that does not go around: `None` on the ranks to which nobody gives.
    /// Collective.
    ///
    /// # Errors
    /// As [`shift`](Comm::shift).
    ///
    /// MPI: `MPI_Sendrecv` with `MPI_PROC_NULL`, MPI-4.1 section 3.11, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let left = world.shift_open(&world.rank(), 1)?;
    /// assert_eq!(left, world.rank().checked_sub(1));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn shift_open<B: Buffer + ?Sized>(
        &self,
        data: &B,
        distance: isize,
    ) -> Result<Option<B::Owned>> {
        let call = self.private_call(&SHIFT_OPEN, Location::caller());
        let neighbors = self.along(distance);
        let mut received = data.zeroed();
        let got = self.shift_at(&call, data, &mut received, neighbors)?;
        if neighbors.from.is_none() {
            return Ok(None);
        }
        expect_all::<B::Element>(&call, data.elements().len(), got)?;
        Ok(Some(received))
    }

    /// [`shift`](Comm::shift) of any serde value. Collective.
    ///
    /// # Errors
    /// [`Encode`](ErrorKind::Encode) if serde or the codec refuses the value, and an error on the rank
    /// that should have got it; [`TypeMismatch`](ErrorKind::TypeMismatch).
    ///
    /// MPI: `MPI_Isend`, `MPI_Mprobe`, `MPI_Mrecv`, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let (rank, size) = (world.rank(), world.size());
    /// let left = world.shift_object(&format!("rank {rank}"), 1)?;
    /// assert_eq!(left, format!("rank {}", (rank + size - 1) % size));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn shift_object<T>(&self, value: &T, distance: isize) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
    {
        let call = self.private_call(&SHIFT_OBJECT, Location::caller());
        let received = self.shift_object_at(&call, value, self.around(distance))?;
        received.ok_or_else(|| object::no_value(&call, self.rank()))
    }

    /// [`shift_open`](Comm::shift_open) of any serde value. Collective.
    ///
    /// # Errors
    /// As [`shift_object`](Comm::shift_object).
    ///
    /// MPI: `MPI_Isend`, `MPI_Mprobe`, `MPI_Mrecv`, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let left = world.shift_open_object(&"text".to_owned(), 1)?;
    /// assert_eq!(left.is_some(), world.rank() > 0);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn shift_open_object<T>(&self, value: &T, distance: isize) -> Result<Option<T>>
    where
        T: Serialize + DeserializeOwned,
    {
        let call = self.private_call(&SHIFT_OPEN_OBJECT, Location::caller());
        self.shift_object_at(&call, value, self.along(distance))
    }

    fn around(&self, distance: isize) -> Neighbors {
        let (rank, size) = (self.rank(), self.size());
        // Divisions take as long as the rest of all this.
        let up = match usize::try_from(distance) {
            Ok(up) if up < size => up,
            _ => distance.rem_euclid(size as isize) as usize,
        };
        let wrap = |rank: usize| if rank < size { rank } else { rank - size };
        Neighbors { to: Some(wrap(rank + up)), from: Some(wrap(rank + size - up)) }
    }

    fn along(&self, distance: isize) -> Neighbors {
        let (rank, distance) = (self.rank() as i128, distance as i128);
        let exists = |rank: i128| usize::try_from(rank).ok().filter(|&rank| rank < self.size());
        Neighbors { to: exists(rank + distance), from: exists(rank - distance) }
    }

    fn shift_at<P: Payload + ?Sized, Q: PayloadMut + ?Sized>(
        &self,
        call: &Call<'_>,
        data: &P,
        buffer: &mut Q,
        neighbors: Neighbors,
    ) -> Result<Status> {
        let permit = crate::raw::permit(call)?;
        let view = sent(call, data)?;
        let room = filled(call, buffer)?;
        let tag = self.next_collective_tag(&permit, call);
        let (sending, receiving) = halves(call, neighbors, tag);
        let to = crate::to(neighbors.to).tag(tag).envelope(&sending)?;
        let from = crate::from(neighbors.from).tag(tag).envelope(&receiving)?;
        let raw = p2p::sendrecv(&sending, view, to, room, from)?;
        status_of::<Q::Element>(&receiving, &raw)
    }

    fn shift_object_at<T>(
        &self,
        call: &Call<'_>,
        value: &T,
        neighbors: Neighbors,
    ) -> Result<Option<T>>
    where
        T: Serialize + DeserializeOwned,
    {
        let permit = crate::raw::permit(call)?;
        let tag = self.next_collective_tag(&permit, call);
        let (sending, receiving) = halves(call, neighbors, tag);
        let encoded = object::to_bytes_checked::<Bincode, T>(&sending, value);
        // An empty message says that there is no value.
        let message = encoded.as_deref().unwrap_or(&[]);
        let to: Dest = crate::to(neighbors.to).tag(tag);
        let received = self.scope_at(true, call.location, |scope| {
            scope.start_send(
                &sending,
                Mode::Standard,
                View::bytes(message),
                to.envelope(&sending)?,
            )?;
            let received = match neighbors.from {
                Some(from) => Some((from, self.receive_bytes(&receiving, from, tag)?)),
                None => None,
            };
            scope.outcomes(&sending)?.into_iter().try_for_each(|outcome| outcome.map(drop))?;
            Ok(received)
        })?;
        encoded?;
        let open = |(from, bytes): (usize, Vec<u8>)| object::open_from(&receiving, &bytes, from);
        received.map(open).transpose()
    }
}

/// What errors say of the two halves.
fn halves<'a>(call: &Call<'a>, neighbors: Neighbors, tag: i32) -> (Call<'a>, Call<'a>) {
    let call = call.tag(Some(tag));
    (
        call.peer(neighbors.to.map_or(Peer::Null, Peer::To)),
        call.peer(neighbors.from.map_or(Peer::Null, Peer::From)),
    )
}

fn expect_all<T: Element>(call: &Call<'_>, expected: usize, got: Status) -> Result<()> {
    if is_all::<T>(expected, got.len) {
        return Ok(());
    }
    let call = call.peer(got.source.map_or(Peer::Null, Peer::From));
    let detail = format!("{expected} elements were given, {} came: shift_into takes both", got.len);
    Err(Error::new(ErrorKind::InvalidLength, &call, detail))
}

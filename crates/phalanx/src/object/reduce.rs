//! Reductions of objects, along trees and chains of messages on the private communicator.
//!
//! The order of the ranks is kept: `f` gets the lower ranks' value on the left. An empty message says
//! that its sender has no value because of an error.

use std::panic::Location;

use phalanx_codec::{Bincode, Codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire;
use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::p2p::{self, Envelope, Mode};
use crate::raw::{self, View, ViewMut, collective};
use crate::record::{ALLREDUCE_OBJECT, Call, EXSCAN_OBJECT, Peer, REDUCE_OBJECT, SCAN_OBJECT};

/// # Reductions of objects
impl Comm {
    /// Combines the values of all ranks with `f`, which is associative; the root gets the result.
    /// `Some` on the root alone. Collective.
    ///
    /// `f(a, b)` gets the value of the lower ranks as `a`.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); on the root an error if a value on the way could not be
    /// encoded; [`TypeMismatch`](ErrorKind::TypeMismatch).
    ///
    /// MPI: messages along a binomial tree.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let words = vec![format!("word {}", world.rank())];
    /// let all = world.reduce_object(words, |mut a, b| { a.extend(b); a }, 0)?;
    /// assert_eq!(all.map(|words| words.len()), (world.rank() == 0).then_some(world.size()));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn reduce_object<T, F>(&self, value: T, f: F, root: usize) -> Result<Option<T>>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(T, T) -> T,
    {
        self.reduce_object_with::<Bincode, T>(value, f, root)
    }

    /// [`reduce_object`](Comm::reduce_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`reduce_object`](Comm::reduce_object).
    ///
    /// MPI: as [`reduce_object`](Comm::reduce_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let sum = world.reduce_object_with::<Bincode, _>(1, |a, b| a + b, 0)?;
    /// assert_eq!(sum, (world.rank() == 0).then_some(world.size() as i32));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn reduce_object_with<C, T>(
        &self,
        value: T,
        f: impl Fn(T, T) -> T,
        root: usize,
    ) -> Result<Option<T>>
    where
        C: Codec,
        T: Serialize + DeserializeOwned,
    {
        let location = Location::caller();
        let call = self.call(&REDUCE_OBJECT, location).root(root);
        let permit = crate::raw::permit(&call)?;
        self.check_root(&call, root).map_err(|error| collective::refused(&call, error))?;
        raw::agree(&self.call(&REDUCE_OBJECT, location).root(root))?;
        let call = self.private_call(&REDUCE_OBJECT, location).root(root);
        let tag = self.next_collective_tag(&permit, &call);
        let result = self.reduce_to_first::<C, T>(&call, value, f, tag);
        // The tree ends at rank 0, which keeps the order of the ranks for every root.
        match (self.rank(), root) {
            (0, 0) => result,
            (0, _) => {
                self.pass_on::<C, T>(&call, result.as_ref().map(Option::as_ref), root, tag)?;
                result.map(|_| None)
            }
            (rank, _) if rank == root => {
                // Rank 0 sends in any case: what it sends is taken away.
                let received = self.receive_from::<C, T>(&call, 0, tag);
                result?;
                received.map(Some)
            }
            _ => result.map(|_| None),
        }
    }

    /// Combines the values of all ranks with `f`, which is associative; every rank gets the result.
    /// Collective.
    ///
    /// # Errors
    /// On every rank an error if a value on the way could not be encoded;
    /// [`TypeMismatch`](ErrorKind::TypeMismatch).
    ///
    /// MPI: messages along a binomial tree, then `MPI_Bcast`.
    ///
    /// ```
    /// use std::collections::BTreeSet;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mine = BTreeSet::from([world.rank() % 2]);
    /// let all = world.allreduce_object(mine, |a, b| a.union(&b).copied().collect())?;
    /// assert!(all.contains(&0));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn allreduce_object<T, F>(&self, value: T, f: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(T, T) -> T,
    {
        self.allreduce_object_with::<Bincode, T>(value, f)
    }

    /// [`allreduce_object`](Comm::allreduce_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`allreduce_object`](Comm::allreduce_object).
    ///
    /// MPI: as [`allreduce_object`](Comm::allreduce_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let sum = world.allreduce_object_with::<Bincode, _>(1, |a, b| a + b)?;
    /// assert_eq!(sum as usize, world.size());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn allreduce_object_with<C, T>(&self, value: T, f: impl Fn(T, T) -> T) -> Result<T>
    where
        C: Codec,
        T: Serialize + DeserializeOwned,
    {
        let location = Location::caller();
        let permit = crate::raw::permit(&self.call(&ALLREDUCE_OBJECT, location))?;
        raw::agree(&self.call(&ALLREDUCE_OBJECT, location))?;
        let call = self.private_call(&ALLREDUCE_OBJECT, location);
        let tag = self.next_collective_tag(&permit, &call);
        let reduced = self.reduce_to_first::<C, T>(&call, value, f, tag);
        let call = self.call(&ALLREDUCE_OBJECT, location);
        let (encoded, own) = match reduced {
            Ok(Some(value)) => (wire::to_bytes_checked::<C, T>(&call, &value), Ok(Some(value))),
            Ok(None) => (Ok(Vec::new()), Ok(None)),
            Err(error) if self.rank() == 0 => (Err(error), Ok(None)),
            Err(error) => (Ok(Vec::new()), Err(error)),
        };
        let received = self.bcast_encoded::<C, T>(&call, encoded, 0);
        let own = own?;
        received?.or(own).ok_or_else(|| no_value(&call, 0))
    }

    /// Combines the values of the ranks from 0 to this one with `f`, which is associative. Collective.
    ///
    /// # Errors
    /// An error if a value of a lower rank could not be encoded;
    /// [`TypeMismatch`](ErrorKind::TypeMismatch).
    ///
    /// MPI: messages along a chain.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let path = world.scan_object(format!("/{}", world.rank()), |a, b| a + &b)?;
    /// assert!(path.ends_with(&format!("/{}", world.rank())));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn scan_object<T, F>(&self, value: T, f: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(T, T) -> T,
    {
        self.scan_object_with::<Bincode, T>(value, f)
    }

    /// [`scan_object`](Comm::scan_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`scan_object`](Comm::scan_object).
    ///
    /// MPI: as [`scan_object`](Comm::scan_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let sum = world.scan_object_with::<Bincode, _>(1, |a, b| a + b)?;
    /// assert_eq!(sum as usize, world.rank() + 1);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn scan_object_with<C, T>(&self, value: T, f: impl Fn(T, T) -> T) -> Result<T>
    where
        C: Codec,
        T: Serialize + DeserializeOwned,
    {
        let permit = crate::raw::permit(&self.call(&SCAN_OBJECT, Location::caller()))?;
        raw::agree(&self.call(&SCAN_OBJECT, Location::caller()))?;
        let call = self.private_call(&SCAN_OBJECT, Location::caller());
        let tag = self.next_collective_tag(&permit, &call);
        let combined = match self.rank() {
            0 => Ok(value),
            rank => self.receive_from::<C, T>(&call, rank - 1, tag).map(|before| f(before, value)),
        };
        if self.rank() + 1 < self.size() {
            self.pass_on::<C, T>(&call, combined.as_ref().map(Some), self.rank() + 1, tag)?;
        }
        combined
    }

    /// Combines the values of the ranks before this one with `f`, which is associative. `None` on rank
    /// 0. Collective.
    ///
    /// # Errors
    /// As [`scan_object`](Comm::scan_object).
    ///
    /// MPI: messages along a chain.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let before = world.exscan_object(vec![world.rank()], |mut a, b| { a.extend(b); a })?;
    /// assert_eq!(before.map_or(0, |ranks| ranks.len()), world.rank());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn exscan_object<T, F>(&self, value: T, f: F) -> Result<Option<T>>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(T, T) -> T,
    {
        self.exscan_object_with::<Bincode, T>(value, f)
    }

    /// [`exscan_object`](Comm::exscan_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`exscan_object`](Comm::exscan_object).
    ///
    /// MPI: as [`exscan_object`](Comm::exscan_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let sum = world.exscan_object_with::<Bincode, _>(1, |a, b| a + b)?;
    /// assert_eq!(sum.unwrap_or(0) as usize, world.rank());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn exscan_object_with<C, T>(&self, value: T, f: impl Fn(T, T) -> T) -> Result<Option<T>>
    where
        C: Codec,
        T: Serialize + DeserializeOwned,
    {
        let permit = crate::raw::permit(&self.call(&EXSCAN_OBJECT, Location::caller()))?;
        raw::agree(&self.call(&EXSCAN_OBJECT, Location::caller()))?;
        let call = self.private_call(&EXSCAN_OBJECT, Location::caller());
        let tag = self.next_collective_tag(&permit, &call);
        let (rank, next) = (self.rank(), self.rank() + 1);
        if rank == 0 {
            if next < self.size() {
                self.pass_on::<C, T>(&call, Ok(Some(&value)), next, tag)?;
            }
            return Ok(None);
        }
        let message = self.receive_bytes(&call, rank - 1, tag)?;
        let before = open_from_with::<C, T>(&call, &message, rank - 1);
        if next < self.size() {
            // Once more from the bytes: the value itself is this rank's result.
            let again =
                open_from_with::<C, T>(&call, &message, rank - 1).map(|before| f(before, value));
            self.pass_on::<C, T>(&call, again.as_ref().map(Some), next, tag)?;
        }
        before.map(Some)
    }

    /// A binomial tree that ends at rank 0: each rank combines the ranks right above it, then sends
    /// down. `Some` on rank 0 alone.
    fn reduce_to_first<C, T>(
        &self,
        call: &Call<'_>,
        value: T,
        f: impl Fn(T, T) -> T,
        tag: i32,
    ) -> Result<Option<T>>
    where
        C: Codec,
        T: Serialize + DeserializeOwned,
    {
        let (rank, size) = (self.rank(), self.size());
        let mut combined = Ok(value);
        let mut step = 1;
        while step < size {
            if rank & step != 0 {
                self.pass_on::<C, T>(call, combined.as_ref().map(Some), rank - step, tag)?;
                return combined.map(|_| None);
            }
            if rank + step < size {
                // What comes is taken even if this rank has failed: its sender waits.
                let upper = self.receive_from::<C, T>(call, rank + step, tag);
                combined = combined.and_then(|lower| Ok(f(lower, upper?)));
            }
            step *= 2;
        }
        combined.map(Some)
    }

    /// Sends a value, or the news that there is none.
    fn pass_on<C: Codec, T: Serialize>(
        &self,
        call: &Call<'_>,
        value: Result<Option<&T>, &Error>,
        to: usize,
        tag: i32,
    ) -> Result<()> {
        let call = call.peer(Peer::To(to)).tag(Some(tag));
        let envelope = Envelope { rank: to as i32, tag };
        let encoded = match value {
            Ok(Some(value)) => wire::to_bytes::<C, T>(&call, value),
            Ok(None) | Err(_) => Ok(Vec::new()),
        };
        let message = encoded.as_deref().unwrap_or(&[]);
        p2p::send(&call, Mode::Standard, View::bytes(message), envelope)?;
        encoded.map(drop)
    }

    pub(crate) fn receive_bytes(&self, call: &Call<'_>, from: usize, tag: i32) -> Result<Vec<u8>> {
        let call = call.peer(Peer::From(from)).tag(Some(tag));
        let matched = p2p::probe(&call, Envelope { rank: from as i32, tag })?;
        let mut bytes = vec![0; matched.status.bytes(&call)?];
        p2p::mrecv(&call, matched, ViewMut::bytes(&mut bytes))?;
        Ok(bytes)
    }

    fn receive_from<C: Codec, T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        from: usize,
        tag: i32,
    ) -> Result<T> {
        open_from_with::<C, T>(call, &self.receive_bytes(call, from, tag)?, from)
    }
}

/// Opens a message of the default codec from another rank; an empty one says that its sender failed.
pub(crate) fn open_from<T: DeserializeOwned>(
    call: &Call<'_>,
    message: &[u8],
    from: usize,
) -> Result<T> {
    open_from_with::<Bincode, T>(call, message, from)
}

fn open_from_with<C: Codec, T: DeserializeOwned>(
    call: &Call<'_>,
    message: &[u8],
    from: usize,
) -> Result<T> {
    let call = call.peer(Peer::From(from));
    if message.is_empty() {
        return Err(no_value(&call, from));
    }
    wire::decode::<C, T>(&call, message)
}

#[cold]
pub(crate) fn no_value(call: &Call<'_>, from: usize) -> Error {
    let detail = format!("rank {from} has no value to pass on; an error on a rank says why");
    Error::new(ErrorKind::Mismatch, call, detail)
}

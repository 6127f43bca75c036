//! Collective operations on objects. Every rank hears of the lengths first, so that a value which
//! cannot be encoded on one rank is an error on all, and nobody waits.

use std::panic::Location;

use phalanx_codec::{Bincode, Codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire;
use crate::collective::{Aside, PerRank, Shares};
use crate::comm::Comm;
use crate::datatype::{view_of, view_of_mut};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::collective::{self as raw, Form, Input};
use crate::raw::{View, ViewMut, state};
use crate::record::{
    ALLGATHER_OBJECT, ALLTOALL_OBJECT, BCAST_OBJECT, Call, GATHER_OBJECT, SCATTER_OBJECT,
};
use crate::request::Run;

/// What a rank tells instead of a length when it has nothing to send because of an error.
const FAILED: u64 = u64::MAX;
/// The first packet of a broadcast: small values fit into it.
const FIRST_PACKET: usize = 1024;
const LENGTH: usize = size_of::<u64>();

/// Lengths that have been told, none of which says that a rank failed.
fn known(lengths: &[u64]) -> Vec<usize> {
    lengths.iter().map(|&length| length as usize).collect()
}

/// The error on the ranks that are not to blame.
fn somebody_failed(call: &Call<'_>, lengths: &[u64]) -> Result<()> {
    match lengths.iter().position(|&length| length == FAILED) {
        None => Ok(()),
        Some(rank) => Err(Error::new(
            ErrorKind::Mismatch,
            call,
            format!("rank {rank} could not give a value; its own error says why"),
        )),
    }
}

fn length_or_failure<T>(encoded: &Result<T>, length: impl Fn(&T) -> usize) -> u64 {
    encoded.as_ref().map_or(FAILED, |it| length(it) as u64)
}

/// # Collectives of objects
impl Comm {
    /// Gives every rank the root's value. `value` is `Some` on the root; what other ranks pass is dropped.
    /// Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); on every rank an error if the root gives `None` or its
    /// value cannot be encoded; [`TypeMismatch`](ErrorKind::TypeMismatch).
    ///
    /// MPI: `MPI_Bcast` once for small values, twice for larger ones; MPI-4.1 section 6.4.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let config = (world.rank() == 0).then(|| ("threshold".to_owned(), 0.5));
    /// let (name, value) = world.bcast_object(config, 0)?;
    /// assert_eq!((name.as_str(), value), ("threshold", 0.5));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn bcast_object<T>(&self, value: Option<T>, root: usize) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
    {
        self.bcast_object_with::<Bincode, T>(value, root)
    }

    /// [`bcast_object`](Comm::bcast_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`bcast_object`](Comm::bcast_object).
    ///
    /// MPI: as [`bcast_object`](Comm::bcast_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let text = (world.rank() == 0).then(|| "all get this".to_owned());
    /// let text = world.bcast_object_with::<Bincode, _>(text, 0)?;
    /// assert_eq!(text, "all get this");
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn bcast_object_with<C, T>(&self, value: Option<T>, root: usize) -> Result<T>
    where
        C: Codec,
        T: Serialize + DeserializeOwned,
    {
        let call = self.call(&BCAST_OBJECT, Location::caller()).root(root);
        let _permit = state::permit(&call)?;
        self.check_root(&call, root).map_err(|error| raw::refused(&call, error))?;
        let encoded = match &value {
            _ if self.rank() != root => Ok(Vec::new()),
            Some(value) => wire::to_bytes_checked::<C, T>(&call, value),
            None => Err(nothing_given(&call)),
        };
        self.bcast_encoded::<C, T>(&call, encoded, root)?
            .or(value)
            .ok_or_else(|| nothing_given(&call))
    }

    /// Broadcasts the root's message, or the news that there is none. `None` on the root.
    pub(super) fn bcast_encoded<C: Codec, T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        encoded: Result<Vec<u8>>,
        root: usize,
    ) -> Result<Option<T>> {
        let at_root = self.rank() == root;
        let mut packet = [0; FIRST_PACKET];
        if at_root {
            packet[..LENGTH].copy_from_slice(&length_or_failure(&encoded, Vec::len).to_le_bytes());
            if let Ok(bytes) = &encoded {
                let first = bytes.len().min(FIRST_PACKET - LENGTH);
                packet[LENGTH..LENGTH + first].copy_from_slice(&bytes[..first]);
            }
        }
        raw::bcast(call, Form::Blocking, ViewMut::bytes(&mut packet), root)?;
        let mut bytes = encoded?;
        let mut length = [0; LENGTH];
        length.copy_from_slice(&packet[..LENGTH]);
        let length = u64::from_le_bytes(length);
        if length == FAILED {
            let detail = "the root could not give a value; its own error says why";
            return Err(Error::new(ErrorKind::Mismatch, call, detail));
        }
        let (length, first) = (length as usize, &packet[LENGTH..]);
        if length > first.len() {
            if !at_root {
                bytes = vec![0; length];
                bytes[..first.len()].copy_from_slice(first);
            }
            let rest = ViewMut::bytes(&mut bytes[first.len()..]);
            raw::bcast(call, Form::Blocking, rest, root)?;
        }
        if at_root {
            return Ok(None);
        }
        let message = first.get(..length).unwrap_or(&bytes);
        wire::decode::<C, T>(call, message).map(Some)
    }

    /// Collects a value of every rank at the root, in the order of the ranks. `Some` on the root alone.
    /// Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); on every rank an error if a value cannot be encoded;
    /// [`TypeMismatch`](ErrorKind::TypeMismatch).
    ///
    /// MPI: `MPI_Allgather` of the lengths, then `MPI_Gatherv`; MPI-4.1 section 6.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let names = world.gather_object(&format!("rank {}", world.rank()), 0)?;
    /// if let Some(names) = names {
    ///     assert_eq!(names[0], "rank 0");
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn gather_object<T>(&self, value: &T, root: usize) -> Result<Option<Vec<T>>>
    where
        T: Serialize + DeserializeOwned,
    {
        self.gather_object_with::<Bincode, T>(value, root)
    }

    /// [`gather_object`](Comm::gather_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`gather_object`](Comm::gather_object).
    ///
    /// MPI: as [`gather_object`](Comm::gather_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ranks = world.gather_object_with::<Bincode, _>(&world.rank(), 0)?;
    /// assert_eq!(ranks, (world.rank() == 0).then(|| (0..world.size()).collect::<Vec<_>>()));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn gather_object_with<C, T>(&self, value: &T, root: usize) -> Result<Option<Vec<T>>>
    where
        C: Codec,
        T: Serialize + DeserializeOwned,
    {
        let call = self.call(&GATHER_OBJECT, Location::caller()).root(root);
        let _permit = state::permit(&call)?;
        self.check_root(&call, root).map_err(|error| raw::refused(&call, error))?;
        let encoded = wire::to_bytes_checked::<C, T>(&call, value);
        let lengths = self.allgather_lengths(&call, length_or_failure(&encoded, Vec::len))?;
        let mine = encoded?;
        somebody_failed(&call, &lengths)?;
        let (run, send) = (&mut Run::Now, View::bytes(&mine));
        let aside = &mut Aside::default();
        if self.rank() != root {
            self.gather_shares(&call, run, send, None, aside, root)?;
            return Ok(None);
        }
        let lengths = known(&lengths);
        let shares = Shares::new(&call, &lengths, 1)?;
        let mut all = vec![0; lengths.iter().sum()];
        let recv = Some((ViewMut::bytes(&mut all), &shares));
        self.gather_shares(&call, run, send, recv, aside, root)?;
        open_all::<C, T>(&call, lengths, all).map(Some)
    }

    /// Collects a value of every rank on every rank, in the order of the ranks. Collective.
    ///
    /// # Errors
    /// On every rank an error if a value cannot be encoded; [`TypeMismatch`](ErrorKind::TypeMismatch).
    ///
    /// MPI: `MPI_Allgather` of the lengths, then `MPI_Allgatherv`; MPI-4.1 section 6.7.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let hosts = world.allgather_object(&phalanx::processor_name()?)?;
    /// assert_eq!(hosts.len(), world.size());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn allgather_object<T>(&self, value: &T) -> Result<Vec<T>>
    where
        T: Serialize + DeserializeOwned,
    {
        self.allgather_object_with::<Bincode, T>(value)
    }

    /// [`allgather_object`](Comm::allgather_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`allgather_object`](Comm::allgather_object).
    ///
    /// MPI: as [`allgather_object`](Comm::allgather_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ranks = world.allgather_object_with::<Bincode, _>(&world.rank())?;
    /// assert_eq!(ranks, (0..world.size()).collect::<Vec<_>>());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn allgather_object_with<C, T>(&self, value: &T) -> Result<Vec<T>>
    where
        C: Codec,
        T: Serialize + DeserializeOwned,
    {
        let call = self.call(&ALLGATHER_OBJECT, Location::caller());
        let _permit = state::permit(&call)?;
        let encoded = wire::to_bytes_checked::<C, T>(&call, value);
        let lengths = self.allgather_lengths(&call, length_or_failure(&encoded, Vec::len))?;
        let mine = encoded?;
        somebody_failed(&call, &lengths)?;
        let lengths = known(&lengths);
        let shares = Shares::new(&call, &lengths, 1)?;
        let mut all = vec![0; lengths.iter().sum()];
        let (send, recv) = (View::bytes(&mine), (ViewMut::bytes(&mut all), &shares));
        self.allgather_shares(&call, &mut Run::Now, send, recv, &mut Aside::default())?;
        open_all::<C, T>(&call, lengths, all)
    }

    /// Gives every rank its value of the root's. `values` is `Some` on the root alone and holds one for
    /// each rank. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); on every rank an error if the root gives `None` or
    /// another number of values, or one of them cannot be encoded;
    /// [`TypeMismatch`](ErrorKind::TypeMismatch).
    ///
    /// MPI: `MPI_Scatter` of the lengths, then `MPI_Scatterv`; MPI-4.1 section 6.6.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let tasks = (world.rank() == 0)
    ///     .then(|| (0..world.size()).map(|rank| format!("task {rank}")).collect::<Vec<_>>());
    /// let mine: String = world.scatter_object(tasks.as_deref(), 0)?;
    /// assert_eq!(mine, format!("task {}", world.rank()));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn scatter_object<T>(&self, values: Option<&[T]>, root: usize) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
    {
        self.scatter_object_with::<Bincode, T>(values, root)
    }

    /// [`scatter_object`](Comm::scatter_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`scatter_object`](Comm::scatter_object).
    ///
    /// MPI: as [`scatter_object`](Comm::scatter_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let tasks: Option<Vec<_>> = (world.rank() == 0).then(|| (0..world.size()).collect());
    /// let mine = world.scatter_object_with::<Bincode, _>(tasks.as_deref(), 0)?;
    /// assert_eq!(mine, world.rank());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn scatter_object_with<C, T>(&self, values: Option<&[T]>, root: usize) -> Result<T>
    where
        C: Codec,
        T: Serialize + DeserializeOwned,
    {
        let call = self.call(&SCATTER_OBJECT, Location::caller()).root(root);
        let _permit = state::permit(&call)?;
        self.check_root(&call, root).map_err(|error| raw::refused(&call, error))?;
        let at_root = self.rank() == root;
        let encoded = match values {
            _ if !at_root => Ok(None),
            None => Err(nothing_given(&call)),
            Some(values) => self.encode_each::<C, T>(&call, values).and_then(|(bytes, lengths)| {
                Ok(Some((bytes, Shares::new(&call, &known(&lengths), 1)?, lengths)))
            }),
        };
        let failed = vec![FAILED; self.size()];
        let lengths = match &encoded {
            Ok(Some((_, _, lengths))) => Some(&lengths[..]),
            Ok(None) => None,
            Err(_) => Some(&failed[..]),
        };
        let mut length = [0];
        let send = lengths.map(|it| view_of(&call, it)).transpose()?;
        raw::scatter(&call, Form::Blocking, send, view_of_mut(&call, &mut length)?, root)?;
        let encoded = encoded?;
        if length[0] == FAILED {
            let detail = format!("rank {root} could not give the values; its own error says why");
            return Err(Error::new(ErrorKind::Mismatch, &call, detail));
        }
        let mut mine = vec![0; length[0] as usize];
        let send = encoded.as_ref().map(|(bytes, shares, _)| (View::bytes(bytes), shares));
        let (run, recv) = (&mut Run::Now, ViewMut::bytes(&mut mine));
        self.scatter_shares(&call, run, send, recv, &mut Aside::default(), root)?;
        wire::decode::<C, T>(&call, &mine)
    }

    /// Gives every rank its value of this rank's, and takes one from every rank. `values` holds one for
    /// each rank. Collective.
    ///
    /// # Errors
    /// On every rank an error if one of them gives another number of values or one that cannot be
    /// encoded; [`TypeMismatch`](ErrorKind::TypeMismatch).
    ///
    /// MPI: `MPI_Alltoall` of the lengths, then `MPI_Alltoallv`; MPI-4.1 section 6.8.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let letters: Vec<String> =
    ///     (0..world.size()).map(|to| format!("{} to {to}", world.rank())).collect();
    /// let inbox = world.alltoall_object(&letters)?;
    /// assert_eq!(inbox[0], format!("0 to {}", world.rank()));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn alltoall_object<T>(&self, values: &[T]) -> Result<Vec<T>>
    where
        T: Serialize + DeserializeOwned,
    {
        self.alltoall_object_with::<Bincode, T>(values)
    }

    /// [`alltoall_object`](Comm::alltoall_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`alltoall_object`](Comm::alltoall_object).
    ///
    /// MPI: as [`alltoall_object`](Comm::alltoall_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let inbox = world.alltoall_object_with::<Bincode, _>(&vec![world.rank(); world.size()])?;
    /// assert_eq!(inbox, (0..world.size()).collect::<Vec<_>>());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn alltoall_object_with<C, T>(&self, values: &[T]) -> Result<Vec<T>>
    where
        C: Codec,
        T: Serialize + DeserializeOwned,
    {
        let call = self.call(&ALLTOALL_OBJECT, Location::caller());
        let _permit = state::permit(&call)?;
        let encoded = self.encode_each::<C, T>(&call, values);
        let failed = vec![FAILED; self.size()];
        let outgoing = encoded.as_ref().map_or(&failed[..], |(_, lengths)| &lengths[..]);
        let mut incoming = vec![0; self.size()];
        let (send, recv) =
            (Input::View(view_of(&call, outgoing)?), view_of_mut(&call, &mut incoming)?);
        raw::alltoall(&call, Form::Blocking, send, recv)?;
        let (bytes, outgoing) = encoded?;
        somebody_failed(&call, &incoming)?;
        let incoming = known(&incoming);
        let outgoing = Shares::new(&call, &known(&outgoing), 1)?;
        let shares = Shares::new(&call, &incoming, 1)?;
        let mut all = vec![0; incoming.iter().sum()];
        let send = (View::bytes(&bytes), &outgoing);
        let recv = (ViewMut::bytes(&mut all), &shares);
        self.alltoall_shares(&call, &mut Run::Now, send, recv, &mut Aside::default())?;
        open_all::<C, T>(&call, incoming, all)
    }

    fn allgather_lengths(&self, call: &Call<'_>, mine: u64) -> Result<Vec<u64>> {
        let mut lengths = vec![0; self.size()];
        let mine = [mine];
        let (send, recv) = (Input::View(view_of(call, &mine)?), view_of_mut(call, &mut lengths)?);
        raw::allgather(call, Form::Blocking, send, recv)?;
        Ok(lengths)
    }

    /// One message for each rank, next to each other.
    fn encode_each<C: Codec, T: Serialize + DeserializeOwned>(
        &self,
        call: &Call<'_>,
        values: &[T],
    ) -> Result<(Vec<u8>, Vec<u64>)> {
        self.check_one_each(call, values)?;
        let mut bytes = Vec::new();
        let mut lengths = Vec::with_capacity(values.len());
        for value in values {
            let message = wire::to_bytes_checked::<C, T>(call, value)?;
            lengths.push(message.len() as u64);
            bytes.extend_from_slice(&message);
        }
        Ok((bytes, lengths))
    }

    pub(super) fn check_one_each<T>(&self, call: &Call<'_>, values: &[T]) -> Result<()> {
        let (given, ranks) = (values.len(), self.size());
        if given == ranks {
            return Ok(());
        }
        let detail = format!("{given} values were given for {ranks} ranks");
        Err(Error::new(ErrorKind::InvalidLength, call, detail))
    }
}

fn open_all<C: Codec, T: DeserializeOwned>(
    call: &Call<'_>,
    lengths: Vec<usize>,
    bytes: Vec<u8>,
) -> Result<Vec<T>> {
    let Some(blocks) = PerRank::from_flat(bytes, lengths) else {
        return Err(Error::new(ErrorKind::Decode, call, "the lengths do not add up"));
    };
    blocks.iter().map(|message| wire::decode::<C, T>(call, message)).collect()
}

#[cold]
pub(super) fn nothing_given(call: &Call<'_>) -> Error {
    Error::new(ErrorKind::InvalidLength, call, "the root must give a value, it gave `None`")
}

//! Objects that are sent and received later, and collectives of objects that complete later.

use std::panic::Location;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{Bincode, Codec};
use super::collective::nothing_given;
use super::flat::{Flat, Inbox, Message};
use super::incoming::{Incoming, Receiving};
use super::reduce::no_value;
use super::wire;
use crate::comm::{Comm, Dest, Source, Status};
use crate::error::Result;
use crate::raw::p2p::Mode;
use crate::record::{
    Call, IALLGATHER_OBJECT, IALLREDUCE_OBJECT, IALLTOALL_OBJECT, IBCAST_OBJECT, IGATHER_OBJECT,
    IRECV_OBJECT, IREDUCE_OBJECT, ISCATTER_OBJECT, ISEND_OBJECT, ISSEND_OBJECT, Operation,
};
use crate::request::{Request, from_task, start_steps};

/// The message of a rank and its own error. Without a value the others hear of it, in an empty one.
pub(super) fn or_empty(encoded: Result<Vec<u8>>) -> (Message, Result<()>) {
    match encoded {
        Ok(bytes) => (Arc::new(bytes), Ok(())),
        Err(error) => (Message::default(), Err(error)),
    }
}

/// Opens a message of a collective; an empty one says that its sender failed.
pub(super) fn open_one<C: Codec, T: DeserializeOwned>(
    call: &Call<'_>,
    message: &[u8],
    from: usize,
) -> Result<T> {
    if message.is_empty() {
        return Err(no_value(call, from));
    }
    wire::decode::<C, T>(call, message)
}

/// Puts this rank's own value among those of the others, in the order of the ranks.
fn in_order<C: Codec, T: DeserializeOwned>(
    call: &Call<'_>,
    inbox: Inbox,
    own: (usize, T),
) -> Result<Vec<T>> {
    let mut values: Vec<(usize, T)> = inbox
        .iter()
        .map(|(from, message)| Ok((*from, open_one::<C, T>(call, message, *from)?)))
        .collect::<Result<_>>()?;
    values.push(own);
    values.sort_by_key(|(rank, _)| *rank);
    Ok(values.into_iter().map(|(_, value)| value).collect())
}

/// # Non-blocking messages of objects
impl Comm {
    /// Starts to send any serde value, which is encoded before this returns.
    ///
    /// # Errors
    /// Those of [`send_object`](Comm::send_object).
    ///
    /// MPI: `MPI_Isend`, MPI-4.1 section 3.7.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let sending = world.isend_object(&Some("text"), me)?;
    /// assert_eq!(world.recv_object::<Option<String>>(me)?, Some("text".to_owned()));
    /// sending.wait()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn isend_object<T>(&self, value: &T, to: impl Into<Dest>) -> Result<Request<()>>
    where
        T: Serialize + ?Sized,
    {
        let (to, location) = (to.into(), Location::caller());
        self.isend_object_in::<Bincode, T>(&ISEND_OBJECT, Mode::Standard, value, to, location)
    }

    /// [`isend_object`](Comm::isend_object) with another [`Codec`].
    ///
    /// # Errors
    /// Those of [`send_object`](Comm::send_object).
    ///
    /// MPI: `MPI_Isend`, MPI-4.1 section 3.7.2.
    #[track_caller]
    pub fn isend_object_with<C, T>(&self, value: &T, to: impl Into<Dest>) -> Result<Request<()>>
    where
        C: Codec,
        T: Serialize + ?Sized,
    {
        let (to, location) = (to.into(), Location::caller());
        self.isend_object_in::<C, T>(&ISEND_OBJECT, Mode::Standard, value, to, location)
    }

    /// [`isend_object`](Comm::isend_object); complete when the receiver has begun to receive it.
    ///
    /// # Errors
    /// Those of [`send_object`](Comm::send_object).
    ///
    /// MPI: `MPI_Issend`, MPI-4.1 section 3.7.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let mut sending = world.issend_object("text", me)?;
    /// assert!(sending.test()?.is_none()); // nobody receives yet
    /// assert_eq!(world.recv_object::<String>(me)?, "text");
    /// sending.wait()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn issend_object<T>(&self, value: &T, to: impl Into<Dest>) -> Result<Request<()>>
    where
        T: Serialize + ?Sized,
    {
        let (to, location) = (to.into(), Location::caller());
        self.isend_object_in::<Bincode, T>(&ISSEND_OBJECT, Mode::Synchronous, value, to, location)
    }

    /// [`issend_object`](Comm::issend_object) with another [`Codec`].
    ///
    /// # Errors
    /// Those of [`send_object`](Comm::send_object).
    ///
    /// MPI: `MPI_Issend`, MPI-4.1 section 3.7.2.
    #[track_caller]
    pub fn issend_object_with<C, T>(&self, value: &T, to: impl Into<Dest>) -> Result<Request<()>>
    where
        C: Codec,
        T: Serialize + ?Sized,
    {
        let (to, location) = (to.into(), Location::caller());
        self.isend_object_in::<C, T>(&ISSEND_OBJECT, Mode::Synchronous, value, to, location)
    }

    /// Starts to receive a serde value of any length. It is matched in its turn among all receives of this
    /// rank, as MPI matches them, and its sender needs nothing more of this rank than that it calls MPI.
    ///
    /// # Errors
    /// [`InvalidRank`](crate::ErrorKind::InvalidRank), [`InvalidTag`](crate::ErrorKind::InvalidTag). When it
    /// completes: those of [`recv_object`](Comm::recv_object).
    ///
    /// MPI: `MPI_Irecv`, MPI-4.1 section 3.7.2; what is longer than 16 KiB follows on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let receiving = world.irecv_object::<Vec<String>>(me)?;
    /// world.send_object(&["a", "b"][..], me)?;
    /// assert_eq!(receiving.wait()?, ["a", "b"]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn irecv_object<T>(&self, from: impl Into<Source>) -> Result<Request<T>>
    where
        T: DeserializeOwned + 'static,
    {
        let location = Location::caller();
        self.irecv_object_in::<Bincode, T, T>(from.into(), location, |(value, _)| value)
    }

    /// [`irecv_object`](Comm::irecv_object), with the source, tag and length in bytes of the message.
    ///
    /// # Errors
    /// As [`irecv_object`](Comm::irecv_object).
    ///
    /// MPI: as [`irecv_object`](Comm::irecv_object).
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let receiving = world.irecv_object_with_status::<String>(any())?;
    /// world.send_object("text", world.rank())?;
    /// let (text, got) = receiving.wait()?;
    /// assert_eq!((text.as_str(), got.source), ("text", Some(world.rank())));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn irecv_object_with_status<T>(
        &self,
        from: impl Into<Source>,
    ) -> Result<Request<(T, Status)>>
    where
        T: DeserializeOwned + 'static,
    {
        self.irecv_object_in::<Bincode, T, _>(from.into(), Location::caller(), |both| both)
    }

    /// [`irecv_object`](Comm::irecv_object) with another [`Codec`].
    ///
    /// # Errors
    /// As [`irecv_object`](Comm::irecv_object).
    ///
    /// MPI: as [`irecv_object`](Comm::irecv_object).
    #[track_caller]
    pub fn irecv_object_with<C, T>(&self, from: impl Into<Source>) -> Result<Request<T>>
    where
        C: Codec + 'static,
        T: DeserializeOwned + 'static,
    {
        self.irecv_object_in::<C, T, T>(from.into(), Location::caller(), |(value, _)| value)
    }

    fn irecv_object_in<C, T, R>(
        &self,
        from: Source,
        location: &'static Location<'static>,
        finish: fn((T, Status)) -> R,
    ) -> Result<Request<R>>
    where
        C: Codec + 'static,
        T: DeserializeOwned + 'static,
        R: 'static,
    {
        let call = self.call(&IRECV_OBJECT, location).peer(from.peer()).tag(from.tag);
        let incoming = Incoming::start(&call, self.private(), from.envelope(&call)?)?;
        Ok(from_task(self, &call, Receiving::<C, T, R>::new(incoming, finish)))
    }
}

/// # Non-blocking collectives of objects
impl Comm {
    /// Starts to give every rank the root's value. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot); when it completes, those of
    /// [`bcast_object`](Comm::bcast_object).
    ///
    /// MPI: a message to every rank, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let text = (world.rank() == 0).then(|| "all hear this".to_owned());
    /// let text = world.ibcast_object(text, 0)?.wait()?;
    /// assert_eq!(text, "all hear this");
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ibcast_object<T>(&self, value: Option<T>, root: usize) -> Result<Request<T>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        self.ibcast_object_with::<Bincode, T>(value, root)
    }

    /// [`ibcast_object`](Comm::ibcast_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`ibcast_object`](Comm::ibcast_object).
    ///
    /// MPI: as [`ibcast_object`](Comm::ibcast_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let text = (world.rank() == 0).then(|| "all get this".to_owned());
    /// let text = world.ibcast_object_with::<Bincode, _>(text, 0)?.wait()?;
    /// assert_eq!(text, "all get this");
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ibcast_object_with<C, T>(&self, value: Option<T>, root: usize) -> Result<Request<T>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let call = self.private_call(&IBCAST_OBJECT, Location::caller()).root(root);
        let permit = crate::raw::permit(&call)?;
        self.check_root(&call, root)?;
        let tag = self.next_collective_tag(&permit, &call);
        if self.rank() != root {
            return self.start_from_root::<C, T>(&call, root, tag);
        }
        let encoded = value.as_ref().ok_or_else(|| nothing_given(&call));
        let encoded = encoded.and_then(|value| wire::to_bytes_checked::<C, T>(&call, value));
        let (message, encoded) = or_empty(encoded);
        let outgoing = self.others().map(|to| (to, message.clone()));
        let finish = move |_: Inbox, call: &Call<'_>| {
            encoded?;
            value.ok_or_else(|| nothing_given(call))
        };
        start_steps(self, &call, Flat::start(&call, tag, outgoing, [], finish)?)
    }

    fn others(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let rank = self.rank();
        (0..self.size()).filter(move |&other| other != rank)
    }

    /// Receives what the root has for this rank.
    fn start_from_root<C, T>(&self, call: &Call<'_>, root: usize, tag: i32) -> Result<Request<T>>
    where
        C: Codec + 'static,
        T: DeserializeOwned + 'static,
    {
        let finish = move |inbox: Inbox, call: &Call<'_>| match inbox.first() {
            Some((from, message)) => open_one::<C, T>(call, message, *from),
            None => Err(no_value(call, root)),
        };
        start_steps(self, call, Flat::start(call, tag, [], [root], finish)?)
    }

    /// Starts to collect a value of every rank at the root. `Some` on the root alone. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot); when it completes,
    /// [`TypeMismatch`](crate::ErrorKind::TypeMismatch), and an error on the root and on each rank whose value
    /// could not be encoded.
    ///
    /// MPI: a message from every rank, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let names = world.igather_object(format!("rank {}", world.rank()), 0)?.wait()?;
    /// assert_eq!(names.is_some(), world.rank() == 0);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn igather_object<T>(&self, value: T, root: usize) -> Result<Request<Option<Vec<T>>>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        self.igather_object_with::<Bincode, T>(value, root)
    }

    /// [`igather_object`](Comm::igather_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`igather_object`](Comm::igather_object).
    ///
    /// MPI: as [`igather_object`](Comm::igather_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ranks = world.igather_object_with::<Bincode, _>(world.rank(), 0)?.wait()?;
    /// assert_eq!(ranks, (world.rank() == 0).then(|| (0..world.size()).collect::<Vec<_>>()));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn igather_object_with<C, T>(
        &self,
        value: T,
        root: usize,
    ) -> Result<Request<Option<Vec<T>>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let call = self.private_call(&IGATHER_OBJECT, Location::caller()).root(root);
        self.start_gather::<C, T, _>(&call, value, root, |values| values)
    }

    /// Starts to combine the values of all ranks with `f`, in the order of the ranks; the root gets the
    /// result. `Some` on the root alone. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot); when it completes, those of
    /// [`reduce_object`](Comm::reduce_object).
    ///
    /// MPI: a message from every rank, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let longest = world
    ///     .ireduce_object("x".repeat(world.rank()), |a, b| if a.len() > b.len() { a } else { b }, 0)?
    ///     .wait()?;
    /// assert_eq!(longest.map(|text| text.len()), (world.rank() == 0).then_some(world.size() - 1));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ireduce_object<T, F>(&self, value: T, f: F, root: usize) -> Result<Request<Option<T>>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(T, T) -> T + Send + 'static,
    {
        self.ireduce_object_with::<Bincode, T>(value, f, root)
    }

    /// [`ireduce_object`](Comm::ireduce_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`ireduce_object`](Comm::ireduce_object).
    ///
    /// MPI: as [`ireduce_object`](Comm::ireduce_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let sum = world.ireduce_object_with::<Bincode, _>(1, |a, b| a + b, 0)?.wait()?;
    /// assert_eq!(sum, (world.rank() == 0).then_some(world.size() as i32));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ireduce_object_with<C, T>(
        &self,
        value: T,
        f: impl Fn(T, T) -> T + Send + 'static,
        root: usize,
    ) -> Result<Request<Option<T>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let call = self.private_call(&IREDUCE_OBJECT, Location::caller()).root(root);
        let reduce = move |values: Vec<T>| values.into_iter().reduce(f);
        Ok(self.start_gather::<C, T, _>(&call, value, root, reduce)?.map(Option::flatten))
    }

    /// Sends a value to the root, where `f` makes the result of all of them.
    fn start_gather<C, T, U>(
        &self,
        call: &Call<'_>,
        value: T,
        root: usize,
        f: impl FnOnce(Vec<T>) -> U + Send + 'static,
    ) -> Result<Request<Option<U>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        U: 'static,
    {
        let permit = crate::raw::permit(call)?;
        self.check_root(call, root)?;
        let tag = self.next_collective_tag(&permit, call);
        let rank = self.rank();
        if rank == root {
            let finish = move |inbox: Inbox, call: &Call<'_>| {
                in_order::<C, T>(call, inbox, (rank, value)).map(f).map(Some)
            };
            return start_steps(self, call, Flat::start(call, tag, [], self.others(), finish)?);
        }
        let (message, encoded) = or_empty(wire::to_bytes_checked::<C, T>(call, &value));
        let finish = move |_: Inbox, _: &Call<'_>| encoded.map(|()| None);
        start_steps(self, call, Flat::start(call, tag, [(root, message)], [], finish)?)
    }

    /// Starts to give every rank its value of the root's. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot); when it completes, those of
    /// [`scatter_object`](Comm::scatter_object).
    ///
    /// MPI: a message to every rank, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let tasks = (world.rank() == 0).then(|| vec!["task".to_owned(); world.size()]);
    /// let mine: String = world.iscatter_object(tasks, 0)?.wait()?;
    /// assert_eq!(mine, "task");
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iscatter_object<T>(&self, values: Option<Vec<T>>, root: usize) -> Result<Request<T>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        self.iscatter_object_with::<Bincode, T>(values, root)
    }

    /// [`iscatter_object`](Comm::iscatter_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`iscatter_object`](Comm::iscatter_object).
    ///
    /// MPI: as [`iscatter_object`](Comm::iscatter_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let tasks = (world.rank() == 0).then(|| (0..world.size()).collect::<Vec<_>>());
    /// let mine = world.iscatter_object_with::<Bincode, _>(tasks, 0)?.wait()?;
    /// assert_eq!(mine, world.rank());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iscatter_object_with<C, T>(
        &self,
        values: Option<Vec<T>>,
        root: usize,
    ) -> Result<Request<T>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let call = self.private_call(&ISCATTER_OBJECT, Location::caller()).root(root);
        let permit = crate::raw::permit(&call)?;
        self.check_root(&call, root)?;
        let tag = self.next_collective_tag(&permit, &call);
        if self.rank() != root {
            return self.start_from_root::<C, T>(&call, root, tag);
        }
        let given = values.ok_or_else(|| nothing_given(&call));
        let (outgoing, own) = self.apart::<C, T>(&call, given);
        let finish = move |_: Inbox, _: &Call<'_>| own;
        start_steps(self, &call, Flat::start(&call, tag, outgoing, [], finish)?)
    }

    /// A message for each of the others and this rank's own value, or an empty message for each and
    /// the error.
    fn apart<C: Codec, T: Serialize + DeserializeOwned>(
        &self,
        call: &Call<'_>,
        values: Result<Vec<T>>,
    ) -> (Vec<(usize, Message)>, Result<T>) {
        let encode = |values: Vec<T>| {
            self.check_one_each(call, &values)?;
            let mut outgoing = Vec::with_capacity(values.len());
            let mut own = None;
            for (to, value) in values.into_iter().enumerate() {
                if to == self.rank() {
                    own = Some(value);
                } else {
                    outgoing.push((to, Arc::new(wire::to_bytes_checked::<C, T>(call, &value)?)));
                }
            }
            Ok((outgoing, own.ok_or_else(|| nothing_given(call))))
        };
        values.and_then(encode).unwrap_or_else(|error| {
            (self.others().map(|to| (to, Message::default())).collect(), Err(error))
        })
    }

    /// Starts to collect a value of every rank on every rank. Collective.
    ///
    /// # Errors
    /// When it completes, those of [`allgather_object`](Comm::allgather_object).
    ///
    /// MPI: a message from every rank to every rank, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let names = world.iallgather_object(format!("rank {}", world.rank()))?.wait()?;
    /// assert_eq!(names.len(), world.size());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iallgather_object<T>(&self, value: T) -> Result<Request<Vec<T>>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        self.iallgather_object_with::<Bincode, T>(value)
    }

    /// [`iallgather_object`](Comm::iallgather_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`iallgather_object`](Comm::iallgather_object).
    ///
    /// MPI: as [`iallgather_object`](Comm::iallgather_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ranks = world.iallgather_object_with::<Bincode, _>(world.rank())?.wait()?;
    /// assert_eq!(ranks, (0..world.size()).collect::<Vec<_>>());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iallgather_object_with<C, T>(&self, value: T) -> Result<Request<Vec<T>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        self.start_allgather::<C, T>(&IALLGATHER_OBJECT, Location::caller(), value)
    }

    /// Starts to combine the values of all ranks with `f`, in the order of the ranks; every rank gets
    /// the result. Collective.
    ///
    /// # Errors
    /// When it completes, those of [`allreduce_object`](Comm::allreduce_object).
    ///
    /// MPI: a message from every rank to every rank, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let path = world.iallreduce_object(format!("/{}", world.rank()), |a, b| a + &b)?.wait()?;
    /// assert!(path.starts_with("/0"));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iallreduce_object<T, F>(&self, value: T, f: F) -> Result<Request<T>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(T, T) -> T + Send + 'static,
    {
        self.iallreduce_object_with::<Bincode, T>(value, f)
    }

    /// [`iallreduce_object`](Comm::iallreduce_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`iallreduce_object`](Comm::iallreduce_object).
    ///
    /// MPI: as [`iallreduce_object`](Comm::iallreduce_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let sum = world.iallreduce_object_with::<Bincode, _>(1, |a, b| a + b)?.wait()?;
    /// assert_eq!(sum as usize, world.size());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iallreduce_object_with<C, T>(
        &self,
        value: T,
        f: impl Fn(T, T) -> T + Send + 'static,
    ) -> Result<Request<T>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let location = Location::caller();
        let request = self.start_allgather::<C, T>(&IALLREDUCE_OBJECT, location, value)?;
        let reduced = request.map(move |values: Vec<T>| values.into_iter().reduce(f));
        Ok(reduced.map(|value| match value {
            Some(value) => value,
            None => unreachable!("a communicator has at least this rank"),
        }))
    }

    fn start_allgather<C, T>(
        &self,
        operation: &'static Operation,
        location: &'static Location<'static>,
        value: T,
    ) -> Result<Request<Vec<T>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let call = self.private_call(operation, location);
        let permit = crate::raw::permit(&call)?;
        let tag = self.next_collective_tag(&permit, &call);
        let rank = self.rank();
        let (message, encoded) = or_empty(wire::to_bytes_checked::<C, T>(&call, &value));
        let outgoing = self.others().map(|to| (to, message.clone()));
        let finish = move |inbox: Inbox, call: &Call<'_>| {
            encoded?;
            in_order::<C, T>(call, inbox, (rank, value))
        };
        let flat = Flat::start(&call, tag, outgoing, self.others(), finish)?;
        start_steps(self, &call, flat)
    }

    /// Starts to give every rank its value of this rank's, and to take one from every rank. Collective.
    ///
    /// # Errors
    /// When it completes, those of [`alltoall_object`](Comm::alltoall_object).
    ///
    /// MPI: a message from every rank to every rank, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let letters = vec![format!("from {}", world.rank()); world.size()];
    /// let inbox = world.ialltoall_object(letters)?.wait()?;
    /// assert_eq!(inbox[0], "from 0");
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ialltoall_object<T>(&self, values: Vec<T>) -> Result<Request<Vec<T>>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        self.ialltoall_object_with::<Bincode, T>(values)
    }

    /// [`ialltoall_object`](Comm::ialltoall_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`ialltoall_object`](Comm::ialltoall_object).
    ///
    /// MPI: as [`ialltoall_object`](Comm::ialltoall_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ranks = vec![world.rank(); world.size()];
    /// let inbox = world.ialltoall_object_with::<Bincode, _>(ranks)?.wait()?;
    /// assert_eq!(inbox, (0..world.size()).collect::<Vec<_>>());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ialltoall_object_with<C, T>(&self, values: Vec<T>) -> Result<Request<Vec<T>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let call = self.private_call(&IALLTOALL_OBJECT, Location::caller());
        let permit = crate::raw::permit(&call)?;
        let tag = self.next_collective_tag(&permit, &call);
        let rank = self.rank();
        let (outgoing, own) = self.apart::<C, T>(&call, Ok(values));
        let finish =
            move |inbox: Inbox, call: &Call<'_>| in_order::<C, T>(call, inbox, (rank, own?));
        let flat = Flat::start(&call, tag, outgoing, self.others(), finish)?;
        start_steps(self, &call, flat)
    }
}

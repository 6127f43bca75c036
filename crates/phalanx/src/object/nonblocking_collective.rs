//! Collectives of objects that complete later.

use std::panic::Location;
use std::sync::Arc;

use phalanx_codec::{Bincode, Codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::collective::nothing_given;
use super::flat::{Flat, Inbox, SharedBytes};
use super::reduce::no_value;
use super::wire;
use crate::comm::Comm;
use crate::error::Result;
use crate::record::{
    Call, IALLGATHER_OBJECT, IALLREDUCE_OBJECT, IALLTOALL_OBJECT, IBCAST_OBJECT, IGATHER_OBJECT,
    IREDUCE_OBJECT, ISCATTER_OBJECT, Operation,
};
use crate::request::{Request, start_steps};

/// The message of a rank and its own error. Without a value the others hear of it, in an empty one.
pub(super) fn or_empty(encoded: Result<Vec<u8>>) -> (SharedBytes, Result<()>) {
    match encoded {
        Ok(bytes) => (Arc::new(bytes), Ok(())),
        Err(error) => (SharedBytes::default(), Err(error)),
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
    ) -> (Vec<(usize, SharedBytes)>, Result<T>) {
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
            (self.others().map(|to| (to, SharedBytes::default())).collect(), Err(error))
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

//! Objects that are sent and received later, and collectives of objects that complete later.

use std::panic::Location;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::Bincode;
use super::collective::nothing_given;
use super::exchange::{Exchange, Inbox, Message};
use super::p2p::open;
use super::reduce::no_value;
use super::wire;
use crate::comm::{Comm, Dest, Source, Status};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::p2p::RawStatus;
use crate::record::{
    Call, IALLGATHER_OBJECT, IALLREDUCE_OBJECT, IALLTOALL_OBJECT, IBCAST_OBJECT, IGATHER_OBJECT,
    IRECV_OBJECT, IREDUCE_OBJECT, ISCATTER_OBJECT, Operation, Peer,
};
use crate::request::{Receiving, Request, start_steps};

/// The message of a rank and its own error. Without a value the others hear of it, in an empty one.
pub(super) fn or_empty(encoded: Result<Vec<u8>>) -> (Message, Result<()>) {
    match encoded {
        Ok(bytes) => (Arc::new(bytes), Ok(())),
        Err(error) => (Message::default(), Err(error)),
    }
}

/// Opens a message of a collective; an empty one says that its sender failed.
pub(super) fn open_one<T: DeserializeOwned>(
    call: &Call<'_>,
    message: &[u8],
    from: usize,
) -> Result<T> {
    if message.is_empty() {
        return Err(no_value(call, from));
    }
    wire::decode::<Bincode, T>(call, message)
}

/// Puts this rank's own value among those of the others, in the order of the ranks.
fn in_order<T: DeserializeOwned>(call: &Call<'_>, inbox: Inbox, own: (usize, T)) -> Result<Vec<T>> {
    let mut values: Vec<(usize, T)> = inbox
        .iter()
        .map(|(from, message)| Ok((*from, open_one(call, message, *from)?)))
        .collect::<Result<_>>()?;
    values.push(own);
    values.sort_by_key(|(rank, _)| *rank);
    Ok(values.into_iter().map(|(_, value)| value).collect())
}

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
        self.start_send_object(value, to.into(), Location::caller())
    }

    /// Starts to receive a serde value. The message is matched when the request is tested or waited
    /// for.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank), [`InvalidTag`](ErrorKind::InvalidTag). When it
    /// completes: those of [`recv_object`](Comm::recv_object).
    ///
    /// MPI: `MPI_Improbe` and `MPI_Imrecv`, MPI-4.1 section 3.8.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let receiving = world.irecv_object::<Vec<String>>(me)?;
    /// world.send_object(&["a", "b"][..], me)?;
    /// let (words, got) = receiving.wait()?;
    /// assert_eq!((words.len(), got.source), (2, Some(me)));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn irecv_object<T>(&self, from: impl Into<Source>) -> Result<Request<(T, Status)>>
    where
        T: DeserializeOwned + 'static,
    {
        let from = from.into();
        let call = self.call(&IRECV_OBJECT, Location::caller()).peer(from.peer()).tag(from.tag);
        let envelope = from.envelope(&call)?;
        let comm = self.clone();
        let finish = move |message: Vec<u8>, raw: RawStatus, call: &Call<'_>| {
            let Ok(source) = usize::try_from(raw.source()) else {
                let detail = "the null process sends no objects";
                return Err(Error::new(ErrorKind::InvalidRank, call, detail));
            };
            let call = call.peer(Peer::From(source)).tag(Some(raw.tag()));
            let value = open::<Bincode, T>(&comm, &call, &message, source)?;
            Ok((value, Status { source: Some(source), tag: raw.tag(), len: message.len() }))
        };
        start_steps(self, &call, Receiving::new(envelope, finish).of_object())
    }

    /// Starts to give every rank the root's value. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); when it completes, those of
    /// [`bcast_object`](Comm::bcast_object).
    ///
    /// MPI: a message to every rank, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let text = (world.rank() == 0).then(|| "all hear this".to_owned());
    /// let text: String = world.ibcast_object(text, 0)?.wait()?;
    /// assert_eq!(text, "all hear this");
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn ibcast_object<T>(&self, value: impl Into<Option<T>>, root: usize) -> Result<Request<T>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let call = self.private_call(&IBCAST_OBJECT, Location::caller()).root(root);
        self.check_root(&call, root)?;
        let tag = self.next_collective_tag(&call);
        if self.rank() != root {
            return self.start_from_root(&call, root, tag);
        }
        let value = value.into();
        let encoded = value.as_ref().ok_or_else(|| nothing_given(&call));
        let encoded = encoded.and_then(|value| wire::to_bytes::<Bincode, T>(&call, value));
        let (message, encoded) = or_empty(encoded);
        let outgoing = self.others().map(|to| (to, message.clone()));
        let finish = move |_: Inbox, call: &Call<'_>| {
            encoded?;
            value.ok_or_else(|| nothing_given(call))
        };
        start_steps(self, &call, Exchange::start(&call, tag, outgoing, [], finish)?)
    }

    fn others(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let rank = self.rank();
        (0..self.size()).filter(move |&other| other != rank)
    }

    /// Receives what the root has for this rank.
    fn start_from_root<T>(&self, call: &Call<'_>, root: usize, tag: i32) -> Result<Request<T>>
    where
        T: DeserializeOwned + 'static,
    {
        let finish = move |inbox: Inbox, call: &Call<'_>| match inbox.first() {
            Some((from, message)) => open_one(call, message, *from),
            None => Err(no_value(call, root)),
        };
        start_steps(self, call, Exchange::start(call, tag, [], [root], finish)?)
    }

    /// Starts to collect a value of every rank at the root. `Some` on the root alone. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); when it completes,
    /// [`TypeMismatch`](ErrorKind::TypeMismatch), and an error on the root and on each rank whose value
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
        let call = self.private_call(&IGATHER_OBJECT, Location::caller()).root(root);
        self.check_root(&call, root)?;
        self.start_gather(&call, value, root, |values| values)
    }

    /// Starts to combine the values of all ranks with `f`, in the order of the ranks; the root gets the
    /// result. `Some` on the root alone. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); when it completes, those of
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
        let call = self.private_call(&IREDUCE_OBJECT, Location::caller()).root(root);
        self.check_root(&call, root)?;
        let request =
            self.start_gather(&call, value, root, move |values| values.into_iter().reduce(f))?;
        Ok(request.map(Option::flatten))
    }

    /// Sends a value to the root, where `f` makes the result of all of them.
    fn start_gather<T, U, F>(
        &self,
        call: &Call<'_>,
        value: T,
        root: usize,
        f: F,
    ) -> Result<Request<Option<U>>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        U: 'static,
        F: FnOnce(Vec<T>) -> U + Send + 'static,
    {
        let tag = self.next_collective_tag(call);
        let rank = self.rank();
        if rank == root {
            let finish = move |inbox: Inbox, call: &Call<'_>| {
                in_order(call, inbox, (rank, value)).map(f).map(Some)
            };
            return start_steps(self, call, Exchange::start(call, tag, [], self.others(), finish)?);
        }
        let (message, encoded) = or_empty(wire::to_bytes::<Bincode, T>(call, &value));
        let finish = move |_: Inbox, _: &Call<'_>| encoded.map(|()| None);
        start_steps(self, call, Exchange::start(call, tag, [(root, message)], [], finish)?)
    }

    /// Starts to give every rank its value of the root's. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); when it completes, those of
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
        let call = self.private_call(&ISCATTER_OBJECT, Location::caller()).root(root);
        self.check_root(&call, root)?;
        let tag = self.next_collective_tag(&call);
        if self.rank() != root {
            return self.start_from_root(&call, root, tag);
        }
        let given = values.ok_or_else(|| nothing_given(&call));
        let (outgoing, own) = self.apart(&call, given);
        let finish = move |_: Inbox, _: &Call<'_>| own;
        start_steps(self, &call, Exchange::start(&call, tag, outgoing, [], finish)?)
    }

    /// A message for each of the others and this rank's own value, or an empty message for each and
    /// the error.
    fn apart<T: Serialize>(
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
                    outgoing.push((to, Arc::new(wire::to_bytes::<Bincode, T>(call, &value)?)));
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
        self.start_allgather(&IALLGATHER_OBJECT, Location::caller(), value)
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
        let request = self.start_allgather(&IALLREDUCE_OBJECT, Location::caller(), value)?;
        let reduced = request.map(move |values: Vec<T>| values.into_iter().reduce(f));
        Ok(reduced.map(|value| match value {
            Some(value) => value,
            None => unreachable!("a communicator has at least this rank"),
        }))
    }

    fn start_allgather<T>(
        &self,
        operation: &'static Operation,
        location: &'static Location<'static>,
        value: T,
    ) -> Result<Request<Vec<T>>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let call = self.private_call(operation, location);
        let tag = self.next_collective_tag(&call);
        let rank = self.rank();
        let (message, encoded) = or_empty(wire::to_bytes::<Bincode, T>(&call, &value));
        let outgoing = self.others().map(|to| (to, message.clone()));
        let finish = move |inbox: Inbox, call: &Call<'_>| {
            encoded?;
            in_order(call, inbox, (rank, value))
        };
        let exchange = Exchange::start(&call, tag, outgoing, self.others(), finish)?;
        start_steps(self, &call, exchange)
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
        let call = self.private_call(&IALLTOALL_OBJECT, Location::caller());
        let tag = self.next_collective_tag(&call);
        let rank = self.rank();
        let (outgoing, own) = self.apart(&call, Ok(values));
        let finish = move |inbox: Inbox, call: &Call<'_>| in_order(call, inbox, (rank, own?));
        let exchange = Exchange::start(&call, tag, outgoing, self.others(), finish)?;
        start_steps(self, &call, exchange)
    }
}

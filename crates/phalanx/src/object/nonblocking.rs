//! Objects that are sent and received later, and collectives of objects that complete later.

use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::Bincode;
use super::collective::nothing_given;
use super::exchange::{Exchange, ReceivingBytes, receiving_bytes};
use super::p2p::open;
use super::reduce::no_value;
use super::wire;
use crate::comm::{Comm, Dest, Source, Status};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::p2p::RawStatus;
use crate::record::{
    Call, IALLGATHER_OBJECT, IALLREDUCE_OBJECT, IALLTOALL_OBJECT, IBCAST_OBJECT, IGATHER_OBJECT,
    IRECV_OBJECT, IREDUCE_OBJECT, ISCATTER_OBJECT, Operation,
};
use crate::request::{Progress, Receiving, Request, Task, start_steps};

/// Messages that have come, with the rank that sent each.
type Inbox = Vec<(usize, Vec<u8>)>;

/// Opens a message of a collective; an empty one says that its sender failed.
fn open_one<T: DeserializeOwned>(call: &Call<'_>, message: &[u8], from: usize) -> Result<T> {
    if message.is_empty() {
        return Err(no_value(call, from));
    }
    wire::decode::<Bincode, T>(call, message)
}

/// Puts this rank's own value among those of the others, in the order of the ranks.
fn in_order<T: DeserializeOwned>(
    call: &Call<'_>,
    inbox: Inbox,
    own: (usize, T),
) -> Result<Vec<T>> {
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
            let value = open::<Bincode, T>(&comm, call, &message, source)?;
            Ok((value, Status { source: Some(source), tag: raw.tag(), len: message.len() }))
        };
        start_steps(self, &call, Receiving::new(envelope, finish))
    }

    /// Starts to give every rank the root's value. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); when it completes, those of
    /// [`bcast_object`](Comm::bcast_object).
    ///
    /// MPI: messages along a binomial tree, on a private communicator.
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
    pub fn ibcast_object<T>(
        &self,
        value: impl Into<Option<T>>,
        root: usize,
    ) -> Result<Request<T>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let call = self.call(&IBCAST_OBJECT, Location::caller()).root(root);
        self.check_root(&call, root)?;
        let tag = self.next_collective_tag();
        let private = self.private_call(call.operation, call.location).root(root);
        if self.rank() == root {
            let value = value.into();
            let encoded = match &value {
                Some(value) => wire::to_bytes::<Bincode, T>(&call, value),
                None => Err(nothing_given(&call)),
            };
            // Without a value the others hear of it, in an empty message.
            let message: Arc<[u8]> = encoded.as_deref().unwrap_or(&[]).into();
            let children = self.children(root).map(|child| (child, message.clone()));
            let finish = move |_: Inbox, call: &Call<'_>| {
                encoded?;
                value.ok_or_else(|| nothing_given(call))
            };
            let exchange = Exchange::start(self, &call, tag, children, [], finish)?;
            return start_steps(self, &private, exchange);
        }
        let parent = self.parent(root);
        let waiting = Relay {
            comm: self.clone(),
            tag,
            root,
            parent,
            operation: call.operation,
            location: call.location,
            receiving: receiving_bytes(parent, tag),
            passing: None,
            value: PhantomData::<fn() -> T>,
        };
        start_steps(self, &private, waiting)
    }

    /// The ranks to which this one passes a broadcast on, in a binomial tree around the root.
    fn children(&self, root: usize) -> impl Iterator<Item = usize> + use<> {
        let (rank, size) = (self.rank(), self.size());
        let relative = (rank + size - root) % size;
        let lowest = if relative == 0 { size.next_power_of_two() } else { relative & relative.wrapping_neg() };
        std::iter::successors(Some(lowest >> 1), |step| Some(step >> 1))
            .take_while(|&step| step > 0)
            .map(move |step| relative + step)
            .filter(move |&child| child < size)
            .map(move |child| (child + root) % size)
    }

    /// The rank from which this one gets a broadcast.
    fn parent(&self, root: usize) -> usize {
        let size = self.size();
        let relative = (self.rank() + size - root) % size;
        ((relative & (relative - 1)) + root) % size
    }

    /// Starts to collect a value of every rank at the root. `Some` on the root alone. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); when it completes, those of
    /// [`gather_object`](Comm::gather_object).
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
        let call = self.call(&IGATHER_OBJECT, Location::caller()).root(root);
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
        let call = self.call(&IREDUCE_OBJECT, Location::caller()).root(root);
        self.check_root(&call, root)?;
        let request = self.start_gather(&call, value, root, move |values| {
            values.into_iter().reduce(f)
        })?;
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
        let tag = self.next_collective_tag();
        let rank = self.rank();
        let private = self.private_call(call.operation, call.location).root(root);
        if rank == root {
            let sources = (0..self.size()).filter(move |&source| source != root);
            let finish = move |inbox: Inbox, call: &Call<'_>| {
                in_order(call, inbox, (rank, value)).map(f).map(Some)
            };
            let exchange = Exchange::start(self, call, tag, [], sources, finish)?;
            return start_steps(self, &private, exchange);
        }
        let encoded = wire::to_bytes::<Bincode, T>(call, &value);
        let message: Arc<[u8]> = encoded.as_deref().unwrap_or(&[]).into();
        let finish = move |_: Inbox, _: &Call<'_>| encoded.map(|_| None);
        let exchange = Exchange::start(self, call, tag, [(root, message)], [], finish)?;
        start_steps(self, &private, exchange)
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
        let call = self.call(&ISCATTER_OBJECT, Location::caller()).root(root);
        self.check_root(&call, root)?;
        let tag = self.next_collective_tag();
        let private = self.private_call(call.operation, call.location).root(root);
        if self.rank() != root {
            let finish = move |inbox: Inbox, call: &Call<'_>| match inbox.first() {
                Some((from, message)) => open_one(call, message, *from),
                None => Err(no_value(call, root)),
            };
            let exchange = Exchange::start(self, &call, tag, [], [root], finish)?;
            return start_steps(self, &private, exchange);
        }
        let given = values.ok_or_else(|| nothing_given(&call));
        let messages = given.as_ref().map_err(|_| ()).and_then(|values| {
            self.messages(&call, values).map_err(drop)
        });
        let checked = given.and_then(|values| {
            self.messages(&call, &values)?;
            Ok(values)
        });
        let empty: Arc<[u8]> = Arc::from([]);
        let outgoing: Vec<_> = (0..self.size())
            .filter(|&to| to != root)
            .map(|to| (to, messages.as_ref().map_or(&empty, |all| &all[to]).clone()))
            .collect();
        let finish = move |_: Inbox, call: &Call<'_>| {
            checked?.into_iter().nth(root).ok_or_else(|| nothing_given(call))
        };
        let exchange = Exchange::start(self, &call, tag, outgoing, [], finish)?;
        start_steps(self, &private, exchange)
    }

    /// One message for each rank.
    fn messages<T: Serialize>(&self, call: &Call<'_>, values: &[T]) -> Result<Vec<Arc<[u8]>>> {
        if values.len() != self.size() {
            let (given, ranks) = (values.len(), self.size());
            let detail = format!("{given} values were given for {ranks} ranks");
            return Err(Error::new(ErrorKind::InvalidLength, call, detail));
        }
        values.iter().map(|value| Ok(wire::to_bytes::<Bincode, T>(call, value)?.into())).collect()
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
        let tag = self.next_collective_tag();
        let rank = self.rank();
        let encoded = wire::to_bytes::<Bincode, T>(&call, &value);
        let message: Arc<[u8]> = encoded.as_deref().unwrap_or(&[]).into();
        let others = (0..self.size()).filter(move |&other| other != rank);
        let outgoing = others.clone().map(|to| (to, message.clone()));
        let finish = move |inbox: Inbox, call: &Call<'_>| {
            encoded?;
            in_order(call, inbox, (rank, value))
        };
        let exchange = Exchange::start(self, &call, tag, outgoing, others.clone(), finish)?;
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
        let tag = self.next_collective_tag();
        let rank = self.rank();
        let messages = self.messages(&call, &values);
        let empty: Arc<[u8]> = Arc::from([]);
        let others = (0..self.size()).filter(move |&other| other != rank);
        let outgoing: Vec<_> = others
            .clone()
            .map(|to| (to, messages.as_ref().map_or(&empty, |all| &all[to]).clone()))
            .collect();
        let own = messages.map(|_| values.into_iter().nth(rank));
        let finish = move |inbox: Inbox, call: &Call<'_>| {
            let own = own?.ok_or_else(|| nothing_given(call))?;
            in_order(call, inbox, (rank, own))
        };
        let exchange = Exchange::start(self, &call, tag, outgoing, others, finish)?;
        start_steps(self, &call, exchange)
    }
}

/// A rank in the middle of a broadcast: receives, then passes on.
struct Relay<T> {
    comm: Comm,
    tag: i32,
    root: usize,
    parent: usize,
    operation: &'static Operation,
    location: &'static Location<'static>,
    receiving: ReceivingBytes,
    passing: Option<(Vec<u8>, Exchange<NothingMore>)>,
    value: PhantomData<fn() -> T>,
}

type NothingMore = fn(Inbox, &Call<'_>) -> Result<()>;

impl<T: DeserializeOwned> Task<T> for Relay<T> {
    fn poll(&mut self, call: &Call<'_>) -> Result<Progress> {
        if self.passing.is_none() {
            if self.receiving.poll(call)? == Progress::Pending {
                return Ok(Progress::Pending);
            }
            let bytes = self.receiving.take(call)?;
            let message: Arc<[u8]> = bytes.as_slice().into();
            let children = self.comm.children(self.root).map(|child| (child, message.clone()));
            let begin = self.comm.private_call(self.operation, self.location);
            let finish: NothingMore = |_, _| Ok(());
            let exchange = Exchange::start(&self.comm, &begin, self.tag, children, [], finish)?;
            self.passing = Some((bytes, exchange));
        }
        match &mut self.passing {
            Some((_, exchange)) => exchange.poll(call),
            None => Ok(Progress::Pending),
        }
    }

    fn take(&mut self, call: &Call<'_>) -> Result<T> {
        match self.passing.take() {
            Some((bytes, _)) => open_one(call, &bytes, self.parent),
            None => Err(no_value(call, self.parent)),
        }
    }
}

//! Any mix of sends and receives that start and complete together.

use std::panic::Location;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::comm::{Comm, Dest, Source, SourceRank, Status};
use crate::datatype::{Element, Payload, PayloadMut, zeros};
use crate::error::{Error, Result};
use crate::object::{self, Bincode};
use crate::p2p::{discard, status_of};
use crate::raw::p2p::{self, Envelope, Matched, Mode, RawStatus};
use crate::raw::request::was_refused;
use crate::raw::wait;
use crate::raw::{View, ViewMut};
use crate::record::{
    Call, EXCHANGE, EXCHANGE_RECV, EXCHANGE_RECV_VEC, EXCHANGE_SEND, EXCHANGE_SEND_OBJECT,
    Operation, RECV_OBJECT,
};
use crate::request::Scope;

/// The sends and receives of one [`Comm::exchange`].
///
/// Its methods only note what is to be done. `'env` is the time for which buffers are lent: until the
/// exchange is over.
pub struct Exchange<'env> {
    comm: &'env Comm,
    outgoing: Vec<Outgoing<'env>>,
    incoming: Vec<Incoming<'env>>,
    /// Errors of lines whose arguments are wrong.
    refused: Vec<(usize, Error)>,
    lines: usize,
}

struct Outgoing<'env> {
    line: usize,
    call: Call<'env>,
    envelope: Envelope,
    data: Data<'env>,
}

enum Data<'env> {
    Lent(View<'env>),
    Encoded(Vec<u8>),
}

struct Incoming<'env> {
    line: usize,
    call: Call<'env>,
    from: Source,
    envelope: Envelope,
    room: Room<'env>,
}

type StatusOf = fn(&Call<'_>, &RawStatus) -> Result<Status>;

/// Receives a message that was matched.
type Take<'env> = Box<dyn FnOnce(&Call<'_>, Matched) -> Result<Status> + 'env>;

enum Room<'env> {
    /// As long as the message may be.
    Fixed(ViewMut<'env>, StatusOf),
    /// Made when the message is there.
    Made(Take<'env>),
    /// No message comes.
    Nothing,
}

impl Comm {
    /// Sends and receives any number of messages, in one operation that no order of its lines can
    /// make wait for ever. Returns what came, for each receive in the order of their lines.
    ///
    /// The closure only notes sends and receives. After it, all receives are posted, then all sends
    /// start, then everything completes together. Buffers are lent until the exchange is over. The
    /// other side may use an exchange, too, or any other send or receive.
    ///
    /// Messages that could match several receives of known length match the one whose line comes
    /// first. A receive of unknown length ([`recv_vec`](Exchange::recv_vec),
    /// [`recv_object`](Exchange::recv_object)) is served before all later ones that could take its
    /// message: those look for theirs when it has found its own.
    ///
    /// # Errors
    /// If the arguments of a line are wrong (a rank, a tag, a value that cannot be encoded), nothing is
    /// sent. Otherwise every part completes that can, also when others fail. The error names each
    /// part that failed, with its line ([`Error::parts`]); the first decides the kind.
    ///
    /// MPI: `MPI_Irecv`, `MPI_Isend`, `MPI_Waitall`; MPI-4.1 section 3.7.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let (rank, size) = (world.rank(), world.size());
    /// // `None` beyond the ends: nothing is sent, and the halo stays as it was.
    /// let (west, east) = (rank.checked_sub(1), (rank + 1 < size).then_some(rank + 1));
    /// let row = vec![rank as f64; 8];
    /// let (mut left_halo, mut right_halo) = (-1.0, -1.0);
    /// world.exchange(|x| {
    ///     x.send(&row[0], west);
    ///     x.send(&row[7], east);
    ///     x.recv(&mut left_halo, west);
    ///     x.recv(&mut right_halo, east);
    /// })?;
    /// assert_eq!(left_halo, west.map_or(-1.0, |west| west as f64));
    /// # assert_eq!(right_halo, east.map_or(-1.0, |east| east as f64));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn exchange<'env, F>(&'env self, f: F) -> Result<Vec<Status>>
    where
        F: FnOnce(&mut Exchange<'env>),
    {
        let mut exchange = Exchange {
            comm: self,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            refused: Vec::new(),
            lines: 0,
        };
        f(&mut exchange);
        exchange.run(Location::caller())
    }
}

impl<'env> Exchange<'env> {
    /// Sends elements, as [`Comm::send`] does.
    #[track_caller]
    pub fn send<P: Payload + ?Sized>(&mut self, data: &'env P, to: impl Into<Dest>) {
        let (to, location) = (to.into(), Location::caller());
        self.add_send(&EXCHANGE_SEND, to, location, |_| data.view().map(Data::Lent));
    }

    /// Sends any serde value, as [`Comm::send_object`] does. It is encoded at once, fields with
    /// [`phalanx::plain`](crate::plain) included: the value may be changed afterwards.
    #[track_caller]
    pub fn send_object<T: Serialize + ?Sized>(&mut self, value: &T, to: impl Into<Dest>) {
        let (to, location) = (to.into(), Location::caller());
        self.add_send(&EXCHANGE_SEND_OBJECT, to, location, |call| {
            object::to_bytes::<Bincode, T>(call, value).map(Data::Encoded)
        });
    }

    /// Receives elements into a buffer, as [`Comm::recv_into`] does. The message may be shorter.
    #[track_caller]
    pub fn recv<P: PayloadMut + ?Sized>(&mut self, buffer: &'env mut P, from: impl Into<Source>) {
        let (from, location) = (from.into(), Location::caller());
        self.add_receive(&EXCHANGE_RECV, from, location, || {
            Ok(Room::Fixed(buffer.view_mut()?, status_of::<P::Element>))
        });
    }

    /// Receives elements into a vector, which becomes as long as the message.
    #[track_caller]
    pub fn recv_vec<T: Element>(&mut self, vec: &'env mut Vec<T>, from: impl Into<Source>) {
        let (from, location) = (from.into(), Location::caller());
        self.add_receive(&EXCHANGE_RECV_VEC, from, location, || {
            Ok(Room::Made(Box::new(|call, matched| take_vec(call, matched, vec))))
        });
    }

    /// Receives any serde value, as [`Comm::recv_object`] does, and puts it into the slot. From the
    /// null process nothing comes: the slot stays as it was.
    #[track_caller]
    pub fn recv_object<T: DeserializeOwned>(
        &mut self,
        slot: &'env mut Option<T>,
        from: impl Into<Source>,
    ) {
        let (from, location, comm) = (from.into(), Location::caller(), self.comm);
        self.add_receive(&RECV_OBJECT, from, location, || {
            if from.rank == SourceRank::Null {
                return Ok(Room::Nothing);
            }
            Ok(Room::Made(Box::new(move |call, matched| {
                let (value, status) = object::receive_matched::<Bincode, T>(comm, call, matched)?;
                *slot = Some(value);
                Ok(status)
            })))
        });
    }

    fn add_send(
        &mut self,
        operation: &'static Operation,
        to: Dest,
        location: &'static Location<'static>,
        data: impl FnOnce(&Call<'_>) -> Result<Data<'env>>,
    ) {
        let line = self.next_line();
        let call = self.comm.call(operation, location).peer(to.peer()).tag(Some(to.tag));
        let checked = to.envelope(&call).and_then(|envelope| Ok((envelope, data(&call)?)));
        match checked {
            Ok((envelope, data)) => self.outgoing.push(Outgoing { line, call, envelope, data }),
            Err(error) => self.refused.push((line, error)),
        }
    }

    fn add_receive(
        &mut self,
        operation: &'static Operation,
        from: Source,
        location: &'static Location<'static>,
        room: impl FnOnce() -> Result<Room<'env>>,
    ) {
        let line = self.next_line();
        let call = self.comm.call(operation, location).peer(from.peer()).tag(from.tag);
        match from.envelope(&call).and_then(|envelope| Ok((envelope, room()?))) {
            Ok((envelope, room)) => {
                self.incoming.push(Incoming { line, call, from, envelope, room });
            }
            Err(error) => self.refused.push((line, error)),
        }
    }

    fn next_line(&mut self) -> usize {
        self.lines += 1;
        self.lines - 1
    }

    fn run(self, location: &'static Location<'static>) -> Result<Vec<Status>> {
        let Exchange { comm, outgoing, incoming, refused, lines } = self;
        let call = comm.call(&EXCHANGE, location);
        if !refused.is_empty() {
            let detail = format!("{} of {lines} parts are wrong, nothing was sent", refused.len());
            return Err(Error::of_parts(&call, detail, in_order_of_lines(refused)));
        }
        let nothing = Status { source: None, tag: 0, len: 0 };
        let mut got = Got { statuses: vec![nothing; incoming.len()], errors: Vec::new() };
        comm.scope_at(false, location, |scope| {
            scope.reserve(incoming.len() + outgoing.len());
            let (posted, late) = post(scope, incoming, &mut got);
            let sent = start(scope, &outgoing, &mut got);
            if late.is_empty() {
                for (index, outcome) in scope.outcomes(&call)?.into_iter().enumerate() {
                    got.conclude(&posted, &sent, index, outcome);
                }
                return Ok(());
            }
            complete_with_late(scope, &posted, &sent, late, &mut got)
        })?;
        if got.errors.is_empty() {
            return Ok(got.statuses);
        }
        let detail = format!("{} of {lines} parts failed", got.errors.len());
        Err(Error::of_parts(&call, detail, in_order_of_lines(got.errors)))
    }
}

fn in_order_of_lines(mut errors: Vec<(usize, Error)>) -> Vec<Error> {
    errors.sort_by_key(|(line, _)| *line);
    errors.into_iter().map(|(_, error)| error).collect()
}

/// What has come of the parts so far.
struct Got {
    /// One for each receive, in the order of the lines.
    statuses: Vec<Status>,
    errors: Vec<(usize, Error)>,
}

impl Got {
    fn put(&mut self, line: usize, index: usize, outcome: Result<Status>) {
        match outcome {
            Ok(status) => self.statuses[index] = status,
            Err(error) => self.errors.push((line, error)),
        }
    }

    /// Takes the outcome of a request of the scope: receives were started first.
    fn conclude(
        &mut self,
        posted: &[Posted<'_>],
        sent: &[usize],
        index: usize,
        outcome: Result<RawStatus>,
    ) {
        match posted.get(index) {
            Some(Posted { line, index, call, status_of }) => {
                let outcome = outcome.and_then(|raw| status_of(call, &raw));
                self.put(*line, *index, outcome);
            }
            None => {
                if let Err(error) = outcome {
                    self.errors.push((sent[index - posted.len()], error));
                }
            }
        }
    }
}

/// A receive that MPI knows.
struct Posted<'env> {
    line: usize,
    index: usize,
    call: Call<'env>,
    status_of: StatusOf,
}

/// A receive that looks for its message itself.
struct Late<'env> {
    line: usize,
    index: usize,
    call: Call<'env>,
    from: Source,
    envelope: Envelope,
    /// `None` once the message has come.
    take: Option<Take<'env>>,
}

impl Late<'_> {
    fn waits_before(&self, from: Source) -> bool {
        self.take.is_some() && overlap(self.from, from)
    }
}

/// Whether a message could match both.
fn overlap(one: Source, other: Source) -> bool {
    let ranks = match (one.rank, other.rank) {
        (SourceRank::Null, _) | (_, SourceRank::Null) => false,
        (SourceRank::Any, _) | (_, SourceRank::Any) => true,
        (SourceRank::Rank(one), SourceRank::Rank(other)) => one == other,
    };
    ranks && (one.tag.is_none() || other.tag.is_none() || one.tag == other.tag)
}

/// Posts the receives, but for those that must look for their messages.
fn post<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    incoming: Vec<Incoming<'env>>,
    got: &mut Got,
) -> (Vec<Posted<'env>>, Vec<Late<'env>>) {
    let mut posted = Vec::with_capacity(incoming.len());
    let mut late: Vec<Late<'env>> = Vec::new();
    for (index, part) in incoming.into_iter().enumerate() {
        let Incoming { line, call, from, envelope, room } = part;
        let take: Take<'env> = match room {
            Room::Nothing => continue,
            Room::Fixed(view, status_of) if !late.iter().any(|it| it.waits_before(from)) => {
                match scope.start_receive(&call, view, envelope) {
                    Ok(_) => posted.push(Posted { line, index, call, status_of }),
                    Err(error) => got.errors.push((line, error)),
                }
                continue;
            }
            // Were it posted now, it would take the message of an earlier line.
            Room::Fixed(view, status_of) => {
                Box::new(move |call, matched| take_fixed(call, matched, view, status_of))
            }
            Room::Made(take) => take,
        };
        late.push(Late { line, index, call, from, envelope, take: Some(take) });
    }
    (posted, late)
}

/// Starts the sends and returns the lines of those that are on their way.
fn start<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    outgoing: &'scope [Outgoing<'env>],
    got: &mut Got,
) -> Vec<usize> {
    let mut sent = Vec::with_capacity(outgoing.len());
    for Outgoing { line, call, envelope, data } in outgoing {
        let view = match data {
            Data::Lent(view) => *view,
            Data::Encoded(bytes) => View::bytes(bytes),
        };
        match scope.start_send(call, Mode::Standard, view, *envelope) {
            Ok(_) => sent.push(*line),
            Err(error) => got.errors.push((*line, error)),
        }
    }
    sent
}

/// Completes everything where some receives must look for their messages meanwhile.
fn complete_with_late(
    scope: &Scope<'_, '_>,
    posted: &[Posted<'_>],
    sent: &[usize],
    mut late: Vec<Late<'_>>,
    got: &mut Got,
) -> Result<()> {
    let mut flying: Vec<usize> = (0..posted.len() + sent.len()).collect();
    wait::until(|| {
        let mut number = 0;
        while number < flying.len() {
            let index = flying[number];
            let outcome = match scope.look(index) {
                Ok(None) => {
                    number += 1;
                    continue;
                }
                Ok(Some(raw)) => Ok(raw),
                Err(error) if was_refused(&error) => return Err(error),
                Err(error) => Err(error),
            };
            got.conclude(posted, sent, index, outcome);
            flying.swap_remove(number);
        }
        for number in 0..late.len() {
            let (before, rest) = late.split_at_mut(number);
            let part = &mut rest[0];
            if part.take.is_none() || before.iter().any(|it| it.waits_before(part.from)) {
                continue;
            }
            let outcome = match p2p::try_probe(&part.call, part.envelope) {
                Ok(None) => continue,
                Ok(Some(matched)) => match part.take.take() {
                    Some(take) => take(&part.call, matched),
                    None => continue,
                },
                Err(error) if was_refused(&error) => return Err(error),
                Err(error) => {
                    part.take = None;
                    Err(error)
                }
            };
            got.put(part.line, part.index, outcome);
        }
        late.retain(|part| part.take.is_some());
        Ok((flying.is_empty() && late.is_empty()).then_some(()))
    })
}

fn take_vec<T: Element>(call: &Call<'_>, matched: Matched, vec: &mut Vec<T>) -> Result<Status> {
    let status = match status_of::<T>(call, &matched.status) {
        Ok(status) => status,
        Err(error) => {
            discard(call, matched)?;
            return Err(error);
        }
    };
    if vec.capacity() < status.len {
        *vec = zeros(status.len);
    } else if let Some(&first) = vec.first() {
        vec.resize(status.len, first);
    } else {
        vec.extend(zeros::<T>(status.len));
    }
    p2p::mrecv(call, matched, vec.view_mut()?)?;
    Ok(status)
}

fn take_fixed(
    call: &Call<'_>,
    matched: Matched,
    view: ViewMut<'_>,
    status_of: StatusOf,
) -> Result<Status> {
    let raw = matched.status;
    p2p::mrecv(call, matched, view)?;
    status_of(call, &raw)
}

//! Any mix of sends and receives that start and complete together.

use std::panic::Location;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::comm::{Comm, Dest, Source, SourceRank, Status};
use crate::datatype::{Element, Payload, PayloadMut, sent, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{self, Arrived, Bincode, Detached, Incoming, Outgoing};
use crate::p2p::{discard, status_of};
use crate::raw::p2p::{self, Envelope, Matched, Mode, RawStatus};
use crate::raw::request::was_refused;
use crate::raw::wait;
use crate::raw::{View, ViewMut};
use crate::record::{
    self, Call, EXCHANGE, EXCHANGE_RECV, EXCHANGE_RECV_VEC, EXCHANGE_SEND, EXCHANGE_SEND_OBJECT,
    Kind, Operation, RECV_OBJECT,
};
use crate::request::{PendingReceive, Progress, Scope};

/// The sends and receives of one [`Comm::exchange`].
///
/// Its methods only note what is to be done. `'env` is the time for which buffers are lent: until the
/// exchange is over.
pub struct Exchange<'env> {
    comm: &'env Comm,
    outgoing: Vec<Outward<'env>>,
    incoming: Vec<IncomingLine<'env>>,
    /// Errors of lines whose arguments are wrong.
    refused: Vec<(usize, Error)>,
    lines: usize,
}

struct Outward<'env> {
    line: usize,
    call: Call<'env>,
    envelope: Envelope,
    data: Data<'env>,
}

enum Data<'env> {
    Lent(View<'env>),
    Encoded(Outgoing),
}

struct IncomingLine<'env> {
    line: usize,
    call: Call<'env>,
    from: Source,
    envelope: Envelope,
    room: Room<'env>,
    /// Whether an earlier line that looks for its message could take the one of this line.
    contested: bool,
    /// Where the record knows of a receive that looks for its message.
    pending: PendingReceive,
}

type StatusOf = fn(&Call<'_>, &RawStatus) -> Result<Status>;

/// Receives a message that was matched.
type Take<'env> = Box<dyn FnOnce(&Call<'_>, Matched) -> Result<Status> + 'env>;

/// Makes the value of an object that has arrived.
type Open<'env> = Box<dyn FnOnce(&Call<'_>, Arrived) -> Result<Status> + 'env>;

enum Room<'env> {
    /// As long as the message may be.
    Fixed(ViewMut<'env>, StatusOf),
    /// For an object, of which MPI needs to know the first part alone.
    Object(Open<'env>),
    /// Made when the message is there.
    Made(Take<'env>),
    /// MPI has it: the number of the request.
    Posted(usize, StatusOf),
    /// MPI has its first part, or what follows.
    Coming(Incoming, Open<'env>),
    /// No message comes, or it is here.
    Nothing,
}

/// # Exchanges that cannot deadlock: any mix of messages
impl Comm {
    /// Sends and receives any number of messages, in one operation that no order of its lines can
    /// make wait for ever. Returns what came, for each receive in the order of their lines.
    ///
    /// The closure only notes sends and receives. After it, all receives are posted, then all sends
    /// start, then everything completes together. Buffers are lent until the exchange is over. The
    /// other side may use an exchange, too, or any other send or receive.
    ///
    /// A message that could match several receives matches the one whose line comes first, whatever kinds of
    /// receives they are.
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
        self.add_send(&EXCHANGE_SEND, to, location, |call| sent(call, data).map(Data::Lent));
    }

    /// Sends any serde value, as [`Comm::send_object`] does. It is encoded at once, fields with
    /// [`phalanx::plain`](crate::plain) included: the value may be changed afterwards.
    #[track_caller]
    pub fn send_object<T: Serialize + ?Sized>(&mut self, value: &T, to: impl Into<Dest>) {
        let (to, location, comm) = (to.into(), Location::caller(), self.comm);
        self.add_send(&EXCHANGE_SEND_OBJECT, to, location, |call| {
            Outgoing::encode::<Bincode, T>(comm, call, value).map(Data::Encoded)
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
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let (mut name, mut numbers) = (None, Vec::new());
    /// let got = world.exchange(|x| {
    ///     x.recv_object(&mut name, me);
    ///     x.recv_vec(&mut numbers, me);
    ///     x.send_object(&format!("rank {me}"), me);
    ///     x.send(&[1.5, 2.5], me);
    /// })?;
    /// assert_eq!(name, Some(format!("rank {me}")));
    /// assert_eq!((numbers, got[1].len), (vec![1.5, 2.5], 2));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn recv_object<T: DeserializeOwned>(
        &mut self,
        slot: &'env mut Option<T>,
        from: impl Into<Source>,
    ) {
        let (from, location) = (from.into(), Location::caller());
        self.add_receive(&RECV_OBJECT, from, location, || {
            if from.rank == SourceRank::Null {
                return Ok(Room::Nothing);
            }
            Ok(Room::Object(Box::new(move |call, arrived| {
                let Some((value, status)) = arrived.open::<Bincode, T>(call)? else {
                    return Err(object::no_object::<T>(call, "of 0 bytes"));
                };
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
            Ok((envelope, data)) => self.outgoing.push(Outward { line, call, envelope, data }),
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
        match from
            .envelope(&call)
            .and_then(|envelope| Ok((envelope, room().map_err(|error| error.at(&call))?)))
        {
            Ok((envelope, room)) => {
                let line = IncomingLine {
                    line,
                    call,
                    from,
                    envelope,
                    room,
                    contested: false,
                    pending: PendingReceive::default(),
                };
                self.incoming.push(line);
            }
            Err(error) => self.refused.push((line, error)),
        }
    }

    fn next_line(&mut self) -> usize {
        self.lines += 1;
        self.lines - 1
    }

    fn run(self, location: &'static Location<'static>) -> Result<Vec<Status>> {
        let Exchange { comm, outgoing, mut incoming, refused, lines } = self;
        let call = comm.call(&EXCHANGE, location);
        if !refused.is_empty() {
            let detail = format!("{} of {lines} parts are wrong, nothing was sent", refused.len());
            return Err(Error::of_parts(&call, detail, in_order_of_lines(refused)));
        }
        let nothing = Status { source: None, tag: 0, len: 0 };
        let mut got = Got { statuses: vec![nothing; incoming.len()], errors: Vec::new() };
        comm.scope_at(false, location, |scope| {
            scope.reserve(incoming.len() + outgoing.len());
            let is_simple = post(comm, scope, &mut incoming, &mut got);
            let mut sent = start(comm, scope, &outgoing, &mut got);
            if !is_simple {
                complete_in_turn(comm, scope, &call, &mut incoming, &sent, &mut got)?;
                sent.linger();
                return Ok(());
            }
            let mut outcomes = scope.outcomes(&call)?.into_iter();
            // In the order in which they were started: receives first.
            for (index, part) in incoming.iter().enumerate() {
                if let Room::Posted(_, status_of) = part.room
                    && let Some(outcome) = outcomes.next()
                {
                    match outcome.and_then(|raw| status_of(&part.call, &raw)) {
                        Ok(status) => got.statuses[index] = status,
                        Err(error) => got.errors.push((part.line, error)),
                    }
                }
            }
            let failed = outcomes.enumerate().filter_map(|(index, it)| Some((index, it.err()?)));
            got.errors.extend(failed.map(|(index, error)| (sent.line(index), error)));
            sent.linger();
            Ok(())
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

/// The sends that have started.
struct Sent<'a, 'env> {
    outgoing: &'a [Outward<'env>],
    /// Those that have not: hardly ever any.
    refused: Vec<usize>,
    /// What follows the first parts of objects.
    rests: Vec<Detached>,
}

impl Sent<'_, '_> {
    /// The line of the send that was started as number `index`.
    fn line(&self, index: usize) -> usize {
        let lines = self.outgoing.iter().map(|part| part.line);
        let mut started = lines.filter(|line| !self.refused.contains(line));
        started.nth(index).unwrap_or_default()
    }

    /// Gives the rests the time in which they leave if their receivers are there.
    fn linger(&mut self) {
        let mut rests: Vec<_> = self.rests.iter_mut().collect();
        object::finish_soon(&mut rests);
    }

    fn started(&self) -> usize {
        self.outgoing.len() - self.refused.len()
    }
}

impl IncomingLine<'_> {
    /// Whether it looks for its message, which could be one for that source.
    fn looks_before(&self, from: Source) -> bool {
        self.looks() && overlap(self.from, from)
    }

    /// Whether it looks for its message: MPI does not know of it.
    fn looks(&self) -> bool {
        matches!(self.room, Room::Made(_) | Room::Fixed(..) | Room::Object(_))
    }

    /// Whether a message is one that it looks for.
    fn looks_for(&self, message: &RawStatus) -> bool {
        let rank = match self.from.rank {
            SourceRank::Null => false,
            SourceRank::Any => true,
            SourceRank::Rank(rank) => rank as i32 == message.source(),
        };
        self.looks() && rank && self.from.tag.is_none_or(|tag| tag == message.tag())
    }

    /// Takes hold of its message, if it is there. A message that an earlier line looks for is left to that.
    fn find(&self, before: &[IncomingLine<'_>]) -> Result<Option<Matched>> {
        let mut envelope = self.envelope;
        if self.contested && before.iter().any(|it| it.looks_before(self.from)) {
            let Some(message) = p2p::peek(&self.call, envelope)? else { return Ok(None) };
            if before.iter().any(|it| it.looks_for(&message)) {
                return Ok(None);
            }
            // The next one from there with this tag is the one that was seen.
            envelope = Envelope { rank: message.source(), tag: message.tag() };
        }
        p2p::try_probe(&self.call, envelope)
    }

    /// Receives the message that was found.
    fn receive(&mut self, comm: &Comm, matched: Matched) -> Result<Option<Status>> {
        self.pending = PendingReceive::default();
        match std::mem::replace(&mut self.room, Room::Nothing) {
            Room::Made(take) => take(&self.call, matched).map(Some),
            Room::Fixed(view, status_of) => {
                let raw = matched.status;
                p2p::mrecv(&self.call, matched, view)?;
                status_of(&self.call, &raw).map(Some)
            }
            Room::Object(open) => {
                let incoming = object::receive_first(comm, &self.call, matched)?;
                self.room = Room::Coming(incoming, open);
                Ok(None)
            }
            other => {
                self.room = other;
                discard(&self.call, matched)?;
                Err(Error::new(ErrorKind::State, &self.call, "no message was expected"))
            }
        }
    }

    /// Makes what progress is possible. Gives the status of a message that is here.
    fn advance(
        &mut self,
        comm: &Comm,
        scope: &Scope<'_, '_>,
        before: &[IncomingLine<'_>],
    ) -> Result<Option<Status>> {
        if self.looks() {
            self.pending.note(&self.call, record::no_name)?;
            let Some(matched) = self.find(before)? else { return Ok(None) };
            if let Some(status) = self.receive(comm, matched)? {
                return Ok(Some(status));
            }
        }
        match &mut self.room {
            Room::Posted(request, status_of) => {
                let raw = scope.look(*request)?;
                raw.map(|raw| status_of(&self.call, &raw)).transpose()
            }
            Room::Coming(incoming, _) => {
                if incoming.poll(&self.call)? == Progress::Pending {
                    return Ok(None);
                }
                let arrived = incoming.take(&self.call)?;
                match std::mem::replace(&mut self.room, Room::Nothing) {
                    Room::Coming(_, open) => open(&self.call, arrived).map(Some),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
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

/// Posts the receives that MPI can match in the order of the lines. Returns whether all of them are one request
/// each.
fn post<'scope, 'env: 'scope>(
    comm: &Comm,
    scope: &'scope Scope<'scope, 'env>,
    parts: &mut [IncomingLine<'env>],
    got: &mut Got,
) -> bool {
    let (mut looks, mut is_simple) = (false, true);
    for index in 0..parts.len() {
        let (before, rest) = parts.split_at_mut(index);
        let part = &mut rest[0];
        // Were it posted now, it would take the message of the earlier line.
        part.contested = looks && before.iter().any(|it| it.looks_before(part.from));
        if !part.contested {
            let posted = match std::mem::replace(&mut part.room, Room::Nothing) {
                Room::Fixed(view, status_of) => scope
                    .start_receive(&part.call, view, part.envelope)
                    .map(|request| Room::Posted(request, status_of)),
                Room::Object(open) => Incoming::start(&part.call, comm.private(), part.envelope)
                    .map(|incoming| Room::Coming(incoming, open)),
                room => Ok(room),
            };
            match posted {
                Ok(room) => part.room = room,
                Err(error) => got.errors.push((part.line, error)),
            }
        }
        looks |= part.looks();
        is_simple &= matches!(part.room, Room::Posted(..) | Room::Nothing);
    }
    is_simple
}

fn start<'scope, 'env: 'scope>(
    comm: &Comm,
    scope: &'scope Scope<'scope, 'env>,
    outgoing: &'scope [Outward<'env>],
    got: &mut Got,
) -> Sent<'scope, 'env> {
    let mut sent = Sent { outgoing, refused: Vec::new(), rests: Vec::new() };
    for Outward { line, call, envelope, data } in outgoing {
        let view = match data {
            Data::Lent(view) => *view,
            Data::Encoded(message) => View::bytes(message.first()),
        };
        if let Err(error) = scope.start_send(call, Mode::Standard, view, *envelope) {
            sent.refused.push(*line);
            got.errors.push((*line, error));
        } else if let Data::Encoded(message) = data {
            match message.follow(call, comm.private(), *envelope) {
                Ok(rest) => sent.rests.extend(rest),
                Err(error) => got.errors.push((*line, error)),
            }
        }
    }
    sent
}

/// Completes everything where some receives are more than one request, or must look for their messages.
fn complete_in_turn(
    comm: &Comm,
    scope: &Scope<'_, '_>,
    call: &Call<'_>,
    incoming: &mut [IncomingLine<'_>],
    sent: &Sent<'_, '_>,
    got: &mut Got,
) -> Result<()> {
    let posted = incoming.iter().filter(|it| matches!(it.room, Room::Posted(..))).count();
    let mut sends: Vec<usize> = (0..sent.started()).collect();
    // A wait each: one that has found something looks again at once.
    while !wait::until(call, Kind::WaitAll, || {
        let mut moved = false;
        let mut number = 0;
        while number < sends.len() {
            match scope.look(posted + sends[number]) {
                Ok(None) => {
                    number += 1;
                    continue;
                }
                Ok(Some(_)) => {}
                Err(error) if was_refused(&error) => return Err(error),
                Err(error) => got.errors.push((sent.line(sends[number]), error)),
            }
            sends.swap_remove(number);
            moved = true;
        }
        let mut left = 0;
        for index in 0..incoming.len() {
            let (before, rest) = incoming.split_at_mut(index);
            let part = &mut rest[0];
            if let Room::Nothing = part.room {
                continue;
            }
            let looked = part.looks();
            match part.advance(comm, scope, before) {
                Ok(None) => {
                    moved |= looked && !part.looks();
                    left += 1;
                    continue;
                }
                Err(error) if was_refused(&error) => return Err(error),
                Ok(Some(status)) => got.statuses[index] = status,
                Err(error) => got.errors.push((part.line, error)),
            }
            part.room = Room::Nothing;
            part.pending = PendingReceive::default();
            moved = true;
        }
        let is_over = left == 0 && sends.is_empty();
        Ok((moved || is_over).then_some(is_over))
    })? {}
    Ok(())
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

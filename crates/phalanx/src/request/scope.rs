//! Requests on borrowed buffers: a scope that completes everything at its end.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::comm::{Comm, Dest, Source, Status};
use crate::datatype::{Payload, PayloadMut, filled, sent};
use crate::error::{Error, ErrorKind, Result};
use crate::p2p::status_of;
use crate::raw::p2p::{self, Envelope, Mode, RawStatus};
use crate::raw::request::Live;
use crate::raw::wait::Backoff;
use crate::raw::{self, View, ViewMut};
use crate::record::{Call, IRECV, ISEND, ISSEND, Operation, Peer, WAIT_ALL};

/// A place for requests on borrowed buffers; see [`Comm::scope`].
pub struct Scope<'scope, 'env: 'scope> {
    comm: &'env Comm,
    /// Whether its messages travel on the private communicator.
    private: bool,
    flights: RefCell<Flights>,
    /// Invariant in `'scope`, as `std::thread::Scope` is: buffers stay borrowed for all of it.
    scope: PhantomData<&'scope mut &'scope ()>,
}

#[derive(Default)]
struct Flights {
    requests: Vec<Live>,
    details: Vec<Detail>,
}

/// What an error will say of one request.
#[derive(Clone, Copy)]
struct Detail {
    operation: &'static Operation,
    peer: Peer,
    tag: Option<i32>,
    location: &'static Location<'static>,
    private: bool,
}

/// One request of a scope.
///
/// It may be ignored: the scope completes it at its end.
pub struct Pending<'s, T> {
    flights: &'s RefCell<Flights>,
    comm: &'s Comm,
    index: usize,
    element: PhantomData<fn() -> T>,
}

/// How long a scope that failed waits for what is still in flight, before it ends the job.
const GRACE: Duration = Duration::from_secs(1);

/// # Non-blocking messages with borrowed buffers
impl Comm {
    /// Runs `f` with a scope for requests on borrowed buffers, and completes all of them at its end.
    ///
    /// Nothing is copied and nothing allocated for each message. Buffers stay borrowed until the scope
    /// ends, so that reading one too early does not compile.
    ///
    /// If `f` fails or panics with messages in flight, receives are cancelled and sends get a second
    /// to complete; if they do not, their buffers cannot be given back, and the job is ended.
    ///
    /// # Errors
    /// Those of `f`, or the first error of a request.
    ///
    /// MPI: `MPI_Waitall`, MPI-4.1 section 3.7.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let (rank, size) = (world.rank(), world.size());
    /// let edge = [rank as f64; 4];
    /// let mut halo = [0.0; 4];
    /// world.scope(|s| {
    ///     s.irecv_into(&mut halo, (rank + size - 1) % size)?;
    ///     s.isend(&edge, (rank + 1) % size)?;
    ///     // … work that does not need the halo …
    ///     Ok(())
    /// })?;
    /// assert_eq!(halo[0] as usize, (rank + size - 1) % size);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn scope<'env, F, R>(&'env self, f: F) -> Result<R>
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> Result<R>,
    {
        self.scope_in(false, Location::caller(), f)
    }

    /// A scope for an operation that is made of several messages, which is refused as a whole or not at all.
    pub(crate) fn scope_at<'env, F, R>(
        &'env self,
        private: bool,
        location: &'static Location<'static>,
        f: F,
    ) -> Result<R>
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> Result<R>,
    {
        let _permit = raw::permit(&self.call(&WAIT_ALL, location))?;
        self.scope_in(private, location, f)
    }

    fn scope_in<'env, F, R>(
        &'env self,
        private: bool,
        location: &'static Location<'static>,
        f: F,
    ) -> Result<R>
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> Result<R>,
    {
        let flights = RefCell::new(Flights::default());
        let scope = Scope { comm: self, private, flights, scope: PhantomData };
        let guard = Recall { comm: self, flights: &scope.flights, location };
        let result = f(&scope)?;
        let mut flights = scope.flights.borrow_mut();
        let outcome = flights.finish(self, location);
        drop(flights);
        drop(guard);
        outcome.map(|()| result)
    }
}

impl Flights {
    fn finish(&mut self, comm: &Comm, location: &'static Location<'static>) -> Result<()> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let mut outcome = self.complete(comm, location);
        let mut backoff = Backoff::new();
        // Some may still be in flight: all must be over before the buffers are free.
        while self.requests.iter().any(|request| !request.is_null()) {
            if outcome.as_ref().is_err_and(Error::is_deadlock) {
                self.give_up(comm);
                break;
            }
            if outcome.as_ref().is_err_and(Error::is_state) {
                let message = format!(
                    "MPI was finalized inside the scope at {location}, with messages in flight \
                     whose buffers cannot be given back"
                );
                crate::world::end_job(message);
            }
            backoff.pause();
            outcome = outcome.and(self.complete(comm, location));
        }
        self.requests.clear();
        self.details.clear();
        outcome
    }

    /// Leaves what never completes: the watch has proved it, in strict mode, where a send reads from a
    /// copy. What can be received no more is taken back.
    fn give_up(&mut self, comm: &Comm) {
        for (request, detail) in self.requests.iter_mut().zip(&self.details) {
            if detail.receives() && !request.is_null() {
                let call = detail.call(comm);
                // A refusal leaves the receive as it is; the second call then waits for it.
                let _ = raw::request::cancel(&call, request);
                let _ = raw::request::wait(&call, request);
                if !request.is_null() {
                    let message = format!(
                        "a receive at {} can neither be completed nor be taken back",
                        call.location
                    );
                    crate::world::end_job(message);
                }
            }
        }
    }

    fn complete(&mut self, comm: &Comm, location: &'static Location<'static>) -> Result<()> {
        let call = comm.call(&WAIT_ALL, location);
        let details = &self.details;
        raw::request::finish_all(&call, &mut self.requests, |index| details[index].call(comm))
    }
}

impl Detail {
    fn of(call: &Call<'_>, private: bool) -> Self {
        let Call { operation, peer, tag, location, .. } = *call;
        Detail { operation, peer, tag, location, private }
    }

    fn receives(&self) -> bool {
        matches!(self.peer, Peer::From(_) | Peer::AnySource)
    }

    fn call<'c>(&self, comm: &'c Comm) -> Call<'c> {
        let call = if self.private {
            comm.private_call(self.operation, self.location)
        } else {
            comm.call(self.operation, self.location)
        };
        call.peer(self.peer).tag(self.tag)
    }
}

/// Takes everything back if the closure of a scope leaves early.
struct Recall<'a> {
    comm: &'a Comm,
    flights: &'a RefCell<Flights>,
    location: &'static Location<'static>,
}

impl Drop for Recall<'_> {
    fn drop(&mut self) {
        // A closure that panics inside a method of the scope may hold the borrow no more: the methods
        // run no code of the user's.
        let Ok(mut flights) = self.flights.try_borrow_mut() else { return };
        if flights.requests.is_empty() {
            return;
        }
        let Flights { requests, details } = &mut *flights;
        for (request, detail) in requests.iter_mut().zip(details.iter()) {
            if detail.receives() {
                // What cannot be cancelled is waited for below.
                let _ = raw::request::cancel(&detail.call(self.comm), request);
            }
        }
        let start = Instant::now();
        let mut backoff = Backoff::new();
        loop {
            let mut left = None;
            for (request, detail) in requests.iter_mut().zip(details.iter()) {
                let call = detail.call(self.comm);
                // An error of the operation ends the request as completion does.
                match raw::request::test(&call, request) {
                    Ok(Some(_)) => {}
                    Err(error) if !raw::request::was_refused(&error) => {}
                    Ok(None) | Err(_) => {
                        // Of several, a receive: only that still needs its buffer in strict mode.
                        if left.is_none_or(|it: &Detail| !it.receives()) {
                            left = Some(detail);
                        }
                    }
                }
            }
            let Some(detail) = left else { break };
            // A send of strict mode reads from a copy.
            if raw::strict::is_on() && !detail.receives() {
                break;
            }
            if start.elapsed() > GRACE {
                let call = detail.call(self.comm);
                let message = format!(
                    "a scope at {} was left early with messages in flight whose buffers cannot be \
                     given back: {}{} at {}",
                    self.location, call.operation.name, call.peer, call.location
                );
                crate::world::end_job(message);
            }
            backoff.pause();
        }
        requests.clear();
        details.clear();
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Starts to send a borrowed buffer.
    ///
    /// # Errors
    /// As [`Comm::isend`].
    ///
    /// MPI: `MPI_Isend`, MPI-4.1 section 3.7.2.
    #[track_caller]
    #[inline]
    pub fn isend<P: Payload + ?Sized>(
        &'scope self,
        data: &'scope P,
        to: impl Into<Dest>,
    ) -> Result<Pending<'scope, P::Element>> {
        self.isend_in(&ISEND, Mode::Standard, data, to.into(), Location::caller())
    }

    /// Starts to send a borrowed buffer; complete when the receiver has begun to receive it.
    ///
    /// # Errors
    /// As [`Comm::issend`].
    ///
    /// MPI: `MPI_Issend`, MPI-4.1 section 3.7.2.
    #[track_caller]
    #[inline]
    pub fn issend<P: Payload + ?Sized>(
        &'scope self,
        data: &'scope P,
        to: impl Into<Dest>,
    ) -> Result<Pending<'scope, P::Element>> {
        self.isend_in(&ISSEND, Mode::Synchronous, data, to.into(), Location::caller())
    }

    #[inline(always)]
    fn isend_in<P: Payload + ?Sized>(
        &'scope self,
        operation: &'static Operation,
        mode: Mode,
        data: &'scope P,
        to: Dest,
        location: &'static Location<'static>,
    ) -> Result<Pending<'scope, P::Element>> {
        let call = self.comm.call(operation, location).peer(to.peer()).tag(Some(to.tag));
        let envelope = to.envelope(&call)?;
        let index = self.start_send(&call, mode, sent(&call, data)?, envelope)?;
        Ok(self.pending(index))
    }

    /// Starts to send borrowed memory. The call is on the communicator of the scope's messages. The
    /// index counts what was started in this scope.
    #[inline(always)]
    pub(crate) fn start_send(
        &'scope self,
        call: &Call<'_>,
        mode: Mode,
        view: View<'scope>,
        to: Envelope,
    ) -> Result<usize> {
        let mut request = raw::request::null();
        // SAFETY: the buffer is borrowed for the whole scope, which completes the request at its end.
        unsafe { p2p::isend(call, mode, view, to, &mut request)? };
        Ok(self.add(request, Detail::of(call, self.private)))
    }

    /// Starts to receive into a borrowed buffer.
    ///
    /// # Errors
    /// As [`Comm::irecv_into`].
    ///
    /// MPI: `MPI_Irecv`, MPI-4.1 section 3.7.2.
    #[track_caller]
    #[inline]
    pub fn irecv_into<P: PayloadMut + ?Sized>(
        &'scope self,
        buffer: &'scope mut P,
        from: impl Into<Source>,
    ) -> Result<Pending<'scope, P::Element>> {
        let from = from.into();
        let call = self.comm.call(&IRECV, Location::caller()).peer(from.peer()).tag(from.tag);
        let envelope = from.envelope(&call)?;
        let index = self.start_receive(&call, filled(&call, buffer)?, envelope)?;
        Ok(self.pending(index))
    }

    /// Starts to receive into borrowed memory, as [`start_send`](Scope::start_send) sends it.
    #[inline(always)]
    pub(crate) fn start_receive(
        &'scope self,
        call: &Call<'_>,
        view: ViewMut<'scope>,
        from: Envelope,
    ) -> Result<usize> {
        let mut request = raw::request::null();
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { p2p::irecv(call, view, from, &mut request)? };
        Ok(self.add(request, Detail::of(call, self.private)))
    }

    /// Makes room for so many requests at once.
    pub(crate) fn reserve(&self, requests: usize) {
        let mut flights = self.flights.borrow_mut();
        flights.requests.reserve(requests);
        flights.details.reserve(requests);
    }

    /// Gives what is in flight a second to complete, and leaves the rest to the end of the scope. For who
    /// is about to leave early although the others go on.
    pub(crate) fn complete_for_a_second(&self) {
        let Flights { requests, details } = &mut *self.flights.borrow_mut();
        let start = Instant::now();
        let mut backoff = Backoff::new();
        loop {
            let mut pending = false;
            for (request, detail) in requests.iter_mut().zip(details.iter()) {
                // An error ends the request, or is met again at the end of the scope.
                let outcome = raw::request::test(&detail.call(self.comm), request);
                pending |= matches!(outcome, Ok(None));
            }
            if !pending || start.elapsed() > GRACE {
                return;
            }
            backoff.pause();
        }
    }

    /// Completes everything that was started, each with its own outcome. Nothing of it is left for the
    /// end of the scope.
    pub(crate) fn outcomes(&self, call: &Call<'_>) -> Result<Vec<Result<RawStatus>>> {
        let Flights { requests, details } = &mut *self.flights.borrow_mut();
        let origin = |index: usize| details[index].call(self.comm);
        let outcomes = raw::request::wait_all(call, requests, origin)?;
        requests.clear();
        details.clear();
        Ok(outcomes)
    }

    /// Looks whether one of the requests is complete.
    pub(crate) fn look(&self, index: usize) -> Result<Option<RawStatus>> {
        let Flights { requests, details } = &mut *self.flights.borrow_mut();
        raw::request::test(&details[index].call(self.comm), &mut requests[index])
    }

    fn pending<T>(&'scope self, index: usize) -> Pending<'scope, T> {
        Pending { flights: &self.flights, comm: self.comm, index, element: PhantomData }
    }

    #[inline(always)]
    fn add(&self, request: Live, detail: Detail) -> usize {
        let mut flights = self.flights.borrow_mut();
        if flights.requests.capacity() == 0 {
            flights.requests.reserve(64);
            flights.details.reserve(64);
        }
        flights.requests.push(request);
        flights.details.push(detail);
        flights.requests.len() - 1
    }

    /// Completes everything that was started so far.
    ///
    /// # Errors
    /// The first error of a request.
    ///
    /// MPI: `MPI_Waitall`, MPI-4.1 section 3.7.5.
    #[track_caller]
    pub fn wait_all(&'scope self) -> Result<()> {
        // The entries stay: a `Pending` knows its request by index.
        self.flights.borrow_mut().complete(self.comm, Location::caller())
    }
}

impl<T: crate::Element> Pending<'_, T> {
    /// Waits for this request alone, and says what came. For a send, source and tag mean nothing.
    ///
    /// # Errors
    /// Those of the operation; [`State`](ErrorKind::State) if it was completed already.
    ///
    /// MPI: `MPI_Wait`, MPI-4.1 section 3.7.3.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let (me, data, mut buffer) = (world.rank(), [1, 2, 3], [0; 8]);
    /// let got = world.scope(|s| {
    ///     let receiving = s.irecv_into(&mut buffer, any())?;
    ///     s.isend(&data, me)?;
    ///     receiving.wait()
    /// })?;
    /// assert_eq!((got.source, got.len), (Some(me), 3));
    /// # Ok(())
    /// # });
    /// ```
    pub fn wait(self) -> Result<Status> {
        let (mut flights, call) = self.open()?;
        let raw = raw::request::wait(&call, &mut flights.requests[self.index])?;
        self.status(&call, &raw)
    }

    /// Looks whether this request is complete.
    ///
    /// # Errors
    /// As [`wait`](Pending::wait).
    ///
    /// MPI: `MPI_Test`, MPI-4.1 section 3.7.3.
    pub fn test(&self) -> Result<Option<Status>> {
        let (mut flights, call) = self.open()?;
        match raw::request::test(&call, &mut flights.requests[self.index])? {
            Some(raw) => self.status(&call, &raw).map(Some),
            None => Ok(None),
        }
    }

    fn open(&self) -> Result<(std::cell::RefMut<'_, Flights>, Call<'_>)> {
        let flights = self.flights.borrow_mut();
        let call = flights.details[self.index].call(self.comm);
        if flights.requests[self.index].is_null() {
            return Err(Error::new(ErrorKind::State, &call, "it was completed already"));
        }
        Ok((flights, call))
    }

    fn status(&self, call: &Call<'_>, raw: &RawStatus) -> Result<Status> {
        if let Peer::To(_) | Peer::Null = call.peer {
            return Ok(Status { source: None, tag: call.tag.unwrap_or(0), len: 0 });
        }
        status_of::<T>(call, raw)
    }
}

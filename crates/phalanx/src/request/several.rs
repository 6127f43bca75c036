//! Operations that are several MPI requests, which make progress by themselves.

use super::orphans;
use super::task::{Handle, Progress, Task};
use super::{Origin, Request};
use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::collective::Form;
use crate::raw::p2p::{self, Envelope, Mode, RawStatus};
use crate::raw::request::Live;
use crate::raw::{View, ViewMut, request as raw};
use crate::record::{Call, Peer};
use crate::request::stable::Stable;

/// The requests of an operation: most have one.
pub(crate) struct Requests {
    first: Option<Handle>,
    more: Vec<Handle>,
}

impl Requests {
    fn next(&mut self) -> &mut Live {
        let request = Handle(raw::null());
        if self.first.is_none() {
            return &mut self.first.insert(request).0;
        }
        self.more.push(request);
        let last = self.more.len() - 1;
        &mut self.more[last].0
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Live> {
        self.first.iter_mut().chain(&mut self.more).map(|handle| &mut handle.0)
    }
}

/// Whether the parts of an operation are complete when they return, or only started.
pub(crate) enum Run<'r> {
    Now,
    Start(&'r mut Requests),
}

/// A part that is a message of its own, between two ranks that both know of it. The call is on the private
/// communicator.
pub(crate) struct Apart<'a> {
    pub rank: usize,
    pub view: View<'a>,
}

/// The same where it is received.
pub(crate) struct ApartMut<'a> {
    pub rank: usize,
    pub view: ViewMut<'a>,
}

impl Run<'_> {
    /// How the next collective part is called. Who starts one passes views of the storage of
    /// [`start_several`] alone.
    #[inline(always)]
    pub fn form(&mut self) -> Form<'_> {
        match self {
            Run::Now => Form::Blocking,
            // SAFETY: the storage stays in place until all requests are complete.
            Run::Start(requests) => unsafe { Form::start(requests.next()) },
        }
    }

    /// Sends a message and receives another, where there are any. What is sent first is received first.
    pub fn exchange(
        &mut self,
        call: &Call<'_>,
        tag: i32,
        send: Option<Apart<'_>>,
        recv: Option<ApartMut<'_>>,
    ) -> Result<()> {
        let to = send.as_ref().map(|it| it.rank);
        let from = recv.as_ref().map(|it| it.rank);
        let sending = to.map_or(*call, |to| call.peer(Peer::To(to))).tag(Some(tag));
        let receiving = from.map_or(*call, |from| call.peer(Peer::From(from))).tag(Some(tag));
        let envelope = |rank: usize| Envelope { rank: rank as i32, tag };
        match self {
            Run::Now => match (send, recv) {
                (None, None) => Ok(()),
                (Some(send), None) => {
                    p2p::send(&sending, Mode::Standard, send.view, envelope(send.rank))
                }
                (None, Some(recv)) => {
                    let mut status = RawStatus::empty();
                    p2p::recv(&receiving, recv.view, envelope(recv.rank), &mut status)
                }
                (Some(send), Some(recv)) => {
                    let (to, from) = (envelope(send.rank), envelope(recv.rank));
                    p2p::sendrecv(&sending, send.view, to, recv.view, from).map(drop)
                }
            },
            Run::Start(requests) => {
                if let Some(recv) = recv {
                    // SAFETY: the storage stays in place until all requests are complete.
                    unsafe {
                        p2p::irecv(&receiving, recv.view, envelope(recv.rank), requests.next())?;
                    }
                }
                if let Some(send) = send {
                    let to = envelope(send.rank);
                    // SAFETY: as above.
                    unsafe {
                        p2p::isend(&sending, Mode::Standard, send.view, to, requests.next())?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Requests with what they read and write.
struct Several<S, F> {
    requests: Requests,
    rest: Option<(Stable<S>, F)>,
    /// The first error of a request. It is returned when all others are complete.
    failed: Option<Error>,
}

impl<S, R, F> Task<R> for Several<S, F>
where
    S: Send,
    F: FnOnce(S, &Call<'_>) -> Result<R> + Send,
{
    fn poll(&mut self, call: &Call<'_>) -> Result<Progress> {
        let mut pending = false;
        for request in self.requests.iter_mut().filter(|request| !request.is_null()) {
            match raw::test(call, request) {
                Ok(status) => pending |= status.is_none(),
                Err(error) if raw::was_refused(&error) => return Err(error),
                Err(error) => {
                    self.failed.get_or_insert(error);
                }
            }
        }
        if pending {
            return Ok(Progress::Pending);
        }
        self.failed.take().map_or(Ok(Progress::Complete), Err)
    }

    fn block(&mut self, call: &Call<'_>) -> Result<()> {
        for request in self.requests.iter_mut().filter(|request| !request.is_null()) {
            match raw::wait(call, request) {
                Ok(_) => {}
                Err(error) if raw::was_refused(&error) => return Err(error),
                Err(error) => {
                    self.failed.get_or_insert(error);
                }
            }
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    fn handle(&mut self) -> Option<&mut Live> {
        let first = self.requests.first.as_mut().filter(|_| self.requests.more.is_empty());
        first.map(|handle| &mut handle.0).filter(|request| !request.is_null())
    }

    fn completed(&mut self, _status: RawStatus) {
        if let Some(first) = &mut self.requests.first {
            first.0 = raw::null();
        }
    }

    fn take(&mut self, call: &Call<'_>) -> Result<R> {
        match self.rest.take() {
            Some((storage, finish)) => finish(storage.into_inner(), call),
            None => Err(Error::new(ErrorKind::State, call, "the result was taken already")),
        }
    }
}

/// Starts an operation of several parts on storage that the request will own. `begin` passes views of its
/// storage alone. Where a part cannot be started, those that are on their way are completed in the
/// background.
pub(crate) fn start_several<S, R, F>(
    comm: &Comm,
    call: &Call<'_>,
    storage: S,
    begin: impl FnOnce(&mut S, &mut Run<'_>) -> Result<()>,
    finish: F,
) -> Result<Request<R>>
where
    S: Send + 'static,
    R: 'static,
    F: FnOnce(S, &Call<'_>) -> Result<R> + Send + 'static,
{
    let permit = crate::raw::permit(call)?;
    orphans::sweep(&permit);
    let mut requests = Requests { first: None, more: Vec::new() };
    let mut storage = Stable::new(storage);
    let begun = begin(storage.lend(), &mut Run::Start(&mut requests));
    let in_flight = requests.iter_mut().any(|request| !request.is_null());
    let task: Box<dyn Task<R>> =
        Box::new(Several { requests, rest: Some((storage, finish)), failed: None });
    let origin = Origin::new(comm, call);
    match begun {
        Ok(()) => Ok(Request { task: Some(task), origin }),
        Err(error) => {
            if in_flight {
                orphans::adopt(task, origin);
            }
            Err(error)
        }
    }
}

impl<R: 'static> Request<R> {
    /// Lets the operation complete in the background: other ranks need it, and nobody here waits for it.
    pub(crate) fn in_background(mut self) {
        if let Some(task) = self.task.take() {
            orphans::adopt(task, self.origin.clone());
        }
    }
}

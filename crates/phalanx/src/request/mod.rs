//! Requests: operations that have been started and complete later.
//!
//! A [`Request`] owns the buffers that MPI reads or writes meanwhile, in an allocation of their own
//! that never moves. So it may be moved, forgotten or dropped at any time. A receive that is dropped is
//! cancelled, unless its message is on its way. Whatever else is dropped while pending goes to a list
//! of orphans that keeps the buffers alive, and finalize names the line that made it. For buffers of the caller's there is the [`Scope`].

mod future;
mod handed_over;
mod memory;
mod nonblocking;
mod orphans;
mod pending_receive;
mod receiving;
mod scope;
mod set;
mod several;
mod stable;
mod task;

use std::panic::Location;

pub use future::block_on;
pub use scope::{Pending, Scope};
pub use set::RequestSet;

pub(crate) use handed_over::{InFlight, hand_over, undelivered};
pub(crate) use memory::Memory;
pub(crate) use orphans::{dropped_receives, number as orphans, unfinished, unwaited};
pub(crate) use pending_receive::PendingReceive;
pub(crate) use receiving::{receive_matched, start_matched};
pub(crate) use several::{Apart, ApartMut, Run, start_several};
pub(crate) use task::{Handle, Progress, Single, Task};

use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::collective::Form;
use crate::raw::p2p::RawStatus;
use crate::raw::request::Live;
use crate::raw::{self};
use crate::record::{CANCEL, Call, Operation, Peer};

/// What a request is, without borrowing its communicator.
#[derive(Clone)]
pub(crate) struct Origin {
    comm: Comm,
    private: bool,
    operation: &'static Operation,
    peer: Peer,
    tag: Option<i32>,
    location: &'static Location<'static>,
}

impl Origin {
    pub fn new(comm: &Comm, call: &Call<'_>) -> Self {
        Origin {
            comm: comm.clone(),
            private: call.comm.is_some_and(|identity| !std::ptr::eq(identity, comm.identity())),
            operation: call.operation,
            peer: call.peer,
            tag: call.tag,
            location: call.location,
        }
    }

    pub fn call(&self) -> Call<'_> {
        let call = if self.private {
            self.comm.private_call(self.operation, self.location)
        } else {
            self.comm.call(self.operation, self.location)
        };
        call.peer(self.peer).tag(self.tag)
    }
}

/// An operation in flight that gives an `R` when it completes.
///
/// Complete it with [`wait`](Request::wait), look with [`test`](Request::test), collect several in a
/// [`RequestSet`], or `.await` it. Errors name the line that started the operation.
///
/// MPI: MPI-4.1 section 3.7.
///
/// ```
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let me = world.rank();
/// let sending = world.isend(vec![1.0, 2.0], me)?; // the buffer moves into the request
/// let numbers: Vec<f64> = world.recv(me)?;
/// let buffer = sending.wait()?; // and comes back
/// assert_eq!(numbers, buffer);
/// # Ok(())
/// # });
/// ```
#[must_use = "a request that is dropped before it completes is reported at finalize"]
pub struct Request<R: 'static> {
    task: Option<Box<dyn Task<R>>>,
    origin: Origin,
}

/// A task whose result is changed at its end.
struct Mapped<R, F> {
    task: Box<dyn Task<R>>,
    f: Option<F>,
}

impl<R, U, F: FnOnce(R) -> U + Send> Task<U> for Mapped<R, F> {
    fn poll(&mut self, call: &Call<'_>) -> Result<Progress> {
        self.task.poll(call)
    }

    fn block(&mut self, call: &Call<'_>) -> Result<()> {
        self.task.block(call)
    }

    fn handle(&mut self) -> Option<&mut Live> {
        self.task.handle()
    }

    fn completed(&mut self, status: RawStatus) {
        self.task.completed(status);
    }

    fn received(&self) -> Option<(RawStatus, Option<usize>)> {
        self.task.received()
    }

    fn take(&mut self, call: &Call<'_>) -> Result<U> {
        let result = self.task.take(call)?;
        self.f.take().map(|f| f(result)).ok_or_else(|| already_taken(call))
    }
}

/// Starts an operation on storage that the request will own.
pub(crate) fn start<S, R, F>(
    comm: &Comm,
    call: &Call<'_>,
    storage: S,
    begin: impl FnOnce(&mut S, &mut Live) -> Result<()>,
    finish: F,
) -> Result<Request<R>>
where
    S: Send + 'static,
    R: 'static,
    F: FnOnce(S, RawStatus, &Call<'_>) -> Result<R> + Send + 'static,
{
    let permit = raw::permit(call)?;
    orphans::sweep(&permit);
    let mut single = Box::new(Single::new(storage, finish));
    single.begin(begin)?;
    Ok(Request { task: Some(single), origin: Origin::new(comm, call) })
}

/// [`start`] for a collective operation.
pub(crate) fn start_collective<S, R, F>(
    comm: &Comm,
    call: &Call<'_>,
    storage: S,
    begin: impl FnOnce(&mut S, Form<'_>) -> Result<()>,
    finish: F,
) -> Result<Request<R>>
where
    S: Send + 'static,
    R: 'static,
    F: FnOnce(S, RawStatus, &Call<'_>) -> Result<R> + Send + 'static,
{
    let begin = |storage: &mut S, request: &mut Live| {
        // SAFETY: `begin` passes views of its storage alone, which stays in place until completion.
        let form = unsafe { Form::start(request) };
        begin(storage, form)
    };
    start(comm, call, storage, begin, finish)
}

/// A request whose parts have all been started.
pub(crate) fn from_task<R: 'static>(
    comm: &Comm,
    call: &Call<'_>,
    task: impl Task<R> + 'static,
) -> Request<R> {
    // Who may start its parts may sweep; a thread that may not leaves it to the next one.
    if let Ok(permit) = raw::permit(call) {
        orphans::sweep(&permit);
    }
    Request { task: Some(Box::new(task)), origin: Origin::new(comm, call) }
}

/// A request that advances in several steps.
pub(crate) fn start_steps<R: 'static>(
    comm: &Comm,
    call: &Call<'_>,
    task: impl Task<R> + 'static,
) -> Result<Request<R>> {
    let permit = raw::permit(call)?;
    orphans::sweep(&permit);
    let origin = Origin::new(comm, call);
    let mut task: Box<dyn Task<R>> = Box::new(task);
    // What can go on its way at once does.
    let polled = task.poll(&origin.call());
    let mut request = Request { task: Some(task), origin };
    if let Err(error) = polled {
        // Where the gate refused, parts may be in flight: the drop of the request keeps them.
        if !raw::request::was_refused(&error) {
            request.task = None;
        }
        return Err(error);
    }
    Ok(request)
}

impl<R: 'static> Request<R> {
    /// Waits until the operation is complete.
    ///
    /// # Errors
    /// Those of the operation; [`State`](ErrorKind::State) if its result was taken already.
    ///
    /// MPI: `MPI_Wait`, MPI-4.1 section 3.7.3.
    pub fn wait(mut self) -> Result<R> {
        let call = self.origin.call();
        let _permit = raw::permit(&call)?;
        let Some(task) = self.task.as_mut() else { return Err(already_taken(&call)) };
        let outcome = task.block(&call);
        self.conclude(outcome)
    }

    /// Looks whether the operation is complete, and takes its result if it is.
    ///
    /// # Errors
    /// Those of the operation; [`State`](ErrorKind::State) if its result was taken already.
    ///
    /// MPI: `MPI_Test`, MPI-4.1 section 3.7.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut barrier = world.ibarrier()?;
    /// while barrier.test()?.is_none() {
    ///     // … work …
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn test(&mut self) -> Result<Option<R>> {
        let call = self.origin.call();
        let _permit = raw::permit(&call)?;
        let Some(task) = self.task.as_mut() else { return Err(already_taken(&call)) };
        match task.poll(&call) {
            Ok(Progress::Pending) => Ok(None),
            Ok(Progress::Complete) => self.conclude(Ok(())).map(Some),
            Err(error) => self.conclude(Err(error)).map(Some),
        }
    }

    /// Cancels a receive that nothing has matched yet. Returns the result if it came all the same.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for what cannot be cancelled: sends and collectives.
    ///
    /// MPI: `MPI_Cancel`, MPI-4.1 section 3.8.4.
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let nobody_sends = world.irecv_into(vec![0; 8], from(world.rank()).tag(5))?;
    /// assert!(nobody_sends.cancel()?.is_none());
    /// # Ok(())
    /// # });
    /// ```
    pub fn cancel(mut self) -> Result<Option<R>> {
        let origin = self.origin.clone();
        let call = Call { operation: &CANCEL, ..origin.call() };
        let _permit = raw::permit(&call)?;
        let Some(task) = self.task.as_mut() else { return Err(already_taken(&call)) };
        let receives = matches!(call.peer, Peer::From(_) | Peer::AnySource | Peer::Null);
        if !receives {
            let detail = "only a receive can be cancelled";
            return Err(Error::new(ErrorKind::Unsupported, &call, detail));
        }
        let Some(handle) = task.handle() else {
            // The message is here or on its way: it comes all the same.
            let outcome = task.block(&call);
            return self.conclude(outcome).map(Some);
        };
        raw::request::cancel(&call, handle)?;
        let status = match raw::request::wait(&call, handle) {
            Ok(status) => status,
            Err(error) => return self.conclude(Err(error)).map(Some),
        };
        if status.was_cancelled(&call)? {
            self.task = None;
            return Ok(None);
        }
        task.completed(status);
        // What follows the first part of an object is on its way.
        let outcome = task.block(&origin.call());
        self.conclude(outcome).map(Some)
    }

    /// The same request, with its result changed by `f` when it completes.
    #[must_use = "a request that is dropped before it completes is reported at finalize"]
    pub fn map<U: 'static>(mut self, f: impl FnOnce(R) -> U + Send + 'static) -> Request<U> {
        let task =
            self.task.take().map(|task| Box::new(Mapped { task, f: Some(f) }) as Box<dyn Task<U>>);
        Request { task, origin: self.origin.clone() }
    }

    /// Takes the result of a task that is over.
    fn conclude(&mut self, outcome: Result<()>) -> Result<R> {
        if let Err(error) = outcome {
            if !raw::request::was_refused(&error) {
                self.task = None;
            }
            return Err(error);
        }
        let call = self.origin.call();
        match self.task.take() {
            Some(mut task) => task.take(&call),
            None => Err(already_taken(&call)),
        }
    }
}

#[cold]
fn already_taken(call: &Call<'_>) -> Error {
    Error::new(ErrorKind::State, call, "the result of this request was taken already")
}

impl<R: 'static> Drop for Request<R> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            // Who was told that it never ends has waited.
            if raw::strict::is_on() && !crate::record::had_verdict() {
                orphans::note_unwaited(&self.origin);
            }
            orphans::adopt(task, self.origin.clone());
        }
    }
}

impl<R: 'static> std::fmt::Debug for Request<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.task.is_some() { "pending" } else { "taken" };
        write!(f, "Request({} at {}, {state})", self.origin.operation.name, self.origin.location)
    }
}

//! Messages of unknown length that are received in the background.
//!
//! MPI has no such receive: somebody has to look for the message, and start to receive it when its
//! length is known. Every wait of this library does so for all such receives (`raw/unmatched.rs`):
//! otherwise two ranks that have posted them and then wait for their sends would wait for ever.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::task::{Progress, Task};
use super::{Request, start_steps};
use crate::comm::Comm;
use crate::datatype::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::p2p::status_of;
use crate::raw::p2p::{self, Envelope, Matched, RawStatus};
use crate::raw::request::{self as raw, Live};
use crate::raw::unmatched::{self, Unmatched};
use crate::raw::{ViewMut, datatype, object};
use crate::record::{self, Call, Identity, Kind, Name, Operation, Peer, What};

/// A message of unknown length, whose elements arrive in the background once it is matched.
pub(crate) struct Receiving<T, F> {
    envelope: Envelope,
    /// `None` until the first look.
    flight: Option<Arc<Flight>>,
    finish: F,
    element: Name,
    elements: PhantomData<fn() -> T>,
}

/// The message on its way.
struct Flight {
    comm: Arc<Identity>,
    operation: &'static Operation,
    peer: Peer,
    tag: Option<i32>,
    location: &'static Location<'static>,
    envelope: Envelope,
    element: Name,
    alignment: usize,
    state: Mutex<State>,
}

enum State {
    /// With its place in the record.
    Unmatched(u16),
    /// The same while a wait of its own looks for the message: nobody else does.
    Claimed(u16),
    Arriving {
        request: Live,
        memory: Memory,
        status: RawStatus,
    },
    Arrived {
        memory: Memory,
        status: RawStatus,
    },
    Failed(Error),
    Taken,
}

// SAFETY: request and status are plain values; the gate checks which thread may use them.
unsafe impl Send for State {}

/// Bytes for elements of a certain alignment. They stay where they are.
struct Memory {
    pointer: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its bytes.
unsafe impl Send for Memory {}

impl Memory {
    fn new(bytes: usize, alignment: usize) -> Self {
        let Ok(layout) = Layout::from_size_align(bytes, alignment) else {
            handle_alloc_error(Layout::new::<u8>())
        };
        if bytes == 0 {
            return Memory { pointer: NonNull::dangling(), layout };
        }
        // SAFETY: the layout has a size.
        let pointer = unsafe { alloc(layout) };
        NonNull::new(pointer)
            .map_or_else(|| handle_alloc_error(layout), |pointer| Memory { pointer, layout })
    }

    /// # Safety
    /// All bytes have been written.
    unsafe fn into_elements<T: Element>(self) -> Vec<T> {
        let len = self.layout.size() / size_of::<T>().max(1);
        if len == 0 {
            return Vec::new();
        }
        let pointer = self.pointer.as_ptr().cast();
        std::mem::forget(self);
        // SAFETY: the memory is of the global allocator, with the layout of `len` elements: the caller
        // has seen that the bytes are a whole number of them, and their alignment was asked for.
        unsafe { Vec::from_raw_parts(pointer, len, len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: it was allocated with this layout.
            unsafe { dealloc(self.pointer.as_ptr(), self.layout) };
        }
    }
}

impl Flight {
    fn new<T: Element>(
        call: &Call<'_>,
        envelope: Envelope,
        element: Name,
        state: impl FnOnce() -> State,
    ) -> Result<Self> {
        let Some(comm) = call.comm.and_then(Identity::shared) else {
            return Err(Error::new(ErrorKind::State, call, "there is no communicator"));
        };
        Ok(Flight {
            comm,
            operation: call.operation,
            peer: call.peer,
            tag: call.tag,
            location: call.location,
            envelope,
            element,
            alignment: align_of::<T>(),
            state: Mutex::new(state()),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) -> Call<'_> {
        Call::on(self.operation, &self.comm, self.location).peer(self.peer).tag(self.tag)
    }

    /// Takes it upon the caller to look for the message. Another thread may be about to look.
    fn claim(&self) -> bool {
        let mut state = self.state();
        if let State::Unmatched(place) = *state {
            *state = State::Claimed(place);
        }
        matches!(*state, State::Claimed(_))
    }

    /// Nobody looks for the message any more.
    fn give_up(&self) {
        let mut state = self.state();
        if let State::Unmatched(place) | State::Claimed(place) = *state {
            record::finish(place);
            *state = State::Taken;
        }
    }

    /// Starts to receive a message that was matched. `start` is the call of the MPI library.
    fn begin(
        &self,
        call: &Call<'_>,
        state: &mut State,
        matched: Matched,
        start: impl FnOnce(Matched, ViewMut<'_>, &mut Live) -> Result<()>,
    ) -> Result<()> {
        // Where it cannot be started, the message is lost, and there is nothing to look for.
        if let State::Unmatched(place) | State::Claimed(place) =
            std::mem::replace(state, State::Taken)
        {
            record::finish(place);
        }
        let status = matched.status;
        let bytes = status.bytes(call)?;
        let memory = Memory::new(bytes, self.alignment);
        let mut request = raw::null();
        // SAFETY: so many bytes lie there, and nobody else uses them.
        let view = unsafe {
            let pointer = memory.pointer.as_ptr().cast();
            ViewMut::new(pointer, bytes, datatype::uint8().0, 1, self.element)
        };
        start(matched, view, &mut request)?;
        *state = State::Arriving { request, memory, status };
        Ok(())
    }
}

impl Unmatched for Flight {
    fn look(&self) -> bool {
        // Who holds the state looks itself.
        let Ok(mut state) = self.state.try_lock() else { return true };
        if !matches!(*state, State::Unmatched(_)) {
            return false;
        }
        let call = self.call();
        let found = match p2p::try_match(&call, self.envelope) {
            Ok(None) => return true,
            Ok(Some(matched)) => {
                self.begin(&call, &mut state, matched, |matched, view, request| {
                    // SAFETY: the memory stays in place until the request is complete: who drops what is
                    // complete in no other way leaves it to the orphans, whole.
                    unsafe { p2p::start_matched(&call, matched, view, request) }
                })
            }
            Err(error) => Err(error),
        };
        if let Err(error) = found {
            *state = State::Failed(error);
        }
        false
    }
}

impl<T: Element, F> Receiving<T, F> {
    pub fn new(envelope: Envelope, finish: F) -> Self {
        let element = record::name_of::<T>;
        Receiving { envelope, flight: None, finish, element, elements: PhantomData }
    }

    /// The same for the bytes of a serialised value.
    pub fn of_object(mut self) -> Self {
        self.element = object;
        self
    }

    fn flight(&mut self, call: &Call<'_>) -> Result<Arc<Flight>> {
        if let Some(flight) = &self.flight {
            return Ok(flight.clone());
        }
        let what = What::of(Kind::Receive, 0, self.element);
        let state = || State::Unmatched(record::pend(call, &what));
        let flight = Arc::new(Flight::new::<T>(call, self.envelope, self.element, state)?);
        unmatched::add(flight.clone());
        self.flight = Some(flight.clone());
        Ok(flight)
    }
}

/// Starts to receive a message that was matched.
pub(crate) fn start_matched<T: Element>(
    comm: &Comm,
    call: &Call<'_>,
    matched: Matched,
) -> Result<Request<Vec<T>>> {
    let envelope = Envelope { rank: matched.status.source(), tag: matched.status.tag() };
    let flight = Flight::new::<T>(call, envelope, record::name_of::<T>, || State::Taken)?;
    receive(&flight, call, &mut flight.state(), matched)?;
    let finish = |elements: Vec<T>, _: RawStatus, _: &Call<'_>| Ok(elements);
    let mut receiving = Receiving::new(envelope, finish);
    receiving.flight = Some(Arc::new(flight));
    start_steps(comm, call, receiving)
}

/// Makes what progress is possible without waiting.
fn advance(flight: &Flight, call: &Call<'_>) -> Result<Progress> {
    let mut state = flight.state();
    if let State::Unmatched(place) = *state {
        record::mark(place);
        let Some(matched) = p2p::try_probe(call, flight.envelope)? else {
            return Ok(Progress::Pending);
        };
        receive(flight, call, &mut state, matched)?;
    }
    if let State::Arriving { request, .. } = &mut *state
        && raw::test(call, request)?.is_none()
    {
        return Ok(Progress::Pending);
    }
    conclude(&mut state)
}

fn receive(flight: &Flight, call: &Call<'_>, state: &mut State, matched: Matched) -> Result<()> {
    flight.begin(call, state, matched, |matched, view, request| {
        // SAFETY: the memory stays in place until the request is complete.
        unsafe { p2p::imrecv(call, matched, view, request) }
    })
}

/// The message is here, or there was an error.
fn conclude(state: &mut State) -> Result<Progress> {
    *state = match std::mem::replace(state, State::Taken) {
        State::Arriving { memory, status, .. } => State::Arrived { memory, status },
        State::Failed(error) => return Err(error),
        other => other,
    };
    Ok(Progress::Complete)
}

impl<T, R, F> Task<R> for Receiving<T, F>
where
    T: Element,
    F: Fn(Vec<T>, RawStatus, &Call<'_>) -> Result<R> + Send,
{
    fn poll(&mut self, call: &Call<'_>) -> Result<Progress> {
        advance(&*self.flight(call)?, call)
    }

    fn block(&mut self, call: &Call<'_>) -> Result<()> {
        let flight = self.flight(call)?;
        // This wait looks for its message itself. If it is the only one, the library may wait for it.
        unmatched::remove(&*flight);
        if flight.claim() {
            match p2p::probe(call, flight.envelope) {
                Ok(matched) => receive(&flight, call, &mut flight.state(), matched)?,
                Err(error) => {
                    let mut state = flight.state();
                    if let State::Claimed(place) = *state {
                        *state = State::Unmatched(place);
                    }
                    drop(state);
                    unmatched::add(flight);
                    return Err(error);
                }
            }
        }
        let mut state = flight.state();
        if let State::Arriving { request, .. } = &mut *state {
            raw::wait(call, request)?;
        }
        conclude(&mut state).map(drop)
    }

    fn forget_unmatched(&mut self) -> bool {
        let Some(flight) = &self.flight else { return true };
        unmatched::remove(&**flight);
        flight.give_up();
        let state = &*flight.state();
        matches!(state, State::Failed(_) | State::Taken)
    }

    fn take(&mut self, call: &Call<'_>) -> Result<R> {
        let not_here = || Error::new(ErrorKind::State, call, "the message has not arrived");
        let Some(flight) = &self.flight else { return Err(not_here()) };
        let State::Arrived { memory, status } =
            std::mem::replace(&mut *flight.state(), State::Taken)
        else {
            return Err(not_here());
        };
        status_of::<T>(call, &status)?;
        // SAFETY: the message has been received, and it is a whole number of elements.
        let elements = unsafe { memory.into_elements() };
        (self.finish)(elements, status, call)
    }
}

impl<T, F> Drop for Receiving<T, F> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            unmatched::remove(&*flight);
            flight.give_up();
        }
    }
}

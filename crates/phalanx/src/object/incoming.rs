//! The message of an object on its way in: its first part, the rest, and the segments beside it.

use std::marker::PhantomData;
use std::sync::Arc;

use phalanx_codec::Codec;
use serde::de::DeserializeOwned;

use super::detached::Detached;
use super::plain;
use super::wire::{self, FIRST, Head, Segment};
use crate::comm::Status;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::p2p::{self, Envelope, RawStatus};
use crate::raw::request::{self as raw, Live};
use crate::record::{Call, Identity, Peer};
use crate::request::{Handle, Memory, Progress, Task};

/// A message that is being received.
pub(crate) struct Incoming {
    /// Where everything comes that follows the first part.
    private: Arc<Identity>,
    stage: Stage,
    /// The end of the first part, and the length of the whole message where that is known.
    came: Option<(RawStatus, Option<usize>)>,
}

enum Stage {
    First { request: Handle, memory: Memory, status: Option<RawStatus> },
    Rest { request: Handle, whole: Whole },
    Segments { requests: Vec<Handle>, memories: Vec<Memory>, lengths: Vec<usize>, whole: Whole },
    Here(Arrived),
    Over,
}

/// A message of which all bytes have a place.
struct Whole {
    memory: Memory,
    length: usize,
    head: Option<Head>,
    status: RawStatus,
}

/// A message that is here, with everything that belongs to it.
pub(crate) struct Arrived {
    whole: Whole,
    segments: Vec<ArrivedSegment>,
}

/// A segment that is here. It is shorter than announced, and empty, where its sender gave up.
pub(super) struct ArrivedSegment {
    pub memory: Memory,
    pub came: usize,
}

// SAFETY: request and status are plain values; the gate checks which thread may use them.
unsafe impl Send for Stage {}

impl Arrived {
    /// Makes the value of it. Empty messages are `None`: they say that their sender has no value.
    pub fn open<C: Codec, T: DeserializeOwned>(
        self,
        call: &Call<'_>,
    ) -> Result<Option<(T, Status)>> {
        let raw = self.whole.status;
        let Ok(source) = usize::try_from(raw.source()) else {
            return Err(nobody(call));
        };
        let call = call.peer(Peer::From(source)).tag(Some(raw.tag()));
        let Arrived { whole, segments } = self;
        if whole.length == 0 {
            return Ok(None);
        }
        // SAFETY: so many bytes have been received, and nothing is in flight.
        let message = unsafe { whole.memory.first(whole.length) };
        let decode = || wire::decode_after::<C, T>(&call, message, whole.head);
        let value = if segments.is_empty() { decode() } else { plain::receiving(segments, decode) };
        Ok(Some((value?, Status { source: Some(source), tag: raw.tag(), len: whole.length })))
    }
}

#[cold]
pub(super) fn nobody(call: &Call<'_>) -> Error {
    Error::new(ErrorKind::InvalidRank, call, "the null process sends no objects")
}

impl Incoming {
    /// Posts the receive of a message.
    pub fn start(call: &Call<'_>, private: &Arc<Identity>, from: Envelope) -> Result<Self> {
        let memory = Memory::new(call, FIRST, 1)?;
        let mut request = Handle(raw::null());
        // SAFETY: the memory stays in place, and is kept until the request is complete: see `drop`.
        unsafe { p2p::irecv(call, memory.view(0, None), from, &mut request.0)? };
        request.0.of_object();
        let stage = Stage::First { request, memory, status: None };
        Ok(Incoming { private: private.clone(), stage, came: None })
    }

    /// Goes on where the first part is here.
    pub fn after(
        call: &Call<'_>,
        private: &Arc<Identity>,
        first: &[u8],
        status: RawStatus,
    ) -> Result<Self> {
        let mut it = Incoming { private: private.clone(), stage: Stage::Over, came: None };
        let head = wire::head(first);
        let mut memory = Memory::new(call, first.len().max(rest_of(head, first.len())), 1)?;
        memory.write(first);
        it.first_came(call, memory, first.len(), status)?;
        Ok(it)
    }

    /// What the header says decides what comes next.
    fn first_came(
        &mut self,
        call: &Call<'_>,
        mut memory: Memory,
        length: usize,
        status: RawStatus,
    ) -> Result<()> {
        // SAFETY: so many bytes have been received.
        let head = wire::head(unsafe { memory.first(length) });
        let total = rest_of(head, length);
        self.came = Some((status, Some(total)));
        let follows = total > length || head.is_some_and(|head| head.segments > 0);
        let tags = 0..crate::comm::tag_upper_bound();
        if let Some(Head { tag, .. }) = head.filter(|head| follows && !tags.contains(&head.tag)) {
            let detail = format!("the header announces that more follows with tag {tag}");
            return Err(Error::new(ErrorKind::Decode, call, detail));
        }
        if total == length {
            return self.whole_came(call, Whole { memory, length, head, status });
        }
        if memory.len() < total {
            let whole = Memory::new(call, total, 1)?;
            let first = std::mem::replace(&mut memory, whole);
            // SAFETY: so many bytes have been received.
            memory.write(unsafe { first.first(length) });
        }
        let tag = head.map_or(0, |head| head.tag);
        let from = Envelope { rank: status.source(), tag };
        let call = call.privately(&self.private, Peer::From(from.rank as usize), tag);
        let mut request = Handle(raw::null());
        // SAFETY: as for the first part.
        unsafe { p2p::irecv(&call, memory.view(length, None), from, &mut request.0)? };
        self.stage = Stage::Rest { request, whole: Whole { memory, length: total, head, status } };
        Ok(())
    }

    /// Posts the receives of the segments, and tells the sender, who may then send from where they lie.
    fn whole_came(&mut self, call: &Call<'_>, whole: Whole) -> Result<()> {
        let Some(Head { tag, .. }) = whole.head.filter(|head| head.segments > 0) else {
            self.stage = Stage::Here(Arrived { whole, segments: Vec::new() });
            return Ok(());
        };
        // SAFETY: so many bytes have been received.
        let message = unsafe { whole.memory.first(whole.length) };
        let announced = wire::segments(call, message)?;
        let from = Envelope { rank: whole.status.source(), tag };
        let (mut requests, mut memories) = (Vec::new(), Vec::new());
        for Segment { bytes, alignment } in announced {
            memories.push(Memory::new(call, bytes, alignment)?);
        }
        let call = call.privately(&self.private, Peer::From(from.rank as usize), tag);
        let mut posted = Ok(());
        for memory in &memories {
            let mut request = Handle(raw::null());
            // SAFETY: as for the first part.
            posted = unsafe { p2p::irecv(&call, memory.view(0, None), from, &mut request.0) };
            if posted.is_err() {
                break;
            }
            requests.push(request);
        }
        let lengths = vec![0; memories.len()];
        self.stage = Stage::Segments { requests, memories, lengths, whole };
        posted?;
        let answer = wire::answer_to(from);
        let call = call.peer(Peer::To(from.rank as usize)).tag(Some(answer.tag));
        // It is on its way already, and empty.
        Detached::send_nothing(&call, answer).map(drop)
    }

    /// Goes on as far as is possible, and waits for it if it shall.
    fn advance(&mut self, call: &Call<'_>, waits: bool) -> Result<Progress> {
        loop {
            match &mut self.stage {
                Stage::First { request, status, .. } => {
                    let may_be_cancelled = request.0.is_cancelled();
                    let came = match *status {
                        Some(came) => Some(came),
                        None => complete(call, &mut request.0, waits)?,
                    };
                    let Some(came) = came else { return Ok(Progress::Pending) };
                    let Stage::First { memory, .. } = self.take_stage() else { continue };
                    if may_be_cancelled && came.was_cancelled(call)? {
                        self.came = Some((came, None));
                        return Ok(Progress::Complete);
                    }
                    let length = came.bytes(call)?;
                    self.first_came(call, memory, length, came)?;
                }
                Stage::Rest { request, whole } => {
                    let private = self.private.clone();
                    let call = follows(call, &private, whole);
                    let Some(came) = complete(&call, &mut request.0, waits)? else {
                        return Ok(Progress::Pending);
                    };
                    let Stage::Rest { whole, .. } = self.take_stage() else { continue };
                    if came.bytes(&call)? != whole.length - FIRST {
                        let detail = "the rest of the message has another length than announced";
                        return Err(Error::new(ErrorKind::Decode, &call, detail));
                    }
                    self.whole_came(&call, whole)?;
                }
                Stage::Segments { requests, lengths, whole, .. } => {
                    let private = self.private.clone();
                    let call = follows(call, &private, whole);
                    let mut pending = false;
                    for (request, length) in requests.iter_mut().zip(lengths) {
                        if request.0.is_null() {
                            continue;
                        }
                        match complete(&call, &mut request.0, waits)? {
                            Some(came) => *length = came.bytes(&call)?,
                            None => pending = true,
                        }
                    }
                    if pending {
                        return Ok(Progress::Pending);
                    }
                    let Stage::Segments { memories, lengths, whole, .. } = self.take_stage() else {
                        continue;
                    };
                    let both = memories.into_iter().zip(lengths);
                    let segments =
                        both.map(|(memory, came)| ArrivedSegment { memory, came }).collect();
                    self.stage = Stage::Here(Arrived { whole, segments });
                }
                Stage::Here(_) | Stage::Over => return Ok(Progress::Complete),
            }
        }
    }

    fn take_stage(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Over)
    }

    /// Makes what progress is possible without waiting.
    pub fn poll(&mut self, call: &Call<'_>) -> Result<Progress> {
        self.advance(call, false)
    }

    /// Waits until everything is here.
    pub fn block(&mut self, call: &Call<'_>) -> Result<()> {
        self.advance(call, true).map(drop)
    }

    /// What has arrived, once.
    pub fn take(&mut self, call: &Call<'_>) -> Result<Arrived> {
        match self.take_stage() {
            Stage::Here(arrived) => Ok(arrived),
            other => {
                self.stage = other;
                Err(Error::new(ErrorKind::State, call, "the message has not arrived"))
            }
        }
    }

    /// The receive of the first part, while that is all that is in flight.
    pub fn handle(&mut self) -> Option<&mut Live> {
        match &mut self.stage {
            Stage::First { request, status: None, .. } => Some(&mut request.0),
            _ => None,
        }
    }

    /// Says that somebody else has completed the receive of the first part.
    pub fn completed(&mut self, came: RawStatus) {
        if let Stage::First { request, status, .. } = &mut self.stage {
            request.0 = raw::null();
            *status = Some(came);
        }
    }
}

/// How long the whole message is of which so much is here, as far as a first part can say.
fn rest_of(head: Option<Head>, length: usize) -> usize {
    match head {
        // A first part that is shorter is cut off: the length of the whole says so.
        Some(head) if length == FIRST => head.total.max(length),
        _ => length,
    }
}

/// What errors say of the parts on the private communicator.
fn follows<'p>(call: &Call<'_>, private: &'p Identity, whole: &Whole) -> Call<'p> {
    let tag = whole.head.map_or(0, |head| head.tag);
    call.privately(private, Peer::From(whole.status.source() as usize), tag)
}

fn complete(call: &Call<'_>, request: &mut Live, waits: bool) -> Result<Option<RawStatus>> {
    if waits { raw::wait(call, request).map(Some) } else { raw::test(call, request) }
}

impl Drop for Incoming {
    /// What is in flight keeps its memory.
    fn drop(&mut self) {
        let private = self.private.clone();
        match self.take_stage() {
            Stage::First { request, memory, .. } if !request.0.is_null() => {
                // The record has told which communicator it is on; none is needed to look at it.
                keep(&private, request, memory);
            }
            Stage::Rest { request, whole } if !request.0.is_null() => {
                keep(&private, request, whole.memory);
            }
            Stage::Segments { requests, memories, .. } => {
                for (request, memory) in requests.into_iter().zip(memories) {
                    if !request.0.is_null() {
                        keep(&private, request, memory);
                    }
                }
            }
            _ => {}
        }
    }
}

fn keep(private: &Identity, request: Handle, memory: Memory) {
    let location = std::panic::Location::caller();
    Detached::keep(&Call::on(&crate::record::IRECV_OBJECT, private, location), request, memory);
}

/// A receive of an object whose result is what `finish` makes of the value and the status.
pub(super) struct Receiving<C, T, R> {
    incoming: Incoming,
    finish: fn((T, Status)) -> R,
    codec: PhantomData<fn() -> C>,
}

impl<C, T, R> Receiving<C, T, R> {
    pub fn new(incoming: Incoming, finish: fn((T, Status)) -> R) -> Self {
        Receiving { incoming, finish, codec: PhantomData }
    }
}

impl<C: Codec, T: DeserializeOwned, R> Task<R> for Receiving<C, T, R> {
    fn poll(&mut self, call: &Call<'_>) -> Result<Progress> {
        self.incoming.poll(call)
    }

    fn block(&mut self, call: &Call<'_>) -> Result<()> {
        self.incoming.block(call)
    }

    fn handle(&mut self) -> Option<&mut Live> {
        self.incoming.handle()
    }

    fn completed(&mut self, status: RawStatus) {
        self.incoming.completed(status);
    }

    fn received(&self) -> Option<(RawStatus, Option<usize>)> {
        self.incoming.came
    }

    fn take(&mut self, call: &Call<'_>) -> Result<R> {
        match self.incoming.take(call)?.open::<C, T>(call)? {
            Some(both) => Ok((self.finish)(both)),
            None => Err(wire::no_object::<T>(call, "of 0 bytes")),
        }
    }
}

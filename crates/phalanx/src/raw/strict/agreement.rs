//! What the members of a communicator tell each other about a collective call: a difference is an error on
//! all of them. Of a blocking call before it, of a non-blocking one when it completes, because its start must
//! not wait.

use std::collections::HashMap;
use std::os::raw::c_int;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use phalanx_sys as ffi;

use super::names::base;
use super::note::{NOTE, NOTE_COMES, Note};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::delay::delay;
use crate::raw::wait::{Backoff, ignore, poll};
use crate::raw::{ABANDONED, SUCCESS, deadlock, failure, gate, op};
use crate::record::{self, Call, FREE, Kind, Peer, What};

/// What the members of a communicator tell each other before a collective call.
const FIELDS: usize = 6;
const OPERATION: usize = 0;
const ROOT: usize = 1;
const REDUCTION: usize = 2;
const ELEMENT: usize = 3;
const BYTES: usize = 4;
const PLACE: usize = 5;

/// An agreement in flight: what all members say of a call.
pub(in crate::raw) struct Agreement {
    request: ffi::MPI_Request,
    _mine: Note,
    all: Vec<u8>,
}

// SAFETY: a request handle is a plain value; the gate checks which thread may use it.
unsafe impl Send for Agreement {}

impl Agreement {
    /// Begins to tell the other members. `None` where strict mode has nothing to say.
    pub fn start(call: &Call<'_>, what: &What) -> Result<Option<Self>> {
        let Some(comm) = call.comm else { return Ok(None) };
        let Some(channel) = comm.strict else { return Ok(None) };
        let root = match call.peer {
            Peer::Root(root) => root.to_string(),
            _ => String::new(),
        };
        let bytes = if what.bytes == FREE { String::new() } else { what.bytes.to_string() };
        let place = call.location.to_string();
        let reduction = op::name_of_number(what.reduction);
        let element = base((what.element)());
        let fields = [call.operation.name, &root, reduction, element, &bytes, &place];
        let mine = Note::new(element, &fields);
        let mut all = vec![0; NOTE * comm.size];
        // SAFETY: reading a constant of the C library.
        let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
        let length = NOTE as c_int;
        // SAFETY: both buffers are on the heap and are kept until the request is complete.
        let code = unsafe {
            ffi::MPI_Iallgather(
                mine.0.as_ptr().cast(),
                length,
                ffi::phx_byte(),
                all.as_mut_ptr().cast(),
                length,
                ffi::phx_byte(),
                channel.collectives,
                &mut request,
            )
        };
        if code != SUCCESS {
            return Err(failure(call, code));
        }
        Ok(Some(Agreement { request, _mine: mine, all }))
    }

    /// Waits for the others.
    pub fn wait(mut self, call: &Call<'_>) -> Result<()> {
        let code = poll(&mut self.request, ignore(), Kind::WaitAll);
        if code == ABANDONED {
            // MPI may use its buffers for ever.
            std::mem::forget(self);
            return Err(deadlock(call));
        }
        if code != SUCCESS {
            return Err(failure(call, code));
        }
        self.verdict(call)
    }

    /// Looks whether all have told. Where the library fails nobody has, and empty texts differ from nothing.
    fn is_complete(&mut self) -> bool {
        let mut done = 0;
        // SAFETY: the request is live or null.
        let code = unsafe { ffi::MPI_Test(&mut self.request, &mut done, ignore()) };
        code != SUCCESS || done != 0
    }

    /// The same on every member: whether all are about to do the same.
    fn verdict(&self, call: &Call<'_>) -> Result<()> {
        let note = |rank: usize| &self.all[rank * NOTE..(rank + 1) * NOTE];
        let says = |rank: usize, field: usize| Note::text(note(rank), field, FIELDS);
        let ranks = self.all.len() / NOTE;
        let headings = [
            (OPERATION, "different collectives"),
            (ROOT, "different root"),
            (REDUCTION, "different reduction"),
            (ELEMENT, "different type"),
            (BYTES, "different count"),
        ];
        for (field, heading) in headings {
            let differs = |rank: usize| {
                if field == ELEMENT {
                    let (one, other) = (Note::name(note(0)), Note::name(note(rank)));
                    return one != other && one != 0 && other != 0;
                }
                let (one, other) = (says(0, field), says(rank, field));
                one != other && !one.is_empty() && !other.is_empty()
            };
            let Some(other) = (1..ranks).find(|&rank| differs(rank)) else { continue };
            let one_side = |rank: usize| {
                let mut text = format!("rank {rank} calls {}", says(rank, OPERATION));
                match field {
                    ROOT => text += &format!(" with root {}", says(rank, ROOT)),
                    REDUCTION => text += &format!(" with {}", says(rank, REDUCTION)),
                    ELEMENT => text += &format!(" with elements `{}`", says(rank, ELEMENT)),
                    BYTES => text += &format!(" with {} bytes", says(rank, BYTES)),
                    _ => {}
                }
                text + " at " + &says(rank, PLACE)
            };
            let others = (1..ranks).filter(|&rank| differs(rank)).count();
            let more = if others > 1 {
                format!(" ({others} ranks differ from rank 0)")
            } else {
                String::new()
            };
            let detail = format!("{heading}: {}, {}{more}", one_side(0), one_side(other));
            return Err(Error::new(ErrorKind::Mismatch, call, detail));
        }
        Ok(())
    }
}

/// Lets the members of a communicator agree on the blocking call that this one is inside of.
#[cold]
pub(super) fn agree(call: &Call<'_>, what: &What) -> Result<()> {
    delay();
    Agreement::start(call, what)?.map_or(Ok(()), |agreement| agreement.wait(call))
}

/// Agreements about non-blocking collectives: by the place of the request, and those of requests that
/// are over, whose members have not all begun.
struct Later {
    started: HashMap<u16, Agreement>,
    late: Vec<Agreement>,
}

static LATER: Mutex<Option<Later>> = Mutex::new(None);

fn with_later<R>(f: impl FnOnce(&mut Later) -> R) -> R {
    let mut later = LATER.lock().unwrap_or_else(PoisonError::into_inner);
    f(later.get_or_insert_with(|| Later { started: HashMap::new(), late: Vec::new() }))
}

/// A non-blocking collective was started: its members tell each other meanwhile.
pub(in crate::raw) fn agree_later(place: u16, agreement: Agreement) {
    with_later(|later| match place {
        record::NONE => later.late.push(agreement),
        place => {
            later.started.insert(place, agreement);
        }
    });
}

/// A request is over: whether its members agreed, as far as is known now. A collective may end on one
/// member before others have begun it; those are asked at the end of a later one.
///
/// `patient` waits a little for the others.
#[cold]
pub(in crate::raw) fn completed(call: &Call<'_>, place: u16, patient: bool) -> Result<()> {
    with_later(|later| {
        if let Some(mut agreement) = later.started.remove(&place) {
            let start = Instant::now();
            let mut backoff = Backoff::new();
            while patient && !agreement.is_complete() && start.elapsed() < NOTE_COMES {
                backoff.pause();
            }
            later.late.push(agreement);
        }
        let mut outcome = Ok(());
        later.late.retain_mut(|agreement| {
            let complete = agreement.is_complete();
            if complete && outcome.is_ok() {
                outcome = agreement.verdict(call);
            }
            !complete
        });
        outcome
    })
}

/// What is left of the agreements when all ranks have come to the end: whoever was going to begin a
/// collective has begun it. One that some member never began is not waited for.
pub(crate) fn conclude(call: &Call<'_>) -> Result<()> {
    let mut outcome = Ok(());
    gate(call, || {
        with_later(|later| {
            later.late.extend(later.started.drain().map(|(_, agreement)| agreement));
            let start = Instant::now();
            for mut agreement in later.late.drain(..) {
                let mut backoff = Backoff::new();
                while !agreement.is_complete() && start.elapsed() < NOTE_COMES {
                    backoff.pause();
                }
                if !agreement.is_complete() {
                    // MPI may use its buffers until the end.
                    std::mem::forget(agreement);
                } else if outcome.is_ok() {
                    outcome = agreement.verdict(call);
                }
            }
        });
        SUCCESS
    })?;
    outcome
}

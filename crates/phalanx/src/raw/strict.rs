//! What strict mode does beside the calls themselves.
//!
//! - A standard send is synchronous, and reads from a copy: when the watch proves that it never ends,
//!   the caller gets its own buffer back while MPI may go on reading the copy for ever.
//! - Before each message goes a *note* to the same rank with the same tag, on a communicator for notes:
//!   what the message holds and which line sends it. Messages between two ranks with one tag do not
//!   overtake each other, nor do their notes, so that the receiver finds the note of just this message.
//! - Before a blocking collective call the members tell each other what they are about to do, on
//!   another communicator: a difference is an error on all of them, before the call.

use std::collections::HashMap;
use std::os::raw::c_int;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use phalanx_sys as ffi;

use super::p2p::{Envelope, Mode, RawStatus, isend_view, send_view};
use super::request::Live;
use super::wait::{Backoff, ignore, poll};
use super::{ABANDONED, SUCCESS, View, failure, gate};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{self, Call, FREE, Identity, Kind, Name, Peer, What};

static ON: AtomicBool = AtomicBool::new(false);

#[inline(always)]
pub(crate) fn is_on() -> bool {
    ON.load(Relaxed)
}

pub(crate) fn turn_on() {
    ON.store(true, Relaxed);
}

/// The state of the generator of delays, or 0 for none.
static DELAY: AtomicU64 = AtomicU64::new(0);

/// Makes calls late by times that look random and follow from the seed and the rank.
pub(crate) fn set_delays(seed: u64, rank: usize) {
    let mixed = record::message(rank as i32) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    DELAY.store(mixed | 1, Relaxed);
}

/// The longest delay of a call, in microseconds.
const LONGEST_DELAY: u64 = 4000;

/// Makes the call that begins late, where delays were asked for.
#[inline]
pub(crate) fn delay() {
    let state = DELAY.load(Relaxed);
    if state != 0 {
        // xorshift64
        let mut next = state;
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        DELAY.store(next, Relaxed);
        if next.is_multiple_of(2) {
            thread::sleep(Duration::from_micros(next / 2 % LONGEST_DELAY));
        }
    }
}

/// The copies from which sends in flight read, by the place of their request.
static COPIES: Mutex<Option<HashMap<u16, Vec<u8>>>> = Mutex::new(None);

/// Keeps the copy of a send until its request is over.
pub(super) fn keep(place: u16, copy: Vec<u8>) {
    if place == record::NONE {
        // Nobody will say when the request is over.
        std::mem::forget(copy);
        return;
    }
    let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
    copies.get_or_insert_default().insert(place, copy);
}

/// A request is over: what was kept for it is not needed any more.
#[cold]
pub(super) fn forget(place: u16) {
    let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(copies) = copies.as_mut() {
        copies.remove(&place);
    }
}

/// A copy of what a message holds, in strict mode.
pub(super) fn copy_of(call: &Call<'_>, view: &View<'_>) -> Result<Option<Vec<u8>>> {
    if is_on() { packed(call, view).map(Some) } else { Ok(None) }
}

/// What a view shows, byte for byte, without its gaps.
fn packed(call: &Call<'_>, view: &View<'_>) -> Result<Vec<u8>> {
    let counted = view.counted(call)?;
    let Some(comm) = call.comm else { return Ok(Vec::new()) };
    let mut size = 0;
    gate(call, || {
        // SAFETY: the type and the communicator are live, the result is writable.
        unsafe { ffi::MPI_Pack_size(counted.count, counted.datatype, comm.handle, &mut size) }
    })?;
    let mut copy = vec![0_u8; size as usize];
    let mut end = 0;
    gate(call, || {
        // SAFETY: the view is borrowed, and the copy has the size that MPI asked for.
        unsafe {
            ffi::MPI_Pack(
                view.pointer,
                counted.count,
                counted.datatype,
                copy.as_mut_ptr().cast(),
                size,
                &mut end,
                comm.handle,
            )
        }
    })?;
    copy.truncate(end as usize);
    Ok(copy)
}

/// The mode of a send that does not rely on buffers of the library.
fn unbuffered(mode: Mode) -> Mode {
    if mode == Mode::Standard { Mode::Synchronous } else { mode }
}

#[cold]
pub(super) fn send(call: &Call<'_>, mode: Mode, view: View<'_>, to: Envelope) -> Result<()> {
    let copy = packed(call, &view)?;
    if mode == Mode::Buffered {
        // There may be no room for it, and then there is no message.
        send_view(call, mode, View::copy_of(&copy, &view), to)?;
        return tell(call, to, &what_of(&view));
    }
    tell(call, to, &what_of(&view))?;
    let outcome = send_view(call, unbuffered(mode), View::copy_of(&copy, &view), to);
    if outcome.as_ref().is_err_and(Error::is_deadlock) {
        // MPI may read it for ever.
        std::mem::forget(copy);
    }
    outcome
}

#[cold]
pub(super) fn isend(
    call: &Call<'_>,
    mode: Mode,
    view: View<'_>,
    to: Envelope,
    request: &mut Live,
) -> Result<()> {
    delay();
    let copy = packed(call, &view)?;
    tell(call, to, &what_of(&view))?;
    // SAFETY: the copy is kept until the request is over.
    unsafe { isend_view(call, unbuffered(mode), View::copy_of(&copy, &view), to, request)? };
    request.keep(copy);
    Ok(())
}

fn what_of(view: &View<'_>) -> What {
    What::of(Kind::SyncSend, view.bytes_in_all(), view.element)
}

/// Texts of this many bytes in all go beside a message or before a collective call.
const NOTE: usize = 512;

/// Texts in a block of fixed size, each cut to its share.
struct Note(Box<[u8; NOTE]>);

impl Note {
    fn new(texts: &[&str]) -> Self {
        let mut note = Box::new([0; NOTE]);
        let share = NOTE / texts.len().max(1);
        for (part, text) in note.chunks_mut(share).zip(texts) {
            // The end of a path says more than its beginning.
            let text = text.as_bytes();
            let text = &text[text.len().saturating_sub(share - 1)..];
            part[..text.len()].copy_from_slice(text);
        }
        Note(note)
    }

    fn text(bytes: &[u8], index: usize, of: usize) -> String {
        let share = NOTE / of;
        let part = &bytes[index * share..(index + 1) * share];
        let end = part.iter().position(|&byte| byte == 0).unwrap_or(share);
        String::from_utf8_lossy(&part[..end]).into_owned()
    }
}

struct NoteInFlight {
    request: ffi::MPI_Request,
    _note: Note,
}

// SAFETY: a request handle is a plain value; the gate checks which thread may use it.
unsafe impl Send for NoteInFlight {}

static NOTES: Mutex<Vec<NoteInFlight>> = Mutex::new(Vec::new());

/// Sends the note of a message that is about to be sent.
fn tell(call: &Call<'_>, to: Envelope, what: &What) -> Result<()> {
    let mut code = SUCCESS;
    gate(call, || {
        code = announce(call, to, what);
        code
    })
}

/// The same inside of a gate.
pub(super) fn announce(call: &Call<'_>, to: Envelope, what: &What) -> c_int {
    let Some(channel) = call.comm.and_then(|comm| comm.strict) else { return SUCCESS };
    if to.rank < 0 {
        return SUCCESS;
    }
    let place = call.location.to_string();
    let bytes = what.bytes.to_string();
    let note = Note::new(&[(what.element)(), &bytes, &place, call.operation.name]);
    // SAFETY: reading a constant of the C library.
    let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
    // SAFETY: the note stays in place, in a box, until its request is complete.
    let code = unsafe {
        ffi::MPI_Isend(
            note.0.as_ptr().cast(),
            NOTE as c_int,
            ffi::phx_byte(),
            to.rank,
            to.tag,
            channel.messages,
            &mut request,
        )
    };
    let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    notes.retain_mut(|note| {
        let mut done = 0;
        // SAFETY: the request is live.
        let code = unsafe { ffi::MPI_Test(&mut note.request, &mut done, ignore()) };
        code == SUCCESS && done == 0
    });
    notes.push(NoteInFlight { request, _note: note });
    code
}

/// How long the note of a message that is here may take. A message without one was not sent by us.
const NOTE_COMES: Duration = Duration::from_millis(500);

/// Messages whose notes may have been taken by others: the communicator, source and tag of receives that
/// were open at the same time. Requests complete in any order, notes come in the order of the messages.
static MIXED: Mutex<Vec<(u64, c_int, c_int)>> = Mutex::new(Vec::new());

/// Whether the note that comes next is certainly that of the message which has just been received.
fn is_its_own(comm: &Identity, status: &RawStatus) -> bool {
    let key = (comm.id(), status.source(), status.tag());
    let mut open = 0;
    record::for_each(|it, _| {
        let source = match it.peer {
            Peer::From(rank) => rank as c_int == status.source(),
            Peer::AnySource => true,
            _ => false,
        };
        let takes = source && it.tag.is_none_or(|tag| tag == status.tag());
        open += usize::from(it.what.kind == Kind::Receive && it.comm == comm.id() && takes);
    });
    let mut mixed = MIXED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = mixed.iter().position(|it| *it == key);
    match (open, known) {
        (0, None) => true,
        (0, Some(at)) => {
            mixed.swap_remove(at);
            false
        }
        (_, None) => {
            mixed.push(key);
            false
        }
        (_, Some(_)) => false,
    }
}

/// Looks whether a message that came holds what it was received as.
#[cold]
pub(super) fn check_message(
    call: &Call<'_>,
    comm: &Identity,
    status: &RawStatus,
    element: Name,
    room: usize,
) -> Result<()> {
    let Some(channel) = comm.strict else { return Ok(()) };
    if status.source() < 0 || comm.record().is_foreign() {
        return Ok(());
    }
    let is_its_own = is_its_own(comm, status);
    let mut note = [0_u8; NOTE];
    let mut came = false;
    gate(call, || {
        let start = Instant::now();
        let mut backoff = Backoff::new();
        while !came {
            let mut found = 0;
            // SAFETY: the communicator is live, the results are writable, and the note has room for
            // what every note holds.
            let code = unsafe {
                let mut message = ffi::RSMPI_MESSAGE_NULL;
                let code = ffi::MPI_Improbe(
                    status.source(),
                    status.tag(),
                    channel.messages,
                    &mut found,
                    &mut message,
                    ignore(),
                );
                if code == SUCCESS && found != 0 {
                    let note = note.as_mut_ptr().cast();
                    ffi::MPI_Mrecv(note, NOTE as c_int, ffi::phx_byte(), &mut message, ignore())
                } else {
                    code
                }
            };
            if code != SUCCESS {
                return code;
            }
            came = found != 0;
            if !came {
                if start.elapsed() > NOTE_COMES {
                    break;
                }
                backoff.pause();
            }
        }
        SUCCESS
    })?;
    if !came {
        comm.give_away();
        return Ok(());
    }
    if !is_its_own {
        return Ok(());
    }
    // Not every library notices each message that is too long.
    let length = Note::text(&note, 1, 4).parse::<usize>().unwrap_or(0);
    if room > 0 && length > room {
        let detail = format!("{length} bytes were sent, and there is room for {room}");
        return Err(Error::new(ErrorKind::Truncated, call, detail));
    }
    let (sent, wanted) = (Note::text(&note, 0, 4), element());
    // The note has room for the end of a name.
    let wanted = wanted.get(wanted.len().saturating_sub(NOTE / 4 - 1)..).unwrap_or(wanted);
    if wanted.is_empty() || sent.is_empty() || base(&sent) == base(wanted) {
        return Ok(());
    }
    let (bytes, place, operation) =
        (Note::text(&note, 1, 4), Note::text(&note, 2, 4), Note::text(&note, 3, 4));
    let detail = format!(
        "rank {} sent {bytes} bytes of `{}` ({operation} at {place}); they were received as `{}`",
        status.source(),
        base(&sent),
        base(wanted)
    );
    Err(Error::new(ErrorKind::TypeMismatch, call, detail))
}

/// The element of arrays, as MPI sees them, with one name for what is the same type to it.
pub(crate) fn base(name: &str) -> &str {
    let name = match name.strip_prefix('[').and_then(|rest| rest.rsplit_once("; ")) {
        Some((element, _)) => return base(element),
        None => name,
    };
    match name {
        "usize" if size_of::<usize>() == 8 => "u64",
        "isize" if size_of::<isize>() == 8 => "i64",
        name => name,
    }
}

/// What the members of a communicator tell each other before a collective call.
const FIELDS: usize = 6;
const OPERATION: usize = 0;
const ROOT: usize = 1;
const REDUCTION: usize = 2;
const ELEMENT: usize = 3;
const BYTES: usize = 4;
const PLACE: usize = 5;

/// An agreement in flight: what all members say of a call.
pub(super) struct Agreement {
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
        let reduction = super::op::name_of_number(what.reduction);
        let element = base((what.element)());
        let fields = [call.operation.name, &root, reduction, element, &bytes, &place];
        let mine = Note::new(&fields);
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
            return Err(super::deadlock(call));
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
        let says = |rank: usize, field: usize| {
            Note::text(&self.all[rank * NOTE..(rank + 1) * NOTE], field, FIELDS)
        };
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
pub(super) fn agree_later(place: u16, agreement: Agreement) {
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
pub(super) fn completed(call: &Call<'_>, place: u16, patient: bool) -> Result<()> {
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

//! Notes of strict mode: before each message goes one to the same rank with the same tag, on a communicator for
//! notes. Messages between two ranks with one tag do not overtake each other, nor do their notes.

use std::collections::HashMap;
use std::os::raw::c_int;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use phalanx_sys as ffi;

use super::order::{Key, Number};
use super::sent::SentNote;
use crate::error::Result;
use crate::raw::strict::{NOTE, NOTE_COMES, Note, base};
use crate::raw::wait::{Backoff, ignore};
use crate::raw::{SUCCESS, gate};
use crate::record::{Call, Identity, Strict, What};

struct NoteInFlight {
    request: ffi::MPI_Request,
    _note: Note,
}

// SAFETY: a request handle is a plain value; the gate checks which thread may use it.
unsafe impl Send for NoteInFlight {}

static NOTES: Mutex<Vec<NoteInFlight>> = Mutex::new(Vec::new());

/// Sends the note of a message that is about to be sent, inside the gate.
pub(super) fn announce(call: &Call<'_>, to: c_int, tag: c_int, what: &What) -> c_int {
    let Some(channel) = call.comm.and_then(|comm| comm.strict) else { return SUCCESS };
    // Messages of others on it have no notes.
    if to < 0 || call.comm.is_some_and(|comm| comm.record().is_foreign()) {
        return SUCCESS;
    }
    let place = call.location.to_string();
    let bytes = what.bytes.to_string();
    let element = base((what.element)());
    let note = Note::new(element, &[element, &bytes, &place, call.operation.name]);
    // SAFETY: reading a constant of the C library.
    let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
    // SAFETY: the note stays in place, in a box, until its request is complete.
    let code = unsafe {
        ffi::MPI_Isend(
            note.0.as_ptr().cast(),
            NOTE as c_int,
            ffi::phx_byte(),
            to,
            tag,
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

/// More notes than are kept for receives that are not complete yet.
const MOST_KEPT: usize = 4096;

/// Notes of messages with one tag from one rank.
#[derive(Default)]
struct Pulled {
    /// How many have come.
    came: u64,
    /// Those that nobody has asked for yet, by their numbers.
    kept: HashMap<u64, Box<[u8; NOTE]>>,
}

static PULLED: Mutex<Option<HashMap<Key, Pulled>>> = Mutex::new(None);

/// The note of a message that has been received. Where its number is not known, the notes that are here are
/// taken all the same, so that none is left.
pub(super) fn find(
    call: &Call<'_>,
    comm: &Identity,
    key: Key,
    number: Number,
) -> Result<Option<SentNote>> {
    let Some(channel) = comm.strict else { return Ok(None) };
    let (mut note, mut is_missing) = (None, false);
    gate(call, || {
        let mut pulled = PULLED.lock().unwrap_or_else(PoisonError::into_inner);
        let pulled = pulled.get_or_insert_default().entry(key).or_default();
        let start = Instant::now();
        let mut backoff = Backoff::new();
        while number.is_none_or(|number| pulled.came < number) {
            match pull(channel, key) {
                Err(code) => return code,
                Ok(Some(it)) => {
                    pulled.came += 1;
                    pulled.kept.insert(pulled.came, it);
                }
                Ok(None) if number.is_none() => break,
                Ok(None) if start.elapsed() > NOTE_COMES => {
                    is_missing = true;
                    break;
                }
                Ok(None) => backoff.pause(),
            }
        }
        note = number.and_then(|number| pulled.kept.remove(&number));
        if pulled.kept.len() > MOST_KEPT {
            pulled.kept.clear();
        }
        SUCCESS
    })?;
    if is_missing {
        // Somebody else has sent the message.
        comm.give_away();
    }
    Ok(note.map(|note| SentNote {
        bytes: Note::text(&note[..], 1, TEXTS).parse().unwrap_or(0),
        element: Note::name(&note[..]),
        texts: Box::new(move || [0, 2, 3].map(|index| Note::text(&note[..], index, TEXTS))),
    }))
}

/// How many texts a note has.
const TEXTS: usize = 4;

/// The next note, if it is here.
fn pull(channel: Strict, key: Key) -> Result<Option<Box<[u8; NOTE]>>, c_int> {
    let mut note = Box::new([0_u8; NOTE]);
    let mut found = 0;
    // SAFETY: the communicator is live, the results are writable, and the note has room for what every note
    // holds.
    let code = unsafe {
        let mut message = ffi::RSMPI_MESSAGE_NULL;
        let (messages, ignored) = (channel.messages, ignore());
        let (source, tag) = (key.source, key.tag);
        let code = ffi::MPI_Improbe(source, tag, messages, &mut found, &mut message, ignored);
        if code == SUCCESS && found != 0 {
            let note = note.as_mut_ptr().cast();
            ffi::MPI_Mrecv(note, NOTE as c_int, ffi::phx_byte(), &mut message, ignore())
        } else {
            code
        }
    };
    if code != SUCCESS {
        return Err(code);
    }
    Ok((found != 0).then_some(note))
}

//! Notes on the board of the node, by which debug builds compare types. They are no messages: nothing is waited
//! for, and what is not there is not compared. Between nodes there are none.

use std::collections::HashMap;
use std::os::raw::c_int;
use std::panic::Location;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::order::Key;
use super::sent::SentNote;
use crate::board::{Entry, Member, MessageNumber, NO_TEXT, Text, board};
use crate::raw::strict::{base, hash_of_name};
use crate::record::{self, Call, Identity, Name, Operation, What};

/// More messages than a program that goes on for ever may leave behind.
const MOST_KEYS: usize = 1 << 16;
/// No more numbers are given.
const LOST: u64 = u64::MAX;

/// What this rank has said.
#[derive(Default)]
struct Said {
    /// How many messages with a tag have been sent to a rank of the world.
    sent: HashMap<(u64, u32, c_int), u64>,
    /// How many messages have been noted.
    noted: u64,
    texts: HashMap<(usize, usize, usize), Text>,
    end: u32,
}

static SAID: Mutex<Option<Said>> = Mutex::new(None);

fn with_said<R>(f: impl FnOnce(&mut Said) -> R) -> R {
    f(SAID.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

fn world_rank(comm: &Identity, rank: c_int) -> Option<u32> {
    comm.record().members.get(usize::try_from(rank).ok()?).copied()
}

fn member(world_rank: u32) -> Option<&'static Member> {
    board()?.members.iter().find(|it| it.world_rank() == world_rank as usize)
}

/// Notes a message that is about to be sent.
pub(super) fn note(call: &Call<'_>, to: c_int, tag: c_int, what: &What) {
    let Some(comm) = call.comm.filter(|comm| !comm.record().private) else { return };
    // Messages of others on it have no numbers.
    if comm.record().is_foreign() {
        return;
    }
    let (Some(receiver), Some(board)) = (world_rank(comm, to), board()) else { return };
    // Ranks of other nodes cannot read it.
    if member(receiver).is_none() {
        return;
    }
    with_said(|said| {
        let Some(number) = said.next(comm.id(), receiver, tag) else { return };
        let (notes, seal, place) = board.mine().notes();
        let text = said.text(call.operation, call.location, what.element);
        let element = hash_of_name(base((what.element)()));
        let entry = Entry { bytes: what.bytes, element, text };
        let message = MessageNumber { comm: comm.id(), receiver, tag, number };
        notes.write(seal, place, said.noted, message, entry);
        said.noted += 1;
    });
}

/// A message that was noted was not sent, or nobody knows.
#[cold]
pub(super) fn lose(call: &Call<'_>, to: c_int, tag: c_int) {
    let Some(comm) = call.comm else { return };
    let Some(receiver) = world_rank(comm, to) else { return };
    with_said(|said| said.sent.insert((comm.id(), receiver, tag), LOST));
}

impl Said {
    fn next(&mut self, comm: u64, receiver: u32, tag: c_int) -> Option<u64> {
        if self.sent.len() >= MOST_KEYS {
            self.shrink();
        }
        let sent = self.sent.entry((comm, receiver, tag)).or_insert(0);
        if *sent == LOST {
            return None;
        }
        *sent += 1;
        Some(*sent)
    }

    /// Forgets communicators that are freed; where these were not it, says nothing more of the others.
    #[cold]
    fn shrink(&mut self) {
        let known: Vec<u64> = record::known_comms().iter().map(|comm| comm.id).collect();
        self.sent.retain(|(comm, ..), _| known.contains(comm));
        if self.sent.len() >= MOST_KEYS {
            // A number must not be given twice: those that are new would begin anew.
            self.sent.values_mut().for_each(|sent| *sent = LOST);
        }
    }

    /// The texts of a call: its element, line and name.
    fn text(
        &mut self,
        operation: &'static Operation,
        location: &'static Location<'static>,
        element: Name,
    ) -> Text {
        let key =
            (ptr::from_ref(operation).addr(), ptr::from_ref(location).addr(), element as usize);
        if let Some(text) = self.texts.get(&key) {
            return *text;
        }
        let Some(board) = board() else { return NO_TEXT };
        let texts = format!("{}\0{location}\0{}", base(element()), operation.name);
        let (notes, ..) = board.mine().notes();
        let text = notes.add_text(self.end, &texts).unwrap_or(NO_TEXT);
        if text != NO_TEXT {
            self.end = text.start + text.length;
        }
        self.texts.insert(key, text);
        text
    }
}

/// Where the last note of each rank was found.
static FOUND: Mutex<Option<HashMap<usize, usize>>> = Mutex::new(None);

/// What the sender said of a message, if it is still known.
pub(super) fn find(comm: &Identity, key: Key, number: u64) -> Option<SentNote> {
    let sender = member(world_rank(comm, key.source)?)?;
    let receiver = world_rank(comm, comm.rank as c_int)?;
    let (notes, seal, place) = sender.notes();
    let message = MessageNumber { comm: key.comm, receiver, tag: key.tag, number };
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let last = found.get_or_insert_default().entry(sender.world_rank()).or_insert(0);
    let (entry, at) = notes.read(seal, place, *last, message)?;
    *last = at;
    drop(found);
    let texts = move || {
        let text = notes.text(entry.text);
        let mut parts = text.split('\0').map(str::to_owned);
        std::array::from_fn(|_| parts.next().unwrap_or_default())
    };
    Some(SentNote { bytes: entry.bytes, element: entry.element, texts: Box::new(texts) })
}

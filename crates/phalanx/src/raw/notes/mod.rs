//! What each message holds, said beside it by its sender, and compared with what it is received as.
//!
//! Two ways: in strict mode a message of its own goes beside each message (`channel.rs`), also to other nodes; in
//! debug builds there is a note on the board of the node (`shared.rs`), which costs no message. Both say it of
//! the n-th message with a tag from one rank to another; `order.rs` finds out which one a receive has got.

mod channel;
mod order;
mod sent;
mod shared;

use std::os::raw::c_int;
use std::sync::{Mutex, PoisonError};

use super::state::{self, Threading};
use super::status::RawStatus;
use super::strict::{base, hash_of_name};
use super::{SUCCESS, object, observer};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{self, Call, Identity, Kind, Name, Peer, What};
use order::{Key, Order, Pattern};

pub(super) use order::Number;

static ORDER: Mutex<Option<Order>> = Mutex::new(None);

fn with_order<R>(f: impl FnOnce(&mut Order) -> R) -> R {
    f(ORDER.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// Says what a message holds that is about to be sent, inside the gate.
#[must_use]
#[inline(always)]
pub(super) fn sending(call: &Call<'_>, to: c_int, tag: c_int, what: &What) -> c_int {
    if observer::compares() { say(&call.copy(), to, tag, what) } else { SUCCESS }
}

#[cold]
#[inline(never)]
fn say(call: &Call<'_>, to: c_int, tag: c_int, what: &What) -> c_int {
    if observer::is_strict() {
        return channel::announce(call, to, tag, what);
    }
    shared::note(call, to, tag, what);
    SUCCESS
}

/// A message of which something was said was perhaps not sent.
#[cold]
pub(super) fn not_sent(call: &Call<'_>, to: c_int, tag: c_int) {
    if observer::compares() && !observer::is_strict() {
        shared::lose(call, to, tag);
    }
}

/// A receive was started.
#[inline(always)]
pub(super) fn posted(call: &Call<'_>, place: u16, what: &What, matched: Option<Number>) {
    if observer::compares() && what.kind == Kind::Receive {
        note_posted(&call.copy(), place, matched);
    }
}

#[cold]
#[inline(never)]
fn note_posted(call: &Call<'_>, place: u16, matched: Option<Number>) {
    let Some(comm) = call.comm else { return };
    let source = match call.peer {
        Peer::From(rank) => Some(rank as i32),
        Peer::AnySource => None,
        // The null process: no message comes.
        _ => return,
    };
    let pattern = Pattern { comm: comm.id(), source, tag: call.tag };
    with_order(|order| match (place, matched) {
        // Nobody will say when it is over.
        (record::NONE, _) => order.lose(comm.id()),
        (place, Some(number)) => order.post_matched(place, pattern, number),
        (place, None) => order.post(place, pattern),
    });
}

/// Somebody tries to cancel a receive.
#[cold]
pub(super) fn cancelled(place: u16) {
    if observer::compares() {
        with_order(|order| order.cancel(place));
    }
}

/// A receive is over and has got no message.
#[cold]
pub(super) fn closed(place: u16) {
    if observer::compares() {
        with_order(|order| order.close(place));
    }
}

/// A call about messages failed: what it did is not known.
#[cold]
pub(super) fn lost(call: &Call<'_>) {
    if let Some(comm) = call.comm.filter(|_| observer::compares()) {
        with_order(|order| order.lose(comm.id()));
    }
}

fn key(comm: &Identity, status: &RawStatus) -> Option<Key> {
    let (source, tag) = (status.source(), status.tag());
    (source >= 0 && !comm.record().private).then_some(Key { comm: comm.id(), source, tag })
}

/// The number of a message that was matched by a probe.
#[inline(always)]
pub(super) fn probed(call: &Call<'_>, status: &RawStatus) -> Number {
    if observer::compares() { number(call, status, &Which::Now) } else { None }
}

/// Which message was received.
#[derive(Clone, Copy)]
pub(super) enum Which {
    /// The one that a call has just got which was posted later than all receives that are open.
    Now,
    /// One that was matched before.
    Matched(Number),
    /// That of a request.
    Posted(u16),
}

#[cold]
#[inline(never)]
fn number(call: &Call<'_>, status: &RawStatus, which: &Which) -> Number {
    let key = call.comm.and_then(|comm| key(comm, status));
    with_order(|order| match (*which, key) {
        (Which::Matched(number), _) => number,
        (Which::Posted(place), Some(key)) => order.complete(place, key),
        (Which::Posted(place), None) => {
            order.close(place);
            None
        }
        (Which::Now, Some(key)) => {
            order.shrink(|comm| record::known_comms().iter().any(|it| it.id == comm));
            order.match_now(key)
        }
        (Which::Now, None) => None,
    })
}

/// Whether several threads may receive messages at the same time: which of them was first nobody knows.
fn has_several_threads() -> bool {
    state::level() >= Threading::Serialized && record::lanes().len() > 1
}

/// Looks whether a message that came holds what it was received as. `room` is 0 where it is not limited.
#[cold]
#[inline(never)]
pub(super) fn check(
    call: &Call<'_>,
    status: &RawStatus,
    element: Name,
    room: usize,
    which: &Which,
) -> Result<()> {
    let number = number(call, status, which).filter(|_| !has_several_threads());
    let Some(comm) = call.comm else { return Ok(()) };
    let Some(key) = key(comm, status) else { return Ok(()) };
    if comm.record().is_foreign() {
        return Ok(());
    }
    let note = if observer::is_strict() {
        channel::find(call, comm, key, number)?
    } else {
        number.and_then(|number| shared::find(comm, key, number))
    };
    let Some(note) = note else {
        if observer::is_strict() && number.is_some() {
            with_order(|order| order.lose(comm.id()));
        }
        return Ok(());
    };
    // Not every library notices each message that is too long.
    if observer::is_strict() && room > 0 && note.bytes > room as u64 {
        let detail = format!("{} bytes were sent, and there is room for {room}", note.bytes);
        return Err(Error::new(ErrorKind::Truncated, call, detail));
    }
    let wanted = base(element());
    if note.element == 0 || wanted.is_empty() || note.element == hash_of_name(wanted) {
        return Ok(());
    }
    // What is no object its header does not say; who decodes it names the type that was wanted.
    if !observer::is_strict() && wanted == object() {
        return Ok(());
    }
    // A note of another length is not that of this message.
    if !observer::is_strict() && status.bytes(call).is_ok_and(|bytes| bytes as u64 != note.bytes) {
        with_order(|order| order.lose(comm.id()));
        return Ok(());
    }
    let (bytes, source) = (note.bytes, status.source());
    let [sent, place, operation] = (note.texts)();
    let sent = if sent.is_empty() { "another type".to_owned() } else { format!("`{sent}`") };
    let by = if place.is_empty() { String::new() } else { format!(" ({operation} at {place})") };
    let help = if note.element == hash_of_name(object()) {
        ": receive an object with the `_object` form of this operation, such as `recv_object`"
    } else if wanted == object() {
        ": receive elements with the form of this operation without `_object`, such as `recv`"
    } else {
        ""
    };
    let detail = format!(
        "rank {source} sent {bytes} bytes of {sent}{by}; they were received as `{wanted}`{help}"
    );
    Err(Error::new(ErrorKind::TypeMismatch, call, detail))
}

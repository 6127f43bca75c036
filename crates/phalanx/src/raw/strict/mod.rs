//! What strict mode does beside the calls themselves. It lies above the gate and the waits, which know it as
//! an observer (`raw/observer.rs`) alone.
//!
//! - `copies.rs`: a standard send is synchronous, and reads from a copy.
//! - beside each message goes a note of what it holds and which line sends it (`raw/notes`).
//! - `agreement.rs`: the members of a collective call tell each other what they are about to do.

mod agreement;
pub(super) mod copies;
mod names;
mod note;

pub(crate) use super::observer::is_strict as is_on;
pub(crate) use agreement::conclude;
pub(super) use agreement::{Agreement, agree_later, completed};
pub(crate) use names::base;
pub(super) use names::hash_of_name;
pub(super) use note::{NOTE, NOTE_COMES, Note};

/// Turns strict mode on, once all ranks have agreed on it.
pub(crate) fn turn_on() {
    super::observer::turn_strict_on(agreement::agree);
}

//! How the message of an object is told from elements.
//!
//! Such a message begins with a header: eight bytes that are always the same, and a checksum of the header
//! at its end. A typed receive compares the first eight bytes of what came, which costs one comparison,
//! and the checksum only where they agree. Elements that are no object are taken for one if they begin with
//! these 64 bits and have the right 32 bits at the right place: for random data once in 2⁹⁶ messages.

use super::ViewMut;
use super::p2p::RawStatus;
use crate::error::{Error, ErrorKind, Result};
use crate::record::Call;

/// The length of the header.
pub(crate) const HEADER: usize = 40;
/// Its first eight bytes.
pub(crate) const MAGIC: [u8; 8] = [0x6b, 0xb2, 0x05, 0xd8, 0x3e, 0x9c, 0xa7, 0xf1];
/// Where the checksum stands.
const SEAL: usize = HEADER - size_of::<u32>();

fn word<const N: usize>(message: &[u8], at: usize) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&message[at..at + N]);
    word
}

/// A hash of the header up to its checksum: every bit of it changes the hash.
fn checksum(header: &[u8]) -> u32 {
    let words = [0, 8, 16, 24].map(|at| u64::from_le_bytes(word(header, at)));
    let last = u64::from(u32::from_le_bytes(word(header, SEAL - 4)));
    hash_of(words.into_iter().chain([last]))
}

/// A hash of a few numbers, each bit of which changes it.
pub(crate) fn hash_of(words: impl IntoIterator<Item = u64>) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let sum = words.into_iter().fold(ODD, |sum, word| {
        let mixed = (sum ^ word).wrapping_mul(ODD);
        mixed ^ (mixed >> 29)
    });
    (sum >> 32) as u32
}

/// Writes the checksum of a header.
pub(crate) fn seal(message: &mut [u8]) {
    let sum = checksum(message);
    message[SEAL..HEADER].copy_from_slice(&sum.to_le_bytes());
}

/// Whether a message begins as the message of an object does.
pub(crate) fn has_magic(message: &[u8]) -> bool {
    message.len() >= HEADER && message[..MAGIC.len()] == MAGIC
}

/// Whether the header of a message is as it was written.
pub(crate) fn is_sealed(message: &[u8]) -> bool {
    message.len() >= HEADER && u32::from_le_bytes(word(message, SEAL)) == checksum(message)
}

/// The start of memory that a typed receive fills, where a header fits into it. Null for all other memory:
/// the bytes of an object itself, and memory with gaps.
#[derive(Clone, Copy)]
pub(crate) struct Start(*const u8);

impl Start {
    pub const NONE: Start = Start(std::ptr::null());

    #[inline(always)]
    pub fn of(view: &ViewMut<'_>) -> Self {
        if view.holds_elements() && view.items >= HEADER {
            Start(view.pointer.cast_const().cast())
        } else {
            Start::NONE
        }
    }

    /// Whether an object has been received there. The receive is complete, and the memory still lent to it.
    #[inline(always)]
    pub fn check(self, call: &Call<'_>, status: &RawStatus) -> Result<()> {
        if self.0.is_null() {
            return Ok(());
        }
        // SAFETY: a header fits into the memory, which its owner has lent until the receive is over and
        // whose first bytes are initialised.
        let first = unsafe { self.0.cast::<[u8; 8]>().read() };
        if first == MAGIC { self.look(&call.copy(), status) } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn look(self, call: &Call<'_>, status: &RawStatus) -> Result<()> {
        let came = status.bytes(call)?;
        if came < HEADER {
            return Ok(());
        }
        // SAFETY: as above, and so many bytes have been received.
        let header = unsafe { std::slice::from_raw_parts(self.0, HEADER) };
        if !is_sealed(header) {
            return Ok(());
        }
        let detail = "an object was sent, and elements were to be received: receive it with the \
                      `_object` form of this operation, such as `recv_object`";
        Err(Error::new(ErrorKind::TypeMismatch, call, detail))
    }
}

/// The error of a receive of an object, of which the first part was too long: what came is no object.
#[cold]
pub(crate) fn no_object(error: Error) -> Error {
    if !error.is_truncated() {
        return error;
    }
    let detail = format!(
        "an object was to be received, and what came is none: {}; elements that were sent typed are \
         received with `recv`",
        error.detail()
    );
    error.with_kind(ErrorKind::TypeMismatch).with_detail(detail)
}

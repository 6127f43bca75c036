//! What follows the values of the compact format, if there is something to say.
//!
//! A value that holds structs, or many elements without bytes, is followed by
//! - the structs of which fields were skipped, in the order in which they begin: for each its number among
//!   the structs (4 bytes), the number of fields that are there (1 byte) and a hash of the name of each
//!   (4 bytes); then the length of all that (4 bytes);
//! - the number of elements and structs without bytes (8 bytes) and a hash of it (4 bytes), if they are many;
//! - a word of 4 bytes: which of the two are there, and the shape of the other structs.
//!
//! The reader finds it from the end of the message. A value of numbers, strings and collections has none.

use xxhash_rust::xxh3::xxh3_64;

use super::error::Error;
use super::shape::{NUMBERS, Shape};

const SKIPPED: u32 = 1;
const EMPTY: u32 = 2;
const FLAGS: u32 = SKIPPED | EMPTY;

/// Fewer elements and structs without bytes are not worth a word.
pub(super) const MANY_EMPTY: u64 = 256;

/// A struct of which fields were skipped, and the fields that are there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Skipped {
    /// Its number among the structs of the message.
    pub structure: u32,
    /// Hashes of the names.
    pub present: Vec<u32>,
}

/// What is counted on both sides while they walk over the value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Structs that have begun.
    pub structs: u32,
    /// The sum of their shapes, but for those that skip fields.
    pub shape: Shape,
    /// Elements and structs that took no bytes.
    pub empty: u64,
}

impl Counts {
    #[inline(always)]
    fn is_written(&self) -> bool {
        self.structs > 0 || self.empty >= MANY_EMPTY
    }
}

#[inline]
pub(super) fn append(bytes: &mut Vec<u8>, counts: &Counts, skipped: &mut [Skipped]) {
    if !counts.is_written() {
        return;
    }
    let mut word = counts.shape.word();
    if !skipped.is_empty() || counts.empty >= MANY_EMPTY {
        word |= append_rest(bytes, counts, skipped);
    }
    bytes.extend_from_slice(&word.to_le_bytes());
}

#[cold]
fn append_rest(bytes: &mut Vec<u8>, counts: &Counts, skipped: &mut [Skipped]) -> u32 {
    let mut flags = 0;
    if !skipped.is_empty() {
        flags |= SKIPPED;
        let start = bytes.len();
        skipped.sort_unstable();
        for one in &*skipped {
            bytes.extend_from_slice(&one.structure.to_le_bytes());
            bytes.push(one.present.len() as u8);
            bytes.extend(one.present.iter().flat_map(|hash| hash.to_le_bytes()));
        }
        let length = (bytes.len() - start) as u32;
        bytes.extend_from_slice(&length.to_le_bytes());
    }
    if counts.empty >= MANY_EMPTY {
        flags |= EMPTY;
        let empty = counts.empty.to_le_bytes();
        bytes.extend_from_slice(&empty);
        bytes.extend_from_slice(&check_of(empty));
    }
    flags
}

/// So that no few damaged bytes allow more elements.
fn check_of(empty: [u8; 8]) -> [u8; 4] {
    (xxh3_64(&empty) as u32).to_le_bytes()
}

/// The tail as it is read from the end of a message. Whether there is one is known after the value.
#[derive(Clone, Copy)]
pub(super) struct Tail<'de> {
    word: u32,
    skipped: &'de [u8],
    empty: u64,
    /// Its length, unless it is damaged, or no tail at all.
    length: Option<usize>,
}

impl<'de> Tail<'de> {
    /// Whether a tail, if there is one, may name structs that skip fields.
    #[inline(always)]
    pub fn may_skip(message: &[u8]) -> bool {
        match message.len().checked_sub(4) {
            Some(at) => u32::from(message[at]) & SKIPPED != 0,
            None => false,
        }
    }

    #[cold]
    pub fn read(message: &'de [u8]) -> Self {
        let mut tail = Tail { word: 0, skipped: &[], empty: 0, length: None };
        let mut rest = message;
        let Some(word) = last(&mut rest) else { return tail };
        tail.word = u32::from_le_bytes(word);
        if tail.word & EMPTY != 0 {
            match (last(&mut rest), last(&mut rest)) {
                (Some(check), Some(empty)) if check == check_of(empty) => {
                    tail.empty = u64::from_le_bytes(empty);
                }
                _ => return tail,
            }
        }
        if tail.word & SKIPPED != 0 {
            let Some(length) = last(&mut rest) else { return tail };
            let length = u32::from_le_bytes(length) as usize;
            let Some(at) = rest.len().checked_sub(length) else { return tail };
            (rest, tail.skipped) = rest.split_at(at);
        }
        tail.length = Some(message.len() - rest.len());
        tail
    }

    /// How many elements without bytes the sender has counted.
    pub fn empty(&self) -> u64 {
        self.empty
    }

    /// The fields that are there of the next struct that skips some, if it is this one.
    #[cold]
    pub fn next_skipped(&mut self, structure: u32) -> Option<Present<'de>> {
        let (number, rest) = self.skipped.split_first_chunk()?;
        if u32::from_le_bytes(*number) != structure {
            return None;
        }
        let (count, rest) = rest.split_first()?;
        let (hashes, rest) = rest.split_at_checked(4 * usize::from(*count))?;
        self.skipped = rest;
        Some(Present { hashes })
    }

    /// Compares what the sender has counted with what came out of its bytes. Not the names, where this
    /// side knows several of one field. `seen` is the tail, if it has been read.
    #[inline]
    pub fn check(
        message: &'de [u8],
        rest: &[u8],
        counts: &Counts,
        has_aliases: bool,
        seen: Option<Self>,
    ) -> Result<(), Error> {
        if counts.structs == 0 && rest.is_empty() {
            return Ok(());
        }
        if !counts.is_written() {
            return Err(follow(rest.len()));
        }
        match <[u8; 4]>::try_from(rest) {
            Ok(word)
                if u32::from_le_bytes(word) == counts.shape.word() && counts.empty < MANY_EMPTY =>
            {
                Ok(())
            }
            _ => {
                let tail = seen.unwrap_or_else(|| Tail::read(message));
                tail.check_rest(rest, counts, has_aliases)
            }
        }
    }

    #[cold]
    fn check_rest(&self, rest: &[u8], counts: &Counts, has_aliases: bool) -> Result<(), Error> {
        if rest.is_empty() {
            return Err(Error::about_type(
                "a struct is expected where none was sent: its `Serialize` and `Deserialize` differ, or it \
                 is another type of the same name",
            ));
        }
        if self.length != Some(rest.len()) {
            return Err(follow(rest.len()));
        }
        let compared = if has_aliases { NUMBERS } else { !FLAGS };
        if self.word & compared != counts.shape.word() & compared {
            return Err(Error::about_type(
                "the fields that were sent are not those of this type: it is another type of the same \
                 name, its names for `Serialize` and `Deserialize` differ, or a field is skipped on one \
                 side only (`skip_serializing`, `skip_deserializing`, or `skip_serializing_if` in a tuple); \
                 the codec `SelfDescribing` may carry it",
            ));
        }
        if !self.skipped.is_empty() {
            return Err(Error::new("fields are skipped of structs that are not there"));
        }
        let empty = if counts.empty >= MANY_EMPTY { counts.empty } else { 0 };
        if self.empty != empty {
            let (came, said) = (counts.empty, self.empty);
            let text = format!("{came} elements without bytes came, {said} were sent");
            return Err(Error::new(text));
        }
        Ok(())
    }
}

#[cold]
fn follow(more: usize) -> Error {
    Error::new(format!("{more} bytes follow the value"))
}

/// Hashes of the names of the fields that are there.
pub(super) struct Present<'de> {
    hashes: &'de [u8],
}

impl Iterator for Present<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (hash, rest) = self.hashes.split_first_chunk()?;
        self.hashes = rest;
        Some(u32::from_le_bytes(*hash))
    }
}

fn last<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (before, last) = rest.split_last_chunk()?;
    *rest = before;
    Some(*last)
}

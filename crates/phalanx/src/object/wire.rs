//! What travels: a header, the bytes of the codec, and a table of the segments that travel beside them.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0–7 | magic: tells an object from elements that were sent typed (see `raw/mark.rs`) |
//! | 8 | version of this layout |
//! | 9 | the codec |
//! | 10–11 | zero |
//! | 12–15 | number of segments that travel beside the message (see `plain`) |
//! | 16–23 | fingerprint of the type |
//! | 24–31 | length of the codec's bytes |
//! | 32–35 | tag of what follows on the private communicator; the next tag is that of the answer |
//! | 36–39 | checksum of the header: the receiver waits for what it announces |
//!
//! An entry of the table says how long a segment is (8 bytes) and how its elements are aligned (4 bytes), with a
//! checksum (4 bytes). All numbers are little-endian. How the message is cut is told in `README.md`.
//!
//! The fingerprint is a hash of the type's name, in which borrowed and
//! boxed forms and `Cow` are the same as the owned ones: what is sent as `&str` may be received as `String`.

use std::cell::RefCell;

use phalanx_codec::{Codec, Undecoded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, ErrorKind, Result};
use crate::raw::mark::{self, MAGIC};
use crate::raw::p2p::Envelope;
use crate::record::Call;

pub(super) use crate::raw::mark::HEADER;

const VERSION: u8 = 2;
/// The length of the table's entry of one segment.
const ENTRY: usize = 16;

/// A message is cut behind so many bytes: the first part is never longer, so that a receive of this length can
/// be posted for any object.
pub(crate) const FIRST: usize = 16 * 1024;

/// A block that travels beside the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub bytes: usize,
    pub alignment: usize,
}

/// Where the receiver says that it waits for the segments: with a tag of its own, because with that of the segments
/// it may send a message itself.
pub(super) fn answer_to(segments: Envelope) -> Envelope {
    Envelope { tag: segments.tag + 1, ..segments }
}

/// What the header says of everything that travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub segments: usize,
    /// Of what follows on the private communicator.
    pub tag: i32,
    /// Of header, codec's bytes and table.
    pub total: usize,
    codec_end: usize,
}

/// Appends header and bytes of a value. What follows is announced with [`announce`].
pub(super) fn encode<C: Codec, T: Serialize + ?Sized>(
    call: &Call<'_>,
    value: &T,
    into: &mut Vec<u8>,
) -> Result<()> {
    into.clear();
    into.extend_from_slice(&MAGIC);
    into.extend_from_slice(&[VERSION, C::ID, 0, 0, 0, 0, 0, 0]);
    into.extend_from_slice(&fingerprint::<T>().to_le_bytes());
    into.extend_from_slice(&[0; 16]);
    C::encode(value, into).map_err(|text| {
        let name = std::any::type_name::<T>();
        Error::new(ErrorKind::Encode, call, format!("`{name}`: {text}"))
    })?;
    let length = (into.len() - HEADER) as u64;
    into[24..32].copy_from_slice(&length.to_le_bytes());
    mark::seal(into);
    Ok(())
}

/// The message of a value, as a vector of its own.
pub(crate) fn to_bytes<C: Codec, T: Serialize + ?Sized>(
    call: &Call<'_>,
    value: &T,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode::<C, T>(call, value, &mut bytes)?;
    Ok(bytes)
}

/// [`to_bytes`] for a value that its receivers decode as the same type. What only `Deserialize` shows, such
/// as an untagged enum, is found here, before anybody waits for the value: the first one of each type is
/// decoded again, in debug builds every one.
pub(crate) fn to_bytes_checked<C: Codec, T: Serialize + DeserializeOwned>(
    call: &Call<'_>,
    value: &T,
) -> Result<Vec<u8>> {
    const REMEMBERED: usize = 16;
    thread_local! {
        static CHECKED: RefCell<[u64; REMEMBERED]> = const { RefCell::new([0; REMEMBERED]) };
    }
    let bytes = to_bytes::<C, T>(call, value)?;
    let key = fingerprint::<T>() ^ u64::from(C::ID);
    let slot = key as usize % REMEMBERED;
    if !cfg!(debug_assertions) && CHECKED.with_borrow(|checked| checked[slot]) == key {
        return Ok(bytes);
    }
    if let Err(Undecoded::Type(text)) = C::decode_object::<T>(&bytes[HEADER..]) {
        let name = std::any::type_name::<T>();
        return Err(Error::new(ErrorKind::Encode, call, format!("`{name}`: {text}")));
    }
    CHECKED.with_borrow_mut(|checked| checked[slot] = key);
    Ok(bytes)
}

/// Appends the table of the segments, and says under which tag everything follows that does not belong to the
/// first part.
pub(super) fn announce(message: &mut Vec<u8>, segments: &[Segment], tag: i32) {
    for segment in segments {
        let mut entry = [0; ENTRY];
        entry[..8].copy_from_slice(&(segment.bytes as u64).to_le_bytes());
        entry[8..12].copy_from_slice(&(segment.alignment as u32).to_le_bytes());
        let sum = hash_of_entry(&entry);
        entry[12..].copy_from_slice(&sum.to_le_bytes());
        message.extend_from_slice(&entry);
    }
    message[12..16].copy_from_slice(&(segments.len() as u32).to_le_bytes());
    message[32..36].copy_from_slice(&tag.to_le_bytes());
    mark::seal(message);
}

fn hash_of_entry(entry: &[u8]) -> u32 {
    let alignment = u32::from_le_bytes(word(entry, 8));
    mark::hash_of([u64::from_le_bytes(word(entry, 0)), u64::from(alignment)])
}

fn word<const N: usize>(message: &[u8], at: usize) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&message[at..at + N]);
    word
}

/// What a message or its first part says of the whole, if it has a sound header of this version.
#[inline]
pub(super) fn head(message: &[u8]) -> Option<Head> {
    if !mark::has_magic(message) || !mark::is_sealed(message) || message[8] != VERSION {
        return None;
    }
    let segments = u32::from_le_bytes(word(message, 12)) as usize;
    let length = usize::try_from(u64::from_le_bytes(word(message, 24))).ok()?;
    let codec_end = HEADER.checked_add(length)?;
    let total = segments.checked_mul(ENTRY).and_then(|table| codec_end.checked_add(table))?;
    Some(Head { segments, tag: i32::from_le_bytes(word(message, 32)), total, codec_end })
}

/// The segments that a whole message announces.
pub(super) fn segments(call: &Call<'_>, message: &[u8]) -> Result<Vec<Segment>> {
    let Some(Head { codec_end, .. }) = head(message) else { return Ok(Vec::new()) };
    let table = message.get(codec_end..).unwrap_or(&[]);
    let segment = |entry: &[u8]| {
        let bytes = usize::try_from(u64::from_le_bytes(word(entry, 0))).ok()?;
        let is_sealed = u32::from_le_bytes(word(entry, 12)) == hash_of_entry(entry);
        let alignment = u32::from_le_bytes(word(entry, 8)) as usize;
        is_sealed.then_some(Segment { bytes, alignment })
    };
    let all: Option<Vec<Segment>> = table.chunks_exact(ENTRY).map(segment).collect();
    all.ok_or_else(|| {
        Error::new(ErrorKind::Decode, call, "the checksum of a segment's length is wrong")
    })
}

/// Makes the value of a message.
pub(crate) fn decode<C: Codec, T: DeserializeOwned>(call: &Call<'_>, message: &[u8]) -> Result<T> {
    decode_after::<C, T>(call, message, head(message))
}

/// The same where the header has been read.
#[inline]
pub(super) fn decode_after<C: Codec, T: DeserializeOwned>(
    call: &Call<'_>,
    message: &[u8],
    head: Option<Head>,
) -> Result<T> {
    let same = |head: &Head| {
        head.total == message.len()
            && message[9] == C::ID
            && u64::from_le_bytes(word(message, 16)) == fingerprint::<T>()
    };
    let Some(Head { codec_end, .. }) = head.filter(same) else {
        return Err(not_what_was_expected::<C, T>(call, message));
    };
    C::decode_object(&message[HEADER..codec_end]).map_err(|reason| {
        let expected = std::any::type_name::<T>();
        let (kind, text) = match reason {
            Undecoded::Bytes(text) => (ErrorKind::Decode, text),
            Undecoded::Type(text) => (ErrorKind::TypeMismatch, text),
        };
        Error::new(kind, call, format!("`{expected}`: {text}"))
    })
}

#[cold]
fn not_what_was_expected<C: Codec, T>(call: &Call<'_>, message: &[u8]) -> Error {
    let expected = std::any::type_name::<T>();
    let error = |kind, detail: String| Error::new(kind, call, detail);
    if !mark::has_magic(message) {
        return no_object::<T>(call, &format!("of {} bytes", message.len()));
    }
    if !mark::is_sealed(message) {
        return error(ErrorKind::Decode, "the checksum of the header is wrong".to_owned());
    }
    if message[8] != VERSION {
        let version = message[8];
        return error(ErrorKind::Decode, format!("version {version} of the wire format"));
    }
    if message[9] != C::ID {
        let (came, wanted) = (message[9], C::ID);
        let detail = format!("the message was made by codec {came}, the receiver uses {wanted}");
        return error(ErrorKind::TypeMismatch, detail);
    }
    if u64::from_le_bytes(word(message, 16)) != fingerprint::<T>() {
        let detail = format!("an object of type `{expected}` was expected, another type came");
        return error(ErrorKind::TypeMismatch, detail);
    }
    let length = u64::from_le_bytes(word(message, 24));
    let came = message.len() - HEADER;
    error(ErrorKind::Decode, format!("the header announces {length} bytes, {came} came"))
}

/// The error where elements were sent and an object was to be received.
#[cold]
pub(crate) fn no_object<T>(call: &Call<'_>, length: &str) -> Error {
    let expected = std::any::type_name::<T>();
    let detail = format!(
        "an object of type `{expected}` was expected, the message {length} is no object: \
         elements that were sent typed are received with `recv`"
    );
    Error::new(ErrorKind::TypeMismatch, call, detail)
}

/// The same where the type is not known.
#[cold]
pub(super) fn no_object_at_all(call: &Call<'_>, length: usize) -> Error {
    let detail = format!(
        "an object was expected, the message of {length} bytes is no object: elements that were sent \
         typed are received with `recv`"
    );
    Error::new(ErrorKind::TypeMismatch, call, detail)
}

/// A hash of the type's name. Names are addresses of constants, so that the last few types of a
/// thread are found without hashing again.
fn fingerprint<T: ?Sized>() -> u64 {
    /// Two names whose addresses fall together do not drive each other out.
    type Pair = [(usize, usize, u64); 2];
    const PAIRS: usize = 8;
    thread_local! {
        static KNOWN: RefCell<[Pair; PAIRS]> = const { RefCell::new([[(0, 0, 0); 2]; PAIRS]) };
    }
    let name = std::any::type_name::<T>();
    let (address, length) = (name.as_ptr() as usize, name.len());
    KNOWN.with_borrow_mut(|known| {
        let pair = &mut known[(address >> 3) % PAIRS];
        let is_it = |it: &&(usize, usize, u64)| it.0 == address && it.1 == length;
        if let Some(&(.., hash)) = pair.iter().find(is_it) {
            return hash;
        }
        pair[1] = pair[0];
        pair[0] = (address, length, hash_of_owned(name));
        pair[0].2
    })
}

#[cold]
#[inline(never)]
fn hash_of_owned(name: &str) -> u64 {
    xxh3_64(normalized(name).as_bytes())
}

/// The name of the owned form: without references and boxes, slices as vectors, `str` as `String`.
fn normalized(name: &str) -> String {
    const BOXES: [&str; 4] =
        ["alloc::boxed::Box<", "alloc::rc::Rc<", "alloc::sync::Arc<", "alloc::borrow::Cow<"];
    const VECTOR: &str = "alloc::vec::Vec<";
    const OWNED: [(&str, &str); 4] = [
        ("str", "alloc::string::String"),
        ("std::path::Path", "std::path::PathBuf"),
        ("core::ffi::c_str::CStr", "alloc::ffi::c_str::CString"),
        ("std::ffi::os_str::OsStr", "std::ffi::os_str::OsString"),
    ];
    let mut result = String::with_capacity(name.len() + 16);
    // What each open bracket was replaced by: its closing partner is replaced alike.
    let mut closing: Vec<&str> = Vec::new();
    let mut rest = name;
    while let Some(character) = rest.chars().next() {
        let in_word = result.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        if let (false, Some(open)) = (in_word, BOXES.iter().find(|open| rest.starts_with(**open))) {
            closing.push("");
            rest = &rest[open.len()..];
            rest = rest.strip_prefix("'_, ").unwrap_or(rest);
            continue;
        }
        let ends_word = |next: Option<char>| next.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let owned = OWNED.iter().find_map(|(borrowed, owned)| {
            let after = rest.strip_prefix(borrowed)?;
            ends_word(after.chars().next()).then_some((owned, after))
        });
        if let (false, Some((owned, after))) = (in_word, owned) {
            result.push_str(owned);
            rest = after;
            continue;
        }
        match character {
            '&' => {
                rest = rest[1..].strip_prefix("mut ").unwrap_or(&rest[1..]);
                continue;
            }
            '<' => {
                closing.push(">");
                result.push('<');
            }
            // `->` of a function type closes nothing.
            '>' if !result.ends_with('-') => result.push_str(closing.pop().unwrap_or(">")),
            '[' if is_slice(rest) => {
                closing.push(">");
                result.push_str(VECTOR);
            }
            '[' => {
                closing.push("]");
                result.push('[');
            }
            ']' => result.push_str(closing.pop().unwrap_or("]")),
            other => result.push(other),
        }
        rest = &rest[character.len_utf8()..];
    }
    result
}

/// Whether the bracket at the start encloses a slice type, not an array with its `; N`.
fn is_slice(name: &str) -> bool {
    let mut depth = 0;
    for character in name.chars() {
        match character {
            '[' | '<' | '(' => depth += 1,
            ']' if depth == 1 => return true,
            ']' | '>' | ')' => depth -= 1,
            ';' if depth == 1 => return false,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Bincode;
    use crate::record::SEND_OBJECT;
    use std::borrow::Cow;
    use std::ffi::{CStr, CString, OsStr, OsString};
    use std::panic::Location;
    use std::path::{Path, PathBuf};

    fn call() -> Call<'static> {
        Call::local(&SEND_OBJECT, Location::caller())
    }

    #[test]
    fn borrowed_forms_have_the_fingerprint_of_the_owned_ones() {
        assert_eq!(fingerprint::<str>(), fingerprint::<String>());
        assert_eq!(fingerprint::<&str>(), fingerprint::<String>());
        assert_eq!(fingerprint::<[f64]>(), fingerprint::<Vec<f64>>());
        assert_eq!(fingerprint::<(&str, &[u8])>(), fingerprint::<(String, Vec<u8>)>());
        assert_eq!(fingerprint::<Box<[Box<str>]>>(), fingerprint::<Vec<String>>());
        assert_eq!(fingerprint::<Vec<&[u8; 3]>>(), fingerprint::<Vec<[u8; 3]>>());
        assert_eq!(fingerprint::<&Path>(), fingerprint::<PathBuf>());
        assert_eq!(fingerprint::<Vec<&CStr>>(), fingerprint::<Vec<CString>>());
        assert_eq!(fingerprint::<(&OsStr, u8)>(), fingerprint::<(OsString, u8)>());
        assert_eq!(fingerprint::<Cow<'_, Path>>(), fingerprint::<PathBuf>());
        assert_eq!(
            fingerprint::<(Cow<'_, str>, Cow<'_, [u8]>)>(),
            fingerprint::<(String, Vec<u8>)>()
        );
    }

    #[test]
    fn other_types_have_other_fingerprints() {
        assert_ne!(fingerprint::<u32>(), fingerprint::<i32>());
        assert_ne!(fingerprint::<[u8; 3]>(), fingerprint::<Vec<u8>>());
        assert_ne!(fingerprint::<Option<u8>>(), fingerprint::<u8>());
        assert_ne!(fingerprint::<Vec<Vec<u8>>>(), fingerprint::<Vec<u8>>());
    }

    #[test]
    fn a_round_trip_gives_the_value_back() {
        let value = (1_u8, vec!["a".to_owned(), String::new()], Some(2.5_f64));
        let bytes = to_bytes::<Bincode, _>(&call(), &value).unwrap();
        assert_eq!(
            decode::<Bincode, (u8, Vec<String>, Option<f64>)>(&call(), &bytes).unwrap(),
            value
        );
    }

    #[test]
    fn a_header_of_which_one_bit_is_wrong_announces_nothing() {
        let mut bytes = to_bytes::<Bincode, _>(&call(), &vec![1_u8; 100]).unwrap();
        announce(&mut bytes, &[Segment { bytes: 70_000, alignment: 8 }], 77);
        let sound = head(&bytes).unwrap();
        assert_eq!((sound.segments, sound.tag, sound.total), (1, 77, bytes.len()));
        for bit in 0..8 * HEADER {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(head(&damaged), None, "bit {bit}");
            assert!(decode::<Bincode, Vec<u8>>(&call(), &damaged).is_err());
        }
        assert_eq!(head(&bytes[..HEADER - 1]), None);
    }

    #[test]
    fn lengths_of_segments_are_what_was_announced_or_an_error() {
        let segments =
            [Segment { bytes: 1 << 40, alignment: 1 }, Segment { bytes: 65_536, alignment: 16 }];
        let mut bytes = to_bytes::<Bincode, _>(&call(), &0.5).unwrap();
        let table = bytes.len();
        announce(&mut bytes, &segments, 1);
        assert_eq!(super::segments(&call(), &bytes).unwrap(), segments);
        assert_eq!(decode::<Bincode, f64>(&call(), &bytes).unwrap(), 0.5);
        for bit in 8 * table..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(super::segments(&call(), &damaged).unwrap_err().is_decode(), "bit {bit}");
        }
    }

    #[test]
    fn a_length_that_lies_is_an_error_and_no_allocation() {
        let mut bytes = to_bytes::<Bincode, _>(&call(), &vec![0_u8; 8]).unwrap();
        bytes[HEADER..HEADER + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(decode::<Bincode, Vec<u8>>(&call(), &bytes).unwrap_err().is_decode());
        let mut bytes = to_bytes::<Bincode, _>(&call(), "text").unwrap();
        bytes[HEADER..HEADER + 8].copy_from_slice(&(1_u64 << 60).to_le_bytes());
        assert!(decode::<Bincode, String>(&call(), &bytes).unwrap_err().is_decode());
    }

    #[test]
    fn a_huge_vector_of_nothing_ends() {
        let mut bytes = to_bytes::<Bincode, _>(&call(), &vec![(); 3]).unwrap();
        bytes[HEADER..HEADER + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(decode::<Bincode, Vec<()>>(&call(), &bytes).unwrap_err().is_decode());
    }
}

//! What travels: a header, then the bytes of the codec, in one message.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0–1 | magic: tells an object from elements that were sent typed |
//! | 2 | version of this layout |
//! | 3 | the codec |
//! | 4–7 | number of segments that follow out of band (see `plain`) |
//! | 8–15 | fingerprint of the type |
//! | 16–23 | length of the codec's bytes |
//! | 24–27 | tag of the segments on the private communicator |
//! | 28–31 | checksum of the header: the receiver waits for the segments that it announces |
//!
//! All numbers are little-endian. The fingerprint is a hash of the type's name, in which borrowed and
//! boxed forms and `Cow` are the same as the owned ones: what is sent as `&str` may be received as `String`.

use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::record::Call;

pub(super) const HEADER: usize = 32;
const MAGIC: [u8; 2] = [0xF1, 0xA7];
const VERSION: u8 = 1;

/// Segments of a message that travel beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Segments {
    pub count: u32,
    pub tag: i32,
}

/// Appends header and bytes of a value. The segments are written with [`set_segments`].
pub(super) fn encode<C: Codec, T: Serialize + ?Sized>(
    call: &Call<'_>,
    value: &T,
    into: &mut Vec<u8>,
) -> Result<()> {
    into.clear();
    into.extend_from_slice(&[MAGIC[0], MAGIC[1], VERSION, C::ID, 0, 0, 0, 0]);
    into.extend_from_slice(&fingerprint::<T>().to_le_bytes());
    into.extend_from_slice(&[0; 16]);
    C::encode(value, into).map_err(|text| {
        let name = std::any::type_name::<T>();
        Error::new(ErrorKind::Encode, call, format!("`{name}`: {text}"))
    })?;
    let length = (into.len() - HEADER) as u64;
    into[16..24].copy_from_slice(&length.to_le_bytes());
    seal(into);
    Ok(())
}

fn seal(message: &mut [u8]) {
    let sum = checksum(message);
    message[28..HEADER].copy_from_slice(&sum.to_le_bytes());
}

/// A hash of the header's first 28 bytes: every bit of them changes it.
fn checksum(message: &[u8]) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let words = [0, 8, 16].map(|at| u64::from_le_bytes(word(message, at)));
    let last = u64::from(u32::from_le_bytes(word(message, 24)));
    let sum = words.into_iter().chain([last]).fold(ODD, |sum, word| {
        let mixed = (sum ^ word).wrapping_mul(ODD);
        mixed ^ (mixed >> 29)
    });
    (sum >> 32) as u32
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

pub(super) fn set_segments(message: &mut [u8], segments: Segments) {
    message[4..8].copy_from_slice(&segments.count.to_le_bytes());
    message[24..28].copy_from_slice(&segments.tag.to_le_bytes());
    seal(message);
}

fn word<const N: usize>(message: &[u8], at: usize) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&message[at..at + N]);
    word
}

fn is_sealed(message: &[u8]) -> bool {
    u32::from_le_bytes(word(message, 28)) == checksum(message)
}

/// The segments that a message announces, if it has a sound header.
pub(super) fn segments(message: &[u8]) -> Segments {
    if message.len() < HEADER || message[..2] != MAGIC || !is_sealed(message) {
        return Segments::default();
    }
    Segments {
        count: u32::from_le_bytes(word(message, 4)),
        tag: i32::from_le_bytes(word(message, 24)),
    }
}

/// Makes the value of a message.
pub(crate) fn decode<C: Codec, T: DeserializeOwned>(call: &Call<'_>, message: &[u8]) -> Result<T> {
    let fail = |kind, detail: String| Err(Error::new(kind, call, detail));
    let expected = std::any::type_name::<T>();
    if message.len() < HEADER || message[..2] != MAGIC {
        return fail(
            ErrorKind::TypeMismatch,
            format!(
                "an object of type `{expected}` was expected, the message of {} bytes is no object: \
                 elements that were sent typed are received with `recv`",
                message.len()
            ),
        );
    }
    if !is_sealed(message) {
        return fail(ErrorKind::Decode, "the checksum of the header is wrong".to_owned());
    }
    if message[2] != VERSION {
        let version = message[2];
        return fail(ErrorKind::Decode, format!("version {version} of the wire format"));
    }
    if message[3] != C::ID {
        let (came, wanted) = (message[3], C::ID);
        let detail = format!("the message was made by codec {came}, the receiver uses {wanted}");
        return fail(ErrorKind::TypeMismatch, detail);
    }
    if u64::from_le_bytes(word(message, 8)) != fingerprint::<T>() {
        let detail = format!("an object of type `{expected}` was expected, another type came");
        return fail(ErrorKind::TypeMismatch, detail);
    }
    let length = u64::from_le_bytes(word(message, 16));
    let actual = (message.len() - HEADER) as u64;
    if length != actual {
        let detail = format!("the header announces {length} bytes, {actual} came");
        return fail(ErrorKind::Decode, detail);
    }
    C::decode(&message[HEADER..])
        .map_err(|text| Error::new(ErrorKind::Decode, call, format!("`{expected}`: {text}")))
}

/// A hash of the type's name. Names are addresses of constants, so that the last few types of a
/// thread are found without hashing again.
fn fingerprint<T: ?Sized>() -> u64 {
    const REMEMBERED: usize = 8;
    thread_local! {
        static KNOWN: RefCell<[(usize, usize, u64); REMEMBERED]> =
            const { RefCell::new([(0, 0, 0); REMEMBERED]) };
    }
    let name = std::any::type_name::<T>();
    let (address, length) = (name.as_ptr() as usize, name.len());
    KNOWN.with_borrow_mut(|known| {
        let slot = &mut known[(address >> 3) % REMEMBERED];
        if slot.0 != address || slot.1 != length {
            *slot = (address, length, hash(&normalized(name)));
        }
        slot.2
    })
}

/// FNV-1a: the same on every machine and in every process.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The name of the owned form: without references and boxes, slices as vectors, `str` as `String`.
fn normalized(name: &str) -> String {
    const BOXES: [&str; 4] =
        ["alloc::boxed::Box<", "alloc::rc::Rc<", "alloc::sync::Arc<", "alloc::borrow::Cow<"];
    const VECTOR: &str = "alloc::vec::Vec<";
    const STRING: &str = "alloc::string::String";
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
        if !in_word && rest.starts_with("str") && ends_word(rest[3..].chars().next()) {
            result.push_str(STRING);
            rest = &rest[3..];
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
    use std::panic::Location;

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

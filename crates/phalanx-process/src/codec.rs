//! Values of any serde type, as bytes.
//!
//! Vectors of numbers are their own bytes: serde would move them number by number.

use std::any::{Any, type_name};

use phalanx_codec::{Bincode, Codec, Undecoded};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arena::{Name, Transit, noting_sent, sent_since, sent_until_now, with_transit};
use crate::error::{Error, ErrorKind, Result};
use crate::objects::Kept;

/// Calls a macro with each element type whose vectors are bytes.
macro_rules! for_each_number {
    ($of:ident) => {
        $of!(u8);
        $of!(i8);
        $of!(u16);
        $of!(i16);
        $of!(u32);
        $of!(i32);
        $of!(f32);
        $of!(u64);
        $of!(i64);
        $of!(f64);
        $of!(usize);
        $of!(isize);
    };
}

/// The bytes of a value which is a vector of numbers.
fn numbers<T: 'static>(value: &T) -> Option<&[u8]> {
    macro_rules! of {
        ($number:ty) => {
            if let Some(vector) = (value as &dyn Any).downcast_ref::<Vec<$number>>() {
                return Some(bytemuck::cast_slice(vector));
            }
        };
    }
    for_each_number!(of);
    None
}

/// A vector of numbers of its bytes, where `T` is one.
fn from_numbers<T: 'static>(bytes: &[u8]) -> Option<Result<T, String>> {
    let mut value: Option<T> = None;
    macro_rules! of {
        ($number:ty) => {
            if let Some(vector) =
                (&mut value as &mut dyn Any).downcast_mut::<Option<Vec<$number>>>()
            {
                if bytes.len() % size_of::<$number>() != 0 {
                    return Some(Err(format!(
                        "{} bytes are no whole number of elements",
                        bytes.len()
                    )));
                }
                *vector = Some(bytemuck::pod_collect_to_vec(bytes));
                return value.map(Ok);
            }
        };
    }
    for_each_number!(of);
    None
}

fn cannot_encode<T>(operation: &'static str, text: &str) -> Error {
    Error::new(ErrorKind::Encode, operation, format!("`{}`: {text}", type_name::<T>()))
}

/// Appends the bytes of a value.
pub fn encode<T: Serialize + 'static>(
    operation: &'static str,
    transit: Transit,
    value: &T,
    into: &mut Vec<u8>,
) -> Result<()> {
    if let Some(bytes) = numbers(value) {
        into.extend_from_slice(bytes);
        return Ok(());
    }
    with_transit(transit, || Bincode::encode(value, into))
        .map_err(|text| cannot_encode::<T>(operation, &text))
}

/// Appends the bytes of a value, which may be decoded often: until what this gives is dropped, if handles are in it.
pub fn encode_kept<T: Serialize + 'static>(
    operation: &'static str,
    value: &T,
    into: &mut Vec<u8>,
) -> Result<Option<Kept>> {
    if let Some(bytes) = numbers(value) {
        into.extend_from_slice(bytes);
        return Ok(None);
    }
    let (_, names) = noting_sent(Transit::Often, || Bincode::encode(value, into))
        .map_err(|text| cannot_encode::<T>(operation, &text))?;
    Ok(Kept::new(names))
}

/// Makes a value of all of the bytes.
pub fn decode<T: DeserializeOwned + 'static>(
    operation: &'static str,
    transit: Transit,
    bytes: &[u8],
) -> Result<T> {
    let wrong = |text: String| {
        Error::new(ErrorKind::Decode, operation, format!("`{}`: {text}", type_name::<T>()))
    };
    if let Some(value) = from_numbers(bytes) {
        return value.map_err(wrong);
    }
    with_transit(transit, || Bincode::decode_object(bytes)).map_err(|undecoded| {
        let (Undecoded::Bytes(text) | Undecoded::Type(text)) = undecoded;
        wrong(text)
    })
}

/// Appends the bytes of a value for a process of another tree: handles to shared objects cannot go there.
#[cfg(feature = "remote")]
pub fn encode_abroad<T: Serialize + 'static>(
    operation: &'static str,
    value: &T,
    into: &mut Vec<u8>,
) -> Result<()> {
    if let Some(bytes) = numbers(value) {
        into.extend_from_slice(bytes);
        return Ok(());
    }
    Bincode::encode(value, into).map_err(|text| cannot_encode::<T>(operation, &text))
}

/// As [`encode_abroad`], for the key of a map.
#[cfg(feature = "remote")]
pub fn encode_key_abroad<T: Serialize + ?Sized>(
    operation: &'static str,
    key: &T,
    into: &mut Vec<u8>,
) -> Result<()> {
    Bincode::encode(key, into).map_err(|text| cannot_encode::<&T>(operation, &text))
}

/// Makes a key of the bytes of [`encode_key_abroad`].
#[cfg(feature = "remote")]
pub fn decode_key_abroad<T: DeserializeOwned>(operation: &'static str, bytes: &[u8]) -> Result<T> {
    Bincode::decode_object(bytes).map_err(|undecoded| {
        let (Undecoded::Bytes(text) | Undecoded::Type(text)) = undecoded;
        Error::new(ErrorKind::Decode, operation, format!("`{}`: {text}", type_name::<T>()))
    })
}

/// Makes a value of the bytes of [`encode_abroad`].
#[cfg(feature = "remote")]
pub fn decode_abroad<T: DeserializeOwned + 'static>(
    operation: &'static str,
    bytes: &[u8],
) -> Result<T> {
    match from_numbers(bytes) {
        Some(value) => value.map_err(|text| {
            Error::new(ErrorKind::Decode, operation, format!("`{}`: {text}", type_name::<T>()))
        }),
        None => decode_key_abroad(operation, bytes),
    }
}

/// Encodes a value that is decoded once, and hands its bytes on, with the names of the handles in it. What is refused was not sent.
pub fn encode_once<T: Serialize + 'static, E: From<Error>>(
    operation: &'static str,
    value: &T,
    buffer: &mut Vec<u8>,
    hand_on: impl FnOnce(&[u8], &[Name]) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(bytes) = numbers(value) {
        return hand_on(bytes, &[]);
    }
    with_transit(Transit::Once, || {
        let start = sent_until_now();
        Bincode::encode(value, buffer).map_err(|text| cannot_encode::<T>(operation, &text))?;
        hand_on(buffer, &sent_since(start))
    })
}

/// Appends the bytes of a key, which are the same for all types that serde encodes in the same way: `String` and `str`,
/// `Vec<u8>` and `[u8]`.
pub fn encode_key<T: Serialize + ?Sized>(
    operation: &'static str,
    key: &T,
    into: &mut Vec<u8>,
) -> Result<()> {
    with_transit(Transit::Often, || Bincode::encode(key, into))
        .map_err(|text| cannot_encode::<&T>(operation, &text))
}

/// As [`encode_key`], for a key that is only looked up: handles in it are not on their way to anybody.
pub fn encode_to_look_up<T: Serialize + ?Sized>(
    operation: &'static str,
    key: &T,
    into: &mut Vec<u8>,
) -> Result<()> {
    // What is refused was not sent.
    match with_transit(Transit::Often, || Err::<(), _>(Bincode::encode(key, into).err())) {
        Ok(()) | Err(None) => Ok(()),
        Err(Some(text)) => Err(cannot_encode::<&T>(operation, &text)),
    }
}

/// Makes a key of the bytes of [`encode_key`].
pub fn decode_key<T: DeserializeOwned>(operation: &'static str, bytes: &[u8]) -> Result<T> {
    with_transit(Transit::Often, || Bincode::decode_object(bytes)).map_err(|undecoded| {
        let (Undecoded::Bytes(text) | Undecoded::Type(text)) = undecoded;
        Error::new(ErrorKind::Decode, operation, format!("`{}`: {text}", type_name::<T>()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_numbers_are_their_bytes_and_come_back() {
        let mut bytes = Vec::new();
        encode("test", Transit::Once, &vec![1.5_f64, -2.0], &mut bytes).expect("it can be encoded");
        assert_eq!(bytes.len(), 16);
        assert_eq!(
            decode::<Vec<f64>>("test", Transit::Once, &bytes).expect("it is one"),
            [1.5, -2.0]
        );
        assert!(decode::<Vec<f64>>("test", Transit::Once, &bytes[1..]).is_err());
        assert_eq!(decode::<Vec<u8>>("test", Transit::Once, &bytes[1..]).expect("bytes").len(), 15);
    }
}

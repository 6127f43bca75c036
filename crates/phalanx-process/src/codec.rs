//! Values of any serde type, as bytes.

use std::any::type_name;

use phalanx_codec::{Bincode, Codec, Undecoded};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arena::{Transit, with_transit};
use crate::error::{Error, ErrorKind, Result};

/// Appends the bytes of a value.
pub fn encode<T: Serialize>(
    operation: &'static str,
    transit: Transit,
    value: &T,
    into: &mut Vec<u8>,
) -> Result<()> {
    with_transit(transit, || Bincode::encode(value, into)).map_err(|text| {
        Error::new(ErrorKind::Encode, operation, format!("`{}`: {text}", type_name::<T>()))
    })
}

/// Makes a value of all of the bytes.
pub fn decode<T: DeserializeOwned>(
    operation: &'static str,
    transit: Transit,
    bytes: &[u8],
) -> Result<T> {
    with_transit(transit, || Bincode::decode_object(bytes)).map_err(|undecoded| {
        let (Undecoded::Bytes(text) | Undecoded::Type(text)) = undecoded;
        Error::new(ErrorKind::Decode, operation, format!("`{}`: {text}", type_name::<T>()))
    })
}

/// Encodes a value that is decoded once, and hands its bytes on. What is refused was not sent.
pub fn encode_once<T: Serialize, E: From<Error>>(
    operation: &'static str,
    value: &T,
    buffer: &mut Vec<u8>,
    hand_on: impl FnOnce(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    with_transit(Transit::Once, || {
        Bincode::encode(value, buffer).map_err(|text| {
            Error::new(ErrorKind::Encode, operation, format!("`{}`: {text}", type_name::<T>()))
        })?;
        hand_on(buffer)
    })
}

/// Appends the bytes of a value that is only looked up: handles in it are not on their way to anybody.
pub fn encode_to_look_up<T: Serialize>(
    operation: &'static str,
    value: &T,
    into: &mut Vec<u8>,
) -> Result<()> {
    // What is refused was not sent.
    let refused = with_transit(Transit::Often, || Err::<(), _>(Bincode::encode(value, into).err()));
    match refused {
        Ok(()) | Err(None) => Ok(()),
        Err(Some(text)) => {
            Err(Error::new(ErrorKind::Encode, operation, format!("`{}`: {text}", type_name::<T>())))
        }
    }
}

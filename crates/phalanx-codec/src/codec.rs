//! How a value becomes bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::format::{self, Error};

/// A way to turn serde values into bytes and back.
///
/// [`Bincode`] is the default everywhere, [`SelfDescribing`] carries what it refuses. The methods of a
/// communicator that end in `_with`, such as `send_object_with`, take another codec, which both sides must name.
///
/// ```
/// use phalanx_codec::Codec;
///
/// /// JSON, for messages that people want to read.
/// struct Json;
///
/// impl Codec for Json {
///     const ID: u8 = 200;
///
///     fn encode<T: serde::Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), String> {
///         serde_json::to_writer(into, value).map_err(|error| error.to_string())
///     }
///
///     fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
///         serde_json::from_slice(bytes).map_err(|error| error.to_string())
///     }
/// }
///
/// let mut bytes = Vec::new();
/// Json::encode(&vec![1, 2, 3], &mut bytes)?;
/// assert_eq!(bytes, b"[1,2,3]");
/// assert_eq!(Json::decode::<Vec<i32>>(&bytes)?, [1, 2, 3]);
/// # Ok::<(), String>(())
/// ```
pub trait Codec {
    /// Tells codecs apart in a message. 0 to 127 are this library's.
    const ID: u8;

    /// Appends the bytes of a value.
    ///
    /// # Errors
    /// A text that says why the value cannot be encoded.
    fn encode<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), String>;

    /// Makes a value of all of the bytes.
    ///
    /// Damaged bytes must be an error: never a panic, never an allocation that is not in proportion to
    /// the bytes, never a loop without end.
    ///
    /// # Errors
    /// A text that says what is wrong with the bytes.
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String>;

    /// [`decode`](Codec::decode), which also says whether the type or the bytes are at fault.
    #[doc(hidden)]
    fn decode_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Undecoded> {
        Self::decode(bytes).map_err(Undecoded::Bytes)
    }
}

/// Why bytes make no value.
#[doc(hidden)]
#[derive(Debug)]
pub enum Undecoded {
    /// They are damaged.
    Bytes(String),
    /// The type cannot travel with this codec, or another type of the same name was sent.
    Type(String),
}

impl From<Error> for Undecoded {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        if error.is_about_type() { Undecoded::Type(text) } else { Undecoded::Bytes(text) }
    }
}

/// The default codec: values one after another, without names.
///
/// It is the layout of bincode 2 with integers of fixed width, little-endian, with two additions: the
/// number of a variant carries a few bits of the variant's name, and a value that holds structs ends in
/// a word that says which fields they have. They cost a few instructions for each struct and show when
/// two types of one name are mixed up.
///
/// Fields that `skip_serializing_if` leaves out get their default, as in JSON. What needs the kinds and
/// names of values in the message is refused with an error that names the type, the field and
/// [`SelfDescribing`]:
/// - by the sender: `flatten`, internally and adjacently tagged enums (`#[serde(tag = "…")]`), sequences
///   and maps that do not know their length, more levels than the stack allows to drop;
/// - by the receiver, because only `Deserialize` shows it: untagged enums, types such as
///   `serde_json::Value` that ask what comes (`deserialize_any`), and fields that are skipped, or named
///   otherwise, on one side only.
///
/// Damaged bytes are an error: memory stays in proportion to the message, and the stack grows as it must.
///
/// ```
/// use phalanx_codec::{Bincode, Codec};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// struct Job {
///     id: u32,
///     #[serde(default, skip_serializing_if = "Option::is_none")]
///     seconds: Option<u64>,
/// }
///
/// let job = Job { id: 7, seconds: None };
/// let mut bytes = Vec::new();
/// Bincode::encode(&job, &mut bytes)?;
/// assert_eq!(Bincode::decode::<Job>(&bytes)?, job);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bincode;

impl Codec for Bincode {
    const ID: u8 = 1;

    #[inline]
    fn encode<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), String> {
        format::encode_compact(value, into).map_err(|error| error.to_string())
    }

    #[inline]
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
        format::decode_compact(bytes).map_err(|error| error.to_string())
    }

    #[inline]
    fn decode_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Undecoded> {
        format::decode_compact(bytes).map_err(Undecoded::from)
    }
}

/// A codec that writes the kind of each value and the name of each field.
///
/// It carries every type that serde's derive makes, with all of its attributes: untagged, internally and
/// adjacently tagged enums, `flatten`, fields that are skipped on one side, and types that ask what
/// comes, such as `serde_json::Value`. `Some(())`, `Some(None)` and `None` stay different, which they do
/// not in JSON, CBOR and MessagePack. Messages are longer than with [`Bincode`] and take more time.
///
/// Types that have a form for people (dates, addresses) travel in it, because serde decodes what it keeps
/// aside for an untagged enum so. What serde itself cannot keep aside stays an error: integers beyond 64
/// bits inside an untagged enum or a flattened struct.
///
/// ```
/// use phalanx_codec::{Codec, SelfDescribing};
/// use serde_json::{Value, json};
///
/// let mut bytes = Vec::new();
/// SelfDescribing::encode(&json!({ "seed": 7, "names": ["a", null] }), &mut bytes)?;
/// let settings: Value = SelfDescribing::decode(&bytes)?;
/// assert_eq!(settings["seed"], 7);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SelfDescribing;

impl Codec for SelfDescribing {
    const ID: u8 = 2;

    fn encode<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), String> {
        format::encode_described(value, into).map_err(|error| error.to_string())
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
        format::decode_described(bytes).map_err(|error| error.to_string())
    }

    fn decode_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Undecoded> {
        format::decode_described(bytes).map_err(Undecoded::from)
    }
}

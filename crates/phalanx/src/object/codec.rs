//! How a value becomes bytes.

use bincode::config::{Configuration, Fixint, LittleEndian, NoLimit, standard};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bincode::serde::seed_decode_from_slice;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::guard::{Guard, Limits};

/// A way to turn serde values into bytes and back.
///
/// [`Bincode`] is the default of all object methods. [`send_object_with`](crate::Comm::send_object_with)
/// and [`recv_object_with`](crate::Comm::recv_object_with) take another, which both sides must name.
///
/// ```
/// use phalanx::Codec;
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
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// if world.rank() == 0 && world.size() > 1 {
///     world.send_object_with::<Json, _>(&vec![1, 2, 3], 1)?;
/// }
/// if world.rank() == 1 {
///     let numbers: Vec<i32> = world.recv_object_with::<Json, _>(0)?;
///     assert_eq!(numbers, [1, 2, 3]);
/// }
/// # Ok(())
/// # });
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
}

/// bincode 2 with integers of fixed width, little-endian.
#[derive(Clone, Copy, Debug)]
pub struct Bincode;

const CONFIG: Configuration<LittleEndian, Fixint, NoLimit> =
    standard().with_little_endian().with_fixed_int_encoding();

/// Appends to a vector.
struct Appending<'a>(&'a mut Vec<u8>);

impl Writer for Appending<'_> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl Codec for Bincode {
    const ID: u8 = 1;

    #[inline]
    fn encode<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), String> {
        bincode::serde::encode_into_writer(value, Appending(into), CONFIG)
            .map_err(|error| error.to_string())
    }

    #[inline]
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
        let limits = Limits::of(bytes.len());
        let (value, used) = seed_decode_from_slice(Guard::new(&limits), bytes, CONFIG)
            .map_err(|error| error.to_string())?;
        if used == bytes.len() {
            Ok(value)
        } else {
            Err(format!("{} bytes follow the value", bytes.len() - used))
        }
    }
}

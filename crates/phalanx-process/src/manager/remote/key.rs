//! The secret that server and clients share.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The secret of 32 bytes that a [`Server`](super::Server) and its clients share.
///
/// ```
/// use phalanx_process::remote::Key;
///
/// let key = Key::random()?;
/// assert_eq!(Key::from_hex(&key.to_hex())?, key);
/// assert_eq!(format!("{key:?}"), "Key(secret)");
/// # Ok::<(), phalanx_process::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key([u8; 32]);

impl Key {
    /// A new key, of the system's random numbers.
    ///
    /// # Errors
    /// `System` when it gives none.
    #[track_caller]
    pub fn random() -> Result<Key> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| wrong(ErrorKind::System, "random", error.to_string()))?;
        Ok(Key(bytes))
    }

    /// A key of these bytes, which ought to be random.
    pub fn from_bytes(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    /// A key that a passphrase gives. Who records a connection can try passphrases: use a long one.
    ///
    /// ```
    /// use phalanx_process::remote::Key;
    ///
    /// assert_eq!(Key::from_passphrase("seven random words"), Key::from_passphrase("seven random words"));
    /// ```
    pub fn from_passphrase(passphrase: impl AsRef<[u8]>) -> Key {
        Key(blake3::derive_key("phalanx-process remote 1 passphrase", passphrase.as_ref()))
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key as 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key of 64 hexadecimal digits.
    ///
    /// # Errors
    /// `Argument` for anything else.
    #[track_caller]
    pub fn from_hex(text: &str) -> Result<Key> {
        let digits = text.trim().as_bytes();
        let mut bytes = [0; 32];
        let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
        let is_key = digits.len() == 64
            && bytes.iter_mut().zip(digits.chunks_exact(2)).all(|(byte, pair)| {
                match (digit(pair[0]), digit(pair[1])) {
                    (Some(high), Some(low)) => {
                        *byte = high << 4 | low;
                        true
                    }
                    _ => false,
                }
            });
        if !is_key {
            let detail = "a key has 64 hexadecimal digits";
            return Err(wrong(ErrorKind::Argument, "from_hex", detail.into()));
        }
        Ok(Key(bytes))
    }

    /// Writes the key to a new file, which only its owner can read.
    ///
    /// # Errors
    /// `System` when there is such a file, or it cannot be written.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let save = || -> std::io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(self.to_hex().as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        let location = std::panic::Location::caller();
        save().map_err(|error| {
            Error::new(ErrorKind::System, "save", format!("{}: {error}", path.display()))
                .of("key")
                .at(location)
        })
    }

    /// Reads the key from a file that [`save`](Key::save) has written.
    ///
    /// # Errors
    /// `System` when it cannot be read, or others than its owner can read it; `Argument` when it holds no key.
    #[track_caller]
    pub fn load(path: impl AsRef<Path>) -> Result<Key> {
        let path = path.as_ref();
        let load = || -> std::io::Result<String> {
            let mut file = File::open(path)?;
            if file.metadata()?.permissions().mode() & 0o077 != 0 {
                return Err(std::io::Error::other("others than its owner have access to it"));
            }
            let mut text = String::new();
            Read::by_ref(&mut file).take(100).read_to_string(&mut text)?;
            Ok(text)
        };
        match load() {
            Ok(text) => Key::from_hex(&text),
            Err(error) => {
                Err(wrong(ErrorKind::System, "load", format!("{}: {error}", path.display())))
            }
        }
    }
}

#[track_caller]
fn wrong(kind: ErrorKind, operation: &'static str, detail: String) -> Error {
    Error::new(kind, operation, detail).of("key").at(std::panic::Location::caller())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

//! What a client asks for, and what a server answers, as bytes.

use crate::error::{Error, ErrorKind};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What to do with an object.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Operation { $($(#[$doc])* $name = $number,)* }

        impl Operation {
            fn of(number: u8) -> Option<Operation> {
                match number {
                    $($number => Some(Operation::$name),)*
                    _ => None,
                }
            }
        }
    };
}

operations! {
    Hello = 1,
    Open = 2,
    Len = 3,
    Get = 4,
    Set = 5,
    Remove = 6,
    /// Replaces a value that still has this hash.
    Swap = 7,
    Keys = 8,
    All = 9,
    Push = 10,
    Take = 11,
    /// What `Take` gave has arrived.
    Taken = 12,
    Close = 13,
    Clear = 14,
}

/// A request, in the bytes of its message.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    pub operation: Operation,
    /// Of the type of the object.
    pub fingerprint: u64,
    pub name: &'a [u8],
    /// An index, or how many milliseconds to wait.
    pub number: u64,
    pub key: &'a [u8],
    pub hash: &'a [u8],
    pub value: &'a [u8],
}

/// To wait for ever.
pub const FOR_EVER: u64 = u64::MAX;

impl<'a> Request<'a> {
    pub fn new(operation: Operation, fingerprint: u64, name: &'a str) -> Request<'a> {
        let empty: &[u8] = &[];
        let name = name.as_bytes();
        Request { operation, fingerprint, name, number: 0, key: empty, hash: empty, value: empty }
    }

    pub fn encode(&self, into: &mut Vec<u8>) {
        into.push(self.operation as u8);
        into.extend_from_slice(&self.fingerprint.to_le_bytes());
        into.extend_from_slice(&self.number.to_le_bytes());
        for bytes in [self.name, self.key, self.hash] {
            write_bytes(bytes, into);
        }
        into.extend_from_slice(self.value);
    }

    pub fn decode(bytes: &'a [u8]) -> Option<Request<'a>> {
        let mut reader = Reader(bytes);
        Some(Request {
            operation: Operation::of(reader.take(1)?[0])?,
            fingerprint: reader.number()?,
            number: reader.number()?,
            name: reader.bytes()?,
            key: reader.bytes()?,
            hash: reader.bytes()?,
            value: reader.0,
        })
    }
}

pub fn write_bytes(bytes: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    into.extend_from_slice(bytes);
}

/// Reads numbers and byte strings; what is too short gives `None`.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }
}

/// The first byte of an answer.
pub const DONE: u8 = 0;
pub const FAILED: u8 = 1;
/// The server is there, and what is waited for has not happened.
pub const WAITING: u8 = 2;

/// Kinds of errors that a server tells a client.
const KINDS: [ErrorKind; 8] = [
    ErrorKind::Closed,
    ErrorKind::TimedOut,
    ErrorKind::Argument,
    ErrorKind::State,
    ErrorKind::Decode,
    ErrorKind::Refused,
    ErrorKind::Deadlock,
    ErrorKind::System,
];

pub fn write_error(kind: ErrorKind, detail: &str, into: &mut Vec<u8>) {
    let number = KINDS.iter().position(|&known| known == kind).unwrap_or(KINDS.len() - 1);
    into.clear();
    into.extend_from_slice(&[FAILED, number as u8]);
    into.extend_from_slice(detail.as_bytes());
}

pub fn read_error(operation: &'static str, bytes: &[u8]) -> Error {
    let (number, detail) = bytes.split_first().unwrap_or((&u8::MAX, &[]));
    let kind = KINDS.get(usize::from(*number)).copied().unwrap_or(ErrorKind::System);
    Error::new(kind, operation, String::from_utf8_lossy(detail))
}

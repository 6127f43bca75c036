//! What comes back from workers: records of results, and of their ends.

use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::arena::Transit;
use crate::codec;
use crate::error::{Error, ErrorKind, Panic, Result};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Value = 0,
    Panic = 1,
    Encode = 2,
    Decode = 3,
}

/// A text in place of a result.
pub fn refuse(into: &mut Vec<u8>, status: Status, text: &str) -> Status {
    into.extend_from_slice(text.as_bytes());
    status
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum About {
    /// Results of a batch; the worker goes on with it.
    Some = 0,
    /// Results of a batch, which is finished.
    Last = 1,
    /// The initializer of a worker has failed.
    Initializer = 2,
    /// A worker has ended.
    End = 3,
    /// As before, and everything that others had sent until then was read.
    Settled = 4,
}

/// The beginning of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub about: About,
    pub worker: u32,
    /// The number of a batch; the generation of a worker that has ended.
    pub number: u64,
    /// How long the worker has worked on the batch; the exit code of one that has ended.
    pub figure: i64,
}

pub const HEAD: usize = 24;

impl Head {
    pub fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[0] = self.about as u8;
        bytes[4..8].copy_from_slice(&self.worker.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..].copy_from_slice(&self.figure.to_le_bytes());
        bytes
    }

    pub fn of(bytes: &[u8]) -> Head {
        let about = match bytes[0] {
            0 => About::Some,
            1 => About::Last,
            2 => About::Initializer,
            4 => About::Settled,
            _ => About::End,
        };
        let worker = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
        let number = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
        let figure = i64::from_le_bytes(bytes[16..HEAD].try_into().expect("eight bytes"));
        Head { about, worker, number, figure }
    }
}

/// Length, index and status of a result.
const PREFIX: usize = 13;

/// Begins a result at the end of a buffer: the place to [`end`] it.
pub fn begin(into: &mut Vec<u8>) -> usize {
    let start = into.len();
    into.extend_from_slice(&[0; PREFIX]);
    start
}

pub fn end(into: &mut [u8], start: usize, index: usize, status: Status) {
    let length = (into.len() - start - PREFIX) as u64;
    let prefix = &mut into[start..start + PREFIX];
    prefix[..8].copy_from_slice(&length.to_le_bytes());
    prefix[8..12].copy_from_slice(&(index as u32).to_le_bytes());
    prefix[12] = status as u8;
}

/// Results one after another: the index within the batch, how the call ended, and the bytes.
pub struct Results<'a>(pub &'a [u8]);

impl<'a> Iterator for Results<'a> {
    type Item = (usize, Status, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (prefix, rest) = self.0.split_at(PREFIX);
        let length = u64::from_le_bytes(prefix[..8].try_into().expect("eight bytes")) as usize;
        let index = u32::from_le_bytes(prefix[8..12].try_into().expect("four bytes")) as usize;
        let status = match prefix[12] {
            0 => Status::Value,
            1 => Status::Panic,
            2 => Status::Encode,
            _ => Status::Decode,
        };
        let (bytes, rest) = rest.split_at(length);
        self.0 = rest;
        Some((index, status, bytes))
    }
}

/// A part of a record that came back.
#[derive(Clone)]
pub struct Part {
    record: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Part {
    pub fn bytes(&self) -> &[u8] {
        &self.record[self.range.clone()]
    }
}

impl From<Vec<u8>> for Part {
    fn from(bytes: Vec<u8>) -> Part {
        let range = 0..bytes.len();
        Part { record: Arc::new(bytes), range }
    }
}

/// Results one after another, as parts of the record in which they came.
pub struct Parts {
    record: Arc<Vec<u8>>,
    at: usize,
}

impl Parts {
    /// Of what follows the head.
    pub fn of(record: Vec<u8>, start: usize) -> Parts {
        Parts { record: Arc::new(record), at: start }
    }
}

impl Iterator for Parts {
    type Item = (usize, Status, Part);

    fn next(&mut self) -> Option<Self::Item> {
        let (index, status, bytes) = Results(&self.record[self.at..]).next()?;
        let start = self.at + PREFIX;
        self.at = start + bytes.len();
        Some((index, status, Part { record: self.record.clone(), range: start..self.at }))
    }
}

/// The result of one item, not decoded yet.
pub enum Outcome {
    Done(Status, Part),
    Failed(Error),
}

impl Outcome {
    pub fn open<R: DeserializeOwned + 'static>(self, operation: &'static str) -> Result<R> {
        let text = |part: Part| String::from_utf8_lossy(part.bytes()).into_owned();
        match self {
            Outcome::Done(Status::Value, bytes) => {
                codec::decode(operation, Transit::Once, bytes.bytes())
            }
            Outcome::Done(Status::Panic, bytes) => {
                let panic: Panic = codec::decode(operation, Transit::Once, bytes.bytes())?;
                let detail = format!("{} at {}", panic.message, panic.location);
                Err(Error::new(ErrorKind::Panicked, operation, detail).with_panic(panic))
            }
            Outcome::Done(Status::Encode, bytes) => {
                Err(Error::new(ErrorKind::Encode, operation, text(bytes)))
            }
            Outcome::Done(Status::Decode, bytes) => {
                Err(Error::new(ErrorKind::Decode, operation, text(bytes)))
            }
            Outcome::Failed(error) => Err(error),
        }
    }
}

//! A batch: the bytes that tell a worker what to call on which items.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::results::{self, Status};
use crate::arena::Transit;
use crate::codec;
use crate::error::Result;
use crate::objects::Kept;
use crate::process::{Report, catch, name_of_function};

/// Calls a function of one type on an encoded item, and encodes the result.
pub type Run =
    fn(function: usize, shared: Option<&dyn Any>, item: &[u8], into: &mut Vec<u8>) -> Status;
/// Decodes the value that all calls of a job share.
pub type Load = fn(bytes: &[u8]) -> Result<Box<dyn Any>>;

/// What a job calls: names of functions of the program, and where the shared value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callee {
    pub run: u64,
    pub function: u64,
    pub load: u64,
    pub shared: u64,
    pub shared_length: u64,
    /// Tells jobs apart: a shared value is loaded once for each.
    pub job: u64,
}

impl Callee {
    pub fn plain<A, R>(operation: &'static str, function: fn(A) -> R) -> Result<Callee>
    where
        A: DeserializeOwned + 'static,
        R: Serialize + 'static,
    {
        let run: Run = run_plain::<A, R>;
        Ok(Callee {
            run: name_of_function(operation, run as usize)?,
            function: name_of_function(operation, function as usize)?,
            ..Callee::default()
        })
    }

    pub fn sharing<S, A, R>(operation: &'static str, function: fn(&S, A) -> R) -> Result<Callee>
    where
        S: DeserializeOwned + 'static,
        A: DeserializeOwned + 'static,
        R: Serialize + 'static,
    {
        let run: Run = run_sharing::<S, A, R>;
        let load: Load = load::<S>;
        Ok(Callee {
            run: name_of_function(operation, run as usize)?,
            function: name_of_function(operation, function as usize)?,
            load: name_of_function(operation, load as usize)?,
            ..Callee::default()
        })
    }
}

fn load<S: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<Box<dyn Any>> {
    Ok(Box::new(codec::decode::<S>("map_with", Transit::Often, bytes)?))
}

fn run_plain<A: DeserializeOwned + 'static, R: Serialize + 'static>(
    function: usize,
    _shared: Option<&dyn Any>,
    item: &[u8],
    into: &mut Vec<u8>,
) -> Status {
    // SAFETY: `Callee::plain` has named a function of this type together with this `run_plain`.
    let function = unsafe {
        std::mem::transmute::<*const (), fn(A) -> R>(std::ptr::with_exposed_provenance(function))
    };
    guarded(item, into, function)
}

fn run_sharing<S: 'static, A: DeserializeOwned + 'static, R: Serialize + 'static>(
    function: usize,
    shared: Option<&dyn Any>,
    item: &[u8],
    into: &mut Vec<u8>,
) -> Status {
    // SAFETY: `Callee::sharing` has named a function of this type together with this `run_sharing`.
    let function = unsafe {
        std::mem::transmute::<*const (), fn(&S, A) -> R>(std::ptr::with_exposed_provenance(
            function,
        ))
    };
    let Some(shared) = shared.and_then(|shared| shared.downcast_ref::<S>()) else {
        return results::refuse(into, Status::Decode, "the shared value did not arrive");
    };
    guarded(item, into, |item| function(shared, item))
}

/// Whatever happens becomes the result of this item alone.
fn guarded<A: DeserializeOwned + 'static, R: Serialize + 'static>(
    item: &[u8],
    into: &mut Vec<u8>,
    call: impl FnOnce(A) -> R,
) -> Status {
    let start = into.len();
    let outcome = catch(Report::Silent, || {
        let item = match codec::decode("map", Transit::Often, item) {
            Ok(item) => item,
            Err(error) => return results::refuse(into, Status::Decode, &error.to_string()),
        };
        let result = call(item);
        match codec::encode("map", Transit::Once, &result, into) {
            Ok(()) => Status::Value,
            Err(error) => {
                into.truncate(start);
                results::refuse(into, Status::Encode, &error.to_string())
            }
        }
    });
    outcome.unwrap_or_else(|panic| {
        into.truncate(start);
        match codec::encode("map", Transit::Once, &panic, into) {
            Ok(()) => Status::Panic,
            Err(error) => unreachable!("three texts: {error}"),
        }
    })
}

const NUMBERS: usize = 8;

/// A batch as bytes: its number, what is called, the number of its first item, and the items, each with its length.
#[derive(Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    count: usize,
    /// What handles in the items name.
    kept: Vec<Arc<Kept>>,
}

impl Batch {
    pub fn new(number: u64, callee: &Callee, first: usize) -> Batch {
        let mut bytes = Vec::with_capacity(256);
        let Callee { run, function, load, shared, shared_length, job } = *callee;
        for word in [number, first as u64, run, function, load, shared, shared_length, job] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        Batch { bytes, count: 0, kept: Vec::new() }
    }

    /// Appends an item; one that cannot be encoded leaves no trace.
    pub fn push<A: Serialize + 'static>(
        &mut self,
        operation: &'static str,
        item: &A,
    ) -> Result<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 8]);
        match codec::encode_kept(operation, item, &mut self.bytes) {
            Ok(kept) => self.kept.extend(kept.map(Arc::new)),
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error);
            }
        }
        let length = (self.bytes.len() - start - 8) as u64;
        self.bytes[start..start + 8].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
        Ok(())
    }

    pub fn set_number(&mut self, number: u64) {
        self.bytes[..8].copy_from_slice(&number.to_le_bytes());
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Some of its items as a batch of their own.
    pub fn part(&self, number: u64, items: Range<usize>) -> Batch {
        let view = View::of(&self.bytes);
        let mut part = Batch::new(number, &view.callee, view.first + items.start);
        for item in view.items.skip(items.start).take(items.len()) {
            part.bytes.extend_from_slice(&(item.len() as u64).to_le_bytes());
            part.bytes.extend_from_slice(item);
            part.count += 1;
        }
        part.kept.clone_from(&self.kept);
        part
    }
}

/// The number of the batch that these bytes begin.
pub fn number(bytes: &[u8]) -> u64 {
    word(bytes, 0)
}

fn word(bytes: &[u8], index: usize) -> u64 {
    u64::from_le_bytes(bytes[8 * index..8 * index + 8].try_into().expect("eight bytes"))
}

/// A batch, as a worker reads it.
pub struct View<'a> {
    pub number: u64,
    pub first: usize,
    pub callee: Callee,
    pub items: Items<'a>,
}

impl<'a> View<'a> {
    pub fn of(bytes: &'a [u8]) -> View<'a> {
        let callee = Callee {
            run: word(bytes, 2),
            function: word(bytes, 3),
            load: word(bytes, 4),
            shared: word(bytes, 5),
            shared_length: word(bytes, 6),
            job: word(bytes, 7),
        };
        let items = Items(&bytes[8 * NUMBERS..]);
        View { number: number(bytes), first: word(bytes, 1) as usize, callee, items }
    }
}

pub struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let (length, rest) = self.0.split_at(8);
        let (item, rest) = rest.split_at(word(length, 0) as usize);
        self.0 = rest;
        Some(item)
    }
}

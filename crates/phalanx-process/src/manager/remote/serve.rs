//! What a server does for a client: with bytes, which only clients encode and decode.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::request::{FOR_EVER, Operation, Request, write_bytes};
use crate::arena::{Object, existing};
use crate::error::{Error, ErrorKind, Result};
use crate::manager::{ListBody, MapBody, table};
use crate::queue::{Body as QueueBody, Record, Refusal, Refused};
use crate::sys::{Deadline, SLICE};

/// An object with a name.
pub struct Served {
    pub object: Any,
    pub fingerprint: u64,
    pub type_name: &'static str,
}

pub enum Any {
    Map(Object<MapBody>),
    List(Object<ListBody>),
    Queue(Object<QueueBody>, Returned),
}

/// Items that came back to a queue that was full or closed.
#[derive(Default)]
pub struct Returned(Mutex<VecDeque<Vec<u8>>>);

impl Returned {
    fn items(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub const IS_NOT: u8 = 0;
pub const IS: u8 = 1;
/// For `Swap`: it has changed, and this is the value now.
pub const CHANGED: u8 = 2;

/// What was asked for could not be; or the client is gone.
pub enum Failure {
    Error(Error),
    Gone,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

fn error(kind: ErrorKind, detail: impl Into<String>) -> Error {
    Error::new(kind, "serve", detail)
}

fn no_item(index: u64, length: usize) -> Error {
    error(ErrorKind::Argument, format!("there is no item {index}: the list has {length}"))
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

impl Served {
    /// Does it, and appends the answer. Says whether the client must confirm that the answer has come.
    pub fn perform(
        &self,
        request: &Request<'_>,
        answer: &mut Vec<u8>,
        still_there: &mut dyn FnMut() -> bool,
    ) -> Result<bool, Failure> {
        if request.fingerprint != self.fingerprint {
            return Err(error(ErrorKind::Refused, format!("it is a `{}`", self.type_name)).into());
        }
        match &self.object {
            _ if request.operation == Operation::Open => Ok(false),
            Any::Map(map) => Ok(with_map(map, request, answer).map(|()| false)?),
            Any::List(list) => Ok(with_list(list, request, answer)?),
            Any::Queue(queue, returned) => {
                with_queue(queue, returned, request, answer, still_there)
            }
        }
    }

    /// The client has not confirmed that it has what it took.
    pub fn put_back(&self, item: Vec<u8>) -> Result<()> {
        match &self.object {
            Any::Map(_) => Ok(()),
            Any::List(list) => list.lock("put back")?.append(std::iter::once(&item[..])),
            Any::Queue(queue, returned) => {
                if queue.channel.put(existing(), &item, Deadline::after(Duration::ZERO)).is_err() {
                    returned.items().push_back(item);
                }
                Ok(())
            }
        }
    }
}

fn not_for(what: &str) -> Error {
    error(ErrorKind::Argument, format!("a {what} cannot do that"))
}

fn with_map(map: &MapBody, request: &Request<'_>, answer: &mut Vec<u8>) -> Result<()> {
    let &Request { key, value, .. } = request;
    let place = table::hash(key);
    match request.operation {
        Operation::Len => answer.extend_from_slice(&(map.len() as u64).to_le_bytes()),
        Operation::Get => {
            answer.push(IS);
            let table = map.lock("get")?;
            match table.entry(place, key)? {
                Some(entry) => table.copy(entry, answer)?,
                None => *answer = vec![answer[0], IS_NOT],
            }
        }
        Operation::Set => {
            let table = map.lock("insert")?;
            match table.entry(place, key)? {
                Some(entry) => {
                    let old = table.replace(entry, value)?;
                    drop(table);
                    answer.push(IS);
                    answer.extend_from_slice(old.bytes()?);
                }
                None => {
                    table.insert(place, key, value)?;
                    answer.push(IS_NOT);
                }
            }
        }
        Operation::Remove => {
            let table = map.lock("remove")?;
            match table.entry(place, key)? {
                Some(entry) => {
                    let old = table.remove(entry);
                    drop(table);
                    answer.push(IS);
                    answer.extend_from_slice(old.bytes()?);
                }
                None => answer.push(IS_NOT),
            }
        }
        Operation::Swap => {
            let mut now = Vec::new();
            let table = map.lock("update")?;
            match table.entry(place, key)? {
                Some(entry) => {
                    table.copy(entry, &mut now)?;
                    if request.hash == hash(&now) {
                        drop(table.replace(entry, value)?);
                        answer.push(IS);
                    } else {
                        answer.push(CHANGED);
                        answer.extend_from_slice(&now);
                    }
                }
                None => answer.push(IS_NOT),
            }
        }
        Operation::Keys | Operation::All => {
            let mut bytes = Vec::new();
            let ends = map.lock("to_vec")?.copy_all(&mut bytes)?;
            let all = request.operation == Operation::All;
            for (at, piece) in crate::manager::pieces(&bytes, &ends).enumerate() {
                if all || at % 2 == 0 {
                    write_bytes(piece, answer);
                }
            }
        }
        Operation::Clear => map.lock("clear")?.clear()?,
        _ => return Err(not_for("map")),
    }
    Ok(())
}

fn with_list(list: &ListBody, request: &Request<'_>, answer: &mut Vec<u8>) -> Result<bool> {
    let index = usize::try_from(request.number).unwrap_or(usize::MAX);
    match request.operation {
        Operation::Len => answer.extend_from_slice(&(list.len() as u64).to_le_bytes()),
        Operation::Get => {
            answer.push(IS);
            if !list.lock("get")?.copy(index, answer)? {
                *answer = vec![answer[0], IS_NOT];
            }
        }
        Operation::Set | Operation::Swap => {
            let list = list.lock("set")?;
            let mut now = Vec::new();
            if !list.copy(index, &mut now)? {
                return Err(no_item(request.number, list.len()?));
            }
            if request.operation == Operation::Swap && request.hash != hash(&now) {
                answer.push(CHANGED);
                answer.extend_from_slice(&now);
            } else {
                list.set(index, request.value)?;
                answer.push(IS);
            }
        }
        Operation::Push => list.lock("push")?.append(std::iter::once(request.value))?,
        Operation::Take => {
            let popped = list.lock("pop")?.pop()?;
            let Some(packed) = popped else {
                answer.push(IS_NOT);
                return Ok(false);
            };
            answer.push(IS);
            answer.extend_from_slice(packed.bytes()?);
            return Ok(true);
        }
        Operation::All => {
            let mut bytes = Vec::new();
            let ends = list.lock("to_vec")?.copy_all(&mut bytes)?;
            for piece in crate::manager::pieces(&bytes, &ends) {
                write_bytes(piece, answer);
            }
        }
        Operation::Clear => list.lock("clear")?.clear()?,
        _ => return Err(not_for("list")),
    }
    Ok(false)
}

fn with_queue(
    queue: &QueueBody,
    returned: &Returned,
    request: &Request<'_>,
    answer: &mut Vec<u8>,
    still_there: &mut dyn FnMut() -> bool,
) -> Result<bool, Failure> {
    let deadline = match request.number {
        FOR_EVER => Deadline::NEVER,
        milliseconds => Deadline::after(Duration::from_millis(milliseconds)),
    };
    let slice = || Deadline::after(deadline.left().map_or(SLICE, |left| left.min(SLICE)));
    match request.operation {
        Operation::Len => {
            let length = queue.channel.len() + returned.items().len() as u64;
            answer.extend_from_slice(&length.to_le_bytes());
        }
        Operation::Close => queue.channel.close(),
        Operation::Push => loop {
            match queue.channel.put(existing(), request.value, slice()) {
                Ok(()) => {
                    answer.push(IS);
                    break;
                }
                Err(Refused::Channel(Refusal::TimedOut)) if deadline.has_passed() => {
                    answer.push(IS_NOT);
                    break;
                }
                Err(refused) => go_on(refused, still_there)?,
            }
        },
        Operation::Take => {
            let mut buffer = Vec::new();
            loop {
                if let Some(item) = returned.items().pop_front() {
                    answer.push(IS);
                    answer.extend_from_slice(&item);
                    return Ok(true);
                }
                match queue.channel.get(existing(), slice(), &mut buffer) {
                    Ok(record) => {
                        answer.push(IS);
                        match record {
                            Record::Copied => answer.extend_from_slice(&buffer),
                            Record::Block(block) => answer.extend_from_slice(block.bytes()?),
                        }
                        return Ok(true);
                    }
                    Err(Refused::Channel(Refusal::TimedOut)) if deadline.has_passed() => {
                        answer.push(IS_NOT);
                        return Ok(false);
                    }
                    Err(refused) => go_on(refused, still_there)?,
                }
            }
        }
        _ => return Err(not_for("queue").into()),
    }
    Ok(false)
}

fn go_on(refused: Refused, still_there: &mut dyn FnMut() -> bool) -> Result<(), Failure> {
    match refused {
        Refused::Channel(Refusal::Closed) => {
            Err(error(ErrorKind::Closed, "the queue was closed").into())
        }
        Refused::Channel(Refusal::TimedOut) if still_there() => Ok(()),
        Refused::Channel(Refusal::TimedOut) => Err(Failure::Gone),
        Refused::System(error) => Err(error.into()),
    }
}

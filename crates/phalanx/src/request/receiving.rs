//! Messages that have been matched, received in the background.

use super::memory::Memory;
use super::{Request, start};
use crate::comm::Comm;
use crate::datatype::Element;
use crate::error::Result;
use crate::p2p::status_of;
use crate::raw::p2p::{self, Matched};
use crate::raw::request::Live;
use crate::record::{Call, Name};

/// Starts to receive a message that was matched: elements of this name, or the bytes of an object.
pub(crate) fn start_matched<T: Element>(
    comm: &Comm,
    call: &Call<'_>,
    matched: Matched,
    element: Option<Name>,
) -> Result<Request<Vec<T>>> {
    let status = matched.status;
    let memory = Memory::new(call, status.bytes(call)?, align_of::<T>())?;
    let begin = |memory: &mut Memory, request: &mut Live| {
        // SAFETY: the request owns the memory and keeps it in place until it is complete.
        unsafe { p2p::imrecv(call, matched, memory.view(0, element), request) }
    };
    start(comm, call, memory, begin, move |memory, _, call| {
        status_of::<T>(call, &status)?;
        // SAFETY: the message has been received, and it filled the memory: the probe said how long it is.
        Ok(unsafe { memory.into_elements() })
    })
}

/// Receives a message that was matched, in the same way.
pub(crate) fn receive_matched<T: Element>(
    call: &Call<'_>,
    matched: Matched,
    element: Option<Name>,
) -> Result<Vec<T>> {
    let status = matched.status;
    let memory = Memory::new(call, status.bytes(call)?, align_of::<T>())?;
    // SAFETY: nobody else uses the memory.
    p2p::mrecv(call, matched, unsafe { memory.view(0, element) })?;
    status_of::<T>(call, &status)?;
    // SAFETY: as above.
    Ok(unsafe { memory.into_elements() })
}

//! Point-to-point messages of elements. One file a family.

mod buffered;
mod probe;
mod recv;
mod send;
mod sendrecv;

pub use buffered::{attach_buffer, bsend_overhead, detach_buffer};
pub use probe::Message;
pub use recv::{Received, ReceivedAtMost, ReceivedWhole};
pub(crate) use recv::{discard, status_of};
pub(crate) use sendrecv::replace;

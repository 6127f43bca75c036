//! What may travel typed: elements, buffers of them, strided views.

mod buffer;
pub mod derive;
mod element;
mod strided;

pub use buffer::{Buffer, BufferMut, Payload, PayloadMut};
pub(crate) use buffer::{as_bytes, as_bytes_mut, try_zeros, view_of, view_of_mut, zeros};
pub(crate) use element::whole_element;
pub use element::{Element, SingleElement};
pub use strided::{Strided, StridedMut};

pub use crate::raw::datatype::Datatype;

//! What may travel typed: elements, buffers of them, strided views.

#[cfg(feature = "ndarray")]
mod array;
mod buffer;
#[cfg(feature = "num-complex")]
mod complex;
pub mod derive;
mod element;
#[cfg(feature = "half")]
mod half;
#[cfg(feature = "bytemuck")]
mod pod;
mod registry;
mod strided;

pub use buffer::{Buffer, BufferMut, Payload, PayloadMut};
pub(crate) use buffer::{
    as_bytes, as_bytes_mut, filled, no_padding, sent, try_zeros, view_of, view_of_mut, zeros,
};
pub use element::{Element, SingleElement};
pub(crate) use element::{elements_in, is_all, whole_element};
#[cfg(feature = "bytemuck")]
pub use pod::Pod;
pub use strided::{Strided, StridedMut};

pub use crate::raw::datatype::Datatype;

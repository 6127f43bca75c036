//! Any serde value, as a message or in a collective.
//!
//! Serialisation is never hidden: the methods say `_object`. See `wire.rs` for what travels.

mod codec;
mod collective;
mod exchange;
mod guard;
mod neighbors;
mod nonblocking;
mod p2p;
pub mod plain;
mod reduce;
mod wire;

pub use codec::{Bincode, Codec};
pub(crate) use p2p::receive_matched;
pub(crate) use reduce::{no_value, open_from};
pub(crate) use wire::{decode, to_bytes};

//! Any serde value, as a message or in a collective.
//!
//! Serialisation is never hidden: the methods say `_object`. See `wire.rs` for what travels.

mod collective;
mod detached;
mod flat;
mod incoming;
mod neighbors;
mod nonblocking_collective;
mod nonblocking_p2p;
mod outgoing;
mod p2p;
pub mod plain;
mod reduce;
mod wire;

pub(crate) use detached::{Detached, finish_all, finish_soon, set_budget};
pub(crate) use incoming::{Arrived, Incoming};
pub(crate) use outgoing::{Outgoing, start_send};
pub(crate) use p2p::{receive, receive_first};
#[doc(inline)]
pub use phalanx_codec::{Bincode, Codec, SelfDescribing};
pub(crate) use reduce::{no_value, open_from};
pub(crate) use wire::{decode, no_object, to_bytes, to_bytes_checked};

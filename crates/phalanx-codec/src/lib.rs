//! Codecs: how serde values become bytes and bytes values, between ranks and between processes.
//!
//! The crates `phalanx` and `phalanx-process` use it, and export what a program needs of it.

mod codec;
mod format;

pub use codec::{Bincode, Codec, SelfDescribing, Undecoded};

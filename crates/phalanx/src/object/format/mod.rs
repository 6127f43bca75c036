//! The two formats of the codecs that come with the library: how a value becomes bytes, and bytes a value.
//!
//! | module | what it does |
//! |---|---|
//! | `compact_ser`, `compact_de` | values one after another without names: the layout of bincode 2 |
//! | `described_ser`, `described_de` | the kind of each value before it, the name of each field |
//! | `kind` | the kinds of values in the described format |
//! | `tail` | what the compact format says beyond the values: shape, skipped fields, values without bytes |
//! | `shape` | hashes of the names of fields and variants |
//! | `depth` | nesting: the stack grows for deep values, too deep ones are refused |
//! | `input` | reading bytes that may be damaged |
//! | `error` | what is wrong, with the type and the field |

mod compact_de;
mod compact_ser;
mod depth;
mod described_de;
mod described_ser;
mod error;
mod input;
mod kind;
mod shape;
mod tail;

pub(super) use compact_de::decode as decode_compact;
pub(super) use compact_ser::encode as encode_compact;
pub(super) use described_de::decode as decode_described;
pub(super) use described_ser::encode as encode_described;
pub(super) use error::Error;

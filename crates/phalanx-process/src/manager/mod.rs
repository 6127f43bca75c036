//! Lists, maps and namespaces that processes share, as Python's `Manager` has them: without a server that could die.
//!
//! | module | what it does |
//! |---|---|
//! | `list`, `table` | lists and maps of bytes in shared memory |
//! | `lock` | their lock, which is held while functions of the user's run |
//! | `remote` | the same objects over TCP, for other machines |
//! | `vec`, `map`, `namespace` | [`ManagedVec`], [`ManagedMap`], [`Namespace`] |
//!
//! Each object has one lock. Everything that a value needs is prepared beside the object; then one store makes it
//! part of the object. So a process that dies in the middle of an update leaves the old value, and there is nothing
//! that could be half changed: no operation says `Poisoned`.
//!
//! Values are encoded once and decoded often. Objects whose handles are in them therefore live until the tree ends:
//! a reader may have copied the bytes just before the value was removed.

mod list;
mod lock;
mod map;
mod namespace;
#[cfg(feature = "remote")]
pub mod remote;
mod table;
mod vec;

pub(crate) use list::Body as ListBody;
pub use map::ManagedMap;
pub use namespace::Namespace;
pub(crate) use table::Body as MapBody;
pub use vec::ManagedVec;

/// The byte strings that end at these places.
fn pieces<'a>(bytes: &'a [u8], ends: &'a [usize]) -> impl ExactSizeIterator<Item = &'a [u8]> {
    (0..ends.len()).map(move |at| &bytes[if at == 0 { 0 } else { ends[at - 1] }..ends[at]])
}

//! What one rank saves.

use std::borrow::Cow;
use std::panic::Location;

use serde::Serialize;

use super::format::{Content, Section, checksum};
use crate::datatype::{Element, as_bytes};
use crate::error::Result;
use crate::object::{Bincode, to_bytes};
use crate::record::{CHECKPOINT_PART, Call};

/// What a rank saves: sections with names, each a slice of elements or an object.
///
/// Slices are borrowed, and written from where they are; objects are encoded at once.
///
/// ```
/// use phalanx::checkpoint::Part;
/// # fn main() -> phalanx::Result<()> {
/// let (cells, settings) = (vec![0.5; 1000], ("explicit", 0.2));
/// let mut part = Part::new();
/// part.slice("cells", &cells).object("settings", &settings)?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Part<'a> {
    pieces: Vec<Piece<'a>>,
}

struct Piece<'a> {
    name: String,
    content: Content,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Part<'a> {
    /// A part without sections.
    pub fn new() -> Self {
        Part::default()
    }

    /// Adds a slice. Of each name there may be one section.
    ///
    /// Elements are told apart by the name of their type and its size: a struct whose fields change
    /// places has to get another name, or what was saved before is read wrongly.
    pub fn slice<T: Element>(&mut self, name: &str, elements: &'a [T]) -> &mut Self {
        let type_name = std::any::type_name::<T>().to_owned();
        let (size, len) = (size_of::<T>() as u64, elements.len() as u64);
        let content = Content::Elements { type_name, size, len };
        let bytes = Cow::Borrowed(as_bytes(elements));
        self.pieces.push(Piece { name: name.to_owned(), content, bytes });
        self
    }

    /// Adds any serde value. Of each name there may be one section.
    ///
    /// # Errors
    /// [`Encode`](crate::ErrorKind::Encode).
    #[track_caller]
    pub fn object<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<&mut Self> {
        let call = Call::local(&CHECKPOINT_PART, Location::caller());
        let bytes = Cow::Owned(to_bytes::<Bincode, T>(&call, value)?);
        self.pieces.push(Piece { name: name.to_owned(), content: Content::Object, bytes });
        Ok(self)
    }

    /// The entries of the table, with offsets from the start of the part.
    pub(super) fn sections(&self) -> Vec<Section> {
        let mut offset = 0;
        let section = |piece: &Piece<'_>| {
            let length = piece.bytes.len() as u64;
            offset += length;
            Section {
                name: piece.name.clone(),
                content: piece.content.clone(),
                offset: offset - length,
                length,
                checksum: checksum(&piece.bytes),
            }
        };
        self.pieces.iter().map(section).collect()
    }

    /// The bytes of each section, in their order.
    pub(super) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(|piece| &*piece.bytes)
    }
}

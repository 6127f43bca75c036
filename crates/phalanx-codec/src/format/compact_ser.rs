//! Writes the compact format, and refuses what could not be read from it.

use std::any::type_name;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::depth::{Depth, HasDepth, with_room};
use super::error::{Error, REMEDY};
use super::shape::{self, Fields};
use super::tail::{self, Counts, Skipped};

/// Appends the bytes of a value.
pub(in super::super) fn encode<T: Serialize + ?Sized>(
    value: &T,
    into: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut out = Out {
        bytes: std::mem::take(into),
        depth: Depth::of_encoder(),
        counts: Counts::default(),
        skipped: Vec::new(),
    };
    let result = value.serialize(&mut out);
    if result.is_ok() {
        tail::append(&mut out.bytes, &out.counts, &mut out.skipped);
    }
    *into = out.bytes;
    result
}

pub(super) struct Out {
    bytes: Vec<u8>,
    depth: Depth,
    counts: Counts,
    skipped: Vec<Skipped>,
}

impl HasDepth for Out {
    fn depth(&mut self) -> &mut Depth {
        &mut self.depth
    }
}

impl Out {
    #[inline(always)]
    fn write<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes.extend_from_slice(&bytes);
    }

    #[inline(always)]
    fn length(&mut self, length: usize) {
        self.write((length as u64).to_le_bytes());
    }

    /// The number of a variant and a few bits of its name.
    #[inline(always)]
    fn variant(&mut self, index: u32, name: &'static str) -> Result<(), Error> {
        let Ok(index) = u16::try_from(index) else { return Err(too_many_variants()) };
        self.write((u32::from(shape::of_variant(name)) << 16 | u32::from(index)).to_le_bytes());
        Ok(())
    }

    #[inline(always)]
    fn nested<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if self.depth.enter() {
            with_room(self, size_of_val(value), |out| value.serialize(out))?;
        } else {
            value.serialize(&mut *self)?;
        }
        self.depth.leave();
        Ok(())
    }

    /// Writes a part of something that has entered its level already.
    #[inline(always)]
    fn part<T: Serialize + ?Sized>(&mut self, deep: bool, value: &T) -> Result<(), Error> {
        let result = if deep {
            with_room(self, size_of_val(value), |out| value.serialize(out))
        } else {
            value.serialize(&mut *self)
        };
        result.map_err(|error| error.in_type(type_name::<T>))
    }

    #[inline(always)]
    fn begin_struct(&mut self) -> u32 {
        let number = self.counts.structs;
        self.counts.structs = number.wrapping_add(1);
        number
    }

    #[inline(always)]
    fn end_struct(&mut self, fields: Fields, start: usize) {
        self.counts.shape.add(fields);
        self.note_empty(start);
    }

    #[inline(always)]
    fn note_empty(&mut self, start: usize) {
        if self.bytes.len() == start {
            self.counts.empty += 1;
        }
    }
}

#[cold]
fn too_many_variants() -> Error {
    Error::new("an enum has more than 65,536 variants")
}

#[cold]
fn no_length(what: &str) -> Error {
    Error::about_type(format!("{what}, which the default codec cannot write: {REMEDY}"))
}

#[cold]
fn wrong_length(announced: usize, came: usize) -> Error {
    Error::new(format!("its `Serialize` announces {announced} elements and writes {came}"))
}

#[cold]
fn tagged() -> Error {
    Error::about_type(format!(
        "the name of a variant or struct is written as a field (`#[serde(tag = \"…\")]`), which the \
         default codec cannot read: {REMEDY}; a `Serialize` by hand gives it `&self.name` instead of \
         `self.name.as_str()`"
    ))
}

#[cold]
fn too_many_to_skip() -> Error {
    Error::about_type(format!(
        "fields are skipped of a struct with more than {NAMED} others, which the default codec cannot \
         write: {REMEDY}"
    ))
}

/// Whether this is how serde writes the tag of an enum: as the name itself, not as a reference to a
/// field's value; or as a type of its own, if the content stands beside it.
#[inline(always)]
fn is_tag<T: ?Sized>() -> bool {
    let name = type_name::<T>();
    name == "str" || name.ends_with("::AdjacentlyTaggedEnumVariant")
}

macro_rules! numbers {
    ($($method:ident: $kind:ty)*) => {
        $(
            #[inline(always)]
            fn $method(self, value: $kind) -> Result<(), Error> {
                self.write(value.to_le_bytes());
                Ok(())
            }
        )*
    };
}

impl<'s> Serializer for &'s mut Out {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Elements<'s>;
    type SerializeTuple = Tuple<'s>;
    type SerializeTupleStruct = Unnamed<'s, false>;
    type SerializeTupleVariant = Unnamed<'s, true>;
    type SerializeMap = Entries<'s>;
    type SerializeStruct = Named<'s, false>;
    type SerializeStructVariant = Named<'s, true>;

    numbers! {
        serialize_i8: i8 serialize_i16: i16 serialize_i32: i32 serialize_i64: i64 serialize_i128: i128
        serialize_u8: u8 serialize_u16: u16 serialize_u32: u32 serialize_u64: u64 serialize_u128: u128
        serialize_f32: f32 serialize_f64: f64
    }

    #[inline(always)]
    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.write([u8::from(value)]);
        Ok(())
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.bytes.extend_from_slice(value.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.length(value.len());
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    #[inline(always)]
    fn serialize_none(self) -> Result<(), Error> {
        self.write([0]);
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.write([1]);
        self.nested(value)
    }

    #[inline(always)]
    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    #[inline(always)]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        name: &'static str,
    ) -> Result<(), Error> {
        self.variant(index, name)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.nested(value)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(index, name)?;
        self.nested(value)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Elements<'s>, Error> {
        let Some(length) = length else {
            return Err(no_length("it is a sequence that does not know its length"));
        };
        self.length(length);
        let deep = self.depth.enter();
        Ok(Elements { out: self, announced: length, left: length, deep })
    }

    #[inline]
    fn serialize_tuple(self, length: usize) -> Result<Tuple<'s>, Error> {
        Ok(Tuple { out: self, announced: length, left: length })
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Unnamed<'s, false>, Error> {
        self.begin_struct();
        let start = self.bytes.len();
        Ok(Unnamed { out: self, fields: Fields::NONE, start, deep: false })
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Unnamed<'s, true>, Error> {
        self.variant(index, name)?;
        self.begin_struct();
        let start = self.bytes.len();
        let deep = self.depth.enter();
        Ok(Unnamed { out: self, fields: Fields::NONE, start, deep })
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Entries<'s>, Error> {
        let Some(length) = length else {
            return Err(no_length(
                "it is a map that does not know its length, as `#[serde(flatten)]` makes it",
            ));
        };
        self.length(length);
        let deep = self.depth.enter();
        let start = self.bytes.len();
        Ok(Entries {
            out: self,
            announced: length,
            left: length,
            start,
            may_be_tagged: false,
            deep,
        })
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Named<'s, false>, Error> {
        let number = self.begin_struct();
        let start = self.bytes.len();
        Ok(Named {
            out: self,
            fields: Fields::NONE,
            number,
            hashes: [0; NAMED],
            skips: false,
            start,
            deep: false,
        })
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Named<'s, true>, Error> {
        self.variant(index, name)?;
        let number = self.begin_struct();
        let start = self.bytes.len();
        let deep = self.depth.enter();
        Ok(Named {
            out: self,
            fields: Fields::NONE,
            number,
            hashes: [0; NAMED],
            skips: false,
            start,
            deep,
        })
    }

    #[inline(always)]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a sequence.
pub(super) struct Elements<'s> {
    out: &'s mut Out,
    announced: usize,
    left: usize,
    deep: bool,
}

impl SerializeSeq for Elements<'_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        // Below zero if there are too many.
        self.left = self.left.wrapping_sub(1);
        let start = self.out.bytes.len();
        self.out.part(self.deep, value)?;
        if self.out.bytes.len() == start {
            self.out.counts.empty += 1;
        }
        Ok(())
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        self.out.depth.leave();
        match self.left {
            0 => Ok(()),
            left => Err(wrong_length(self.announced, self.announced.wrapping_sub(left))),
        }
    }
}

/// The elements of a tuple or an array, of which the type says how many there are.
pub(super) struct Tuple<'s> {
    out: &'s mut Out,
    announced: usize,
    left: usize,
}

impl SerializeTuple for Tuple<'_> {
    type Ok = ();
    type Error = Error;

    #[inline(always)]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.left = self.left.wrapping_sub(1);
        self.out.part(false, value)
    }

    #[inline(always)]
    fn end(self) -> Result<(), Error> {
        match self.left {
            0 => Ok(()),
            left => Err(wrong_length(self.announced, self.announced.wrapping_sub(left))),
        }
    }
}

/// The fields of a tuple struct, or of a variant.
pub(super) struct Unnamed<'s, const VARIANT: bool> {
    out: &'s mut Out,
    fields: Fields,
    start: usize,
    deep: bool,
}

impl<const VARIANT: bool> Unnamed<'_, VARIANT> {
    #[inline(always)]
    fn field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.fields = self.fields.and_unnamed();
        self.out.part(VARIANT && self.deep, value)
    }

    #[inline(always)]
    fn finish(self) -> Result<(), Error> {
        if VARIANT {
            self.out.depth.leave();
        }
        self.out.end_struct(self.fields, self.start);
        Ok(())
    }
}

impl SerializeTupleStruct for Unnamed<'_, false> {
    type Ok = ();
    type Error = Error;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.field(value)
    }

    #[inline(always)]
    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl SerializeTupleVariant for Unnamed<'_, true> {
    type Ok = ();
    type Error = Error;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.field(value)
    }

    #[inline(always)]
    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

/// The entries of a map.
pub(super) struct Entries<'s> {
    out: &'s mut Out,
    announced: usize,
    left: usize,
    /// Where the entry begins.
    start: usize,
    /// Whether the key of the entry is that of a tag.
    may_be_tagged: bool,
    deep: bool,
}

impl SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.may_be_tagged = is_tag::<T>() && self.left == self.announced;
        self.left = self.left.wrapping_sub(1);
        self.start = self.out.bytes.len();
        self.out.part(self.deep, key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if is_tag::<T>() && self.may_be_tagged {
            return Err(tagged());
        }
        self.out.part(self.deep, value)?;
        if self.out.bytes.len() == self.start {
            self.out.counts.empty += 1;
        }
        Ok(())
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        self.out.depth.leave();
        match self.left {
            0 => Ok(()),
            left => Err(wrong_length(self.announced, self.announced.wrapping_sub(left))),
        }
    }
}

/// Fields whose names are kept, in case that others are skipped.
const NAMED: usize = 64;

/// The fields of a struct, or of a variant.
pub(super) struct Named<'s, const VARIANT: bool> {
    out: &'s mut Out,
    fields: Fields,
    /// Which struct of the message it is.
    number: u32,
    /// Of the names of the fields. Nobody reads them in a struct that skips none, and they vanish.
    hashes: [u32; NAMED],
    skips: bool,
    start: usize,
    deep: bool,
}

impl<const VARIANT: bool> Named<'_, VARIANT> {
    #[inline(always)]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        let index = self.fields.count();
        if is_tag::<T>() && index == 0 {
            return Err(tagged().in_field(name, type_name::<T>));
        }
        if let Some(hash) = self.hashes.get_mut(index as usize) {
            *hash = shape::of_field(name);
        }
        self.fields = self.fields.and(name);
        let result = if VARIANT && self.deep {
            with_room(self.out, size_of_val(value), |out| value.serialize(out))
        } else {
            value.serialize(&mut *self.out)
        };
        result.map_err(|error| error.in_field(name, type_name::<T>))
    }

    #[inline(always)]
    fn finish(self) -> Result<(), Error> {
        if VARIANT {
            self.out.depth.leave();
        }
        if !self.skips {
            self.out.end_struct(self.fields, self.start);
            return Ok(());
        }
        self.out.note_empty(self.start);
        match self.hashes.get(..self.fields.count() as usize) {
            Some(present) => {
                self.out.note_skipped(self.number, present);
                Ok(())
            }
            None => Err(too_many_to_skip()),
        }
    }
}

impl Out {
    #[cold]
    #[inline(never)]
    fn note_skipped(&mut self, structure: u32, present: &[u32]) {
        self.skipped.push(Skipped { structure, present: present.to_vec() });
    }
}

impl SerializeStruct for Named<'_, false> {
    type Ok = ();
    type Error = Error;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.field(name, value)
    }

    #[inline(always)]
    fn skip_field(&mut self, _: &'static str) -> Result<(), Error> {
        self.skips = true;
        Ok(())
    }

    #[inline(always)]
    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl SerializeStructVariant for Named<'_, true> {
    type Ok = ();
    type Error = Error;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.field(name, value)
    }

    #[inline(always)]
    fn skip_field(&mut self, _: &'static str) -> Result<(), Error> {
        self.skips = true;
        Ok(())
    }

    #[inline(always)]
    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

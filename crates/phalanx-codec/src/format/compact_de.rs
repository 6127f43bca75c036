//! Reads the compact format. Bytes may be damaged: three things that they could do are stopped here.
//! - A length that becomes an allocation: strings and byte buffers are borrowed from the message first,
//!   and a collection reserves no more than the message can hold.
//! - Elements without bytes, which a length makes for nothing: they are weighed by their size in memory,
//!   and beyond [`FREE_WEIGHT`] the sender must have counted as many.
//! - Nesting without end: see `depth`.
//!
//! So a message of `n` bytes makes no more than `k · n` bytes and [`FREE_WEIGHT`], where `k` is the most
//! that one byte can make in the type: `size_of::<T>()` for an `Option<T>`, for example. Structs that
//! leave fields out (`#[serde(skip)]`) count with them. What the program's own functions allocate, such
//! as defaults, is not seen.

use std::any::type_name;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

use super::depth::{Depth, HasDepth, with_room};
use super::error::{Error, REMEDY};
use super::input::Input;
use super::shape::{self, Fields};
use super::tail::{Counts, MANY_EMPTY, Present, Tail};

/// Memory that elements without bytes may take although the sender has not counted them.
const FREE_WEIGHT: u64 = 16 << 20;
/// Elements beyond the bytes of a message, likewise.
const FREE_ELEMENTS: usize = 1 << 20;
/// What an element of no size weighs: a collection may keep a node for it.
const LEAST_WEIGHT: u64 = 16;
/// What any other element without bytes weighs at least: its fields are made by functions of the user.
const LEAST_WEIGHT_OF_VALUES: u64 = 1024;

/// Makes a value of all of the bytes.
pub(in super::super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut source = In {
        input: Input::new(bytes),
        message: bytes,
        depth: Depth::of_decoder(),
        counts: Counts::default(),
        weight: 0,
        tail: None,
        may_skip: Tail::may_skip(bytes),
        has_aliases: false,
    };
    let value = T::deserialize(&mut source)?;
    let In { input, counts, tail, has_aliases, .. } = source;
    Tail::check(bytes, input.rest(), &counts, has_aliases, tail)?;
    Ok(value)
}

pub(super) struct In<'de> {
    input: Input<'de>,
    message: &'de [u8],
    depth: Depth,
    counts: Counts,
    /// Memory of elements without bytes.
    weight: u64,
    /// Once it has been needed.
    tail: Option<Tail<'de>>,
    /// Whether the tail must be asked at each struct.
    may_skip: bool,
    /// Whether a struct has more names than fields.
    has_aliases: bool,
}

impl HasDepth for In<'_> {
    fn depth(&mut self) -> &mut Depth {
        &mut self.depth
    }
}

#[cold]
fn not_described(what: &str) -> Error {
    Error::about_type(format!(
        "its `Deserialize` asks {what} (`{what_asks}`), as untagged, internally and adjacently tagged \
         enums, `flatten` and types such as `serde_json::Value` do; the default codec does not write \
         that: {REMEDY}",
        what_asks = match what {
            "which field comes" => "deserialize_identifier",
            "to leave out what comes" => "deserialize_ignored_any",
            _ => "deserialize_any",
        }
    ))
}

impl<'de> In<'de> {
    #[inline(always)]
    fn length(&mut self) -> Result<u64, Error> {
        self.input.array().map(u64::from_le_bytes)
    }

    /// The length of a collection.
    #[inline]
    fn elements(&mut self) -> Result<usize, Error> {
        let length = self.length()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let beyond = length.saturating_sub(self.input.len());
        if beyond > FREE_ELEMENTS && beyond as u64 > self.tail().empty() {
            return Err(Error::new("more elements than the message has bytes for"));
        }
        Ok(length)
    }

    #[cold]
    fn tail(&mut self) -> &mut Tail<'de> {
        let message = self.message;
        self.tail.get_or_insert_with(|| Tail::read(message))
    }

    /// Counts a value that took no bytes.
    #[inline(never)]
    fn weigh_empty(&mut self, size: usize) -> Result<(), Error> {
        let least = if size == 0 { LEAST_WEIGHT } else { LEAST_WEIGHT_OF_VALUES };
        self.weight = self.weight.saturating_add(least.max(size as u64));
        self.counts.empty += 1;
        let count = self.counts.empty;
        if self.weight > FREE_WEIGHT && count >= MANY_EMPTY && count > self.tail().empty() {
            return Err(Error::new("more elements without bytes than were sent"));
        }
        Ok(())
    }

    #[inline(always)]
    fn nested<R>(&mut self, f: impl FnOnce(&mut Self) -> Result<R, Error>) -> Result<R, Error> {
        let value = if self.depth.enter() { with_room(self, size_of::<R>(), f)? } else { f(self)? };
        self.depth.leave();
        Ok(value)
    }

    /// The fields of a struct, which stand in the order of their names.
    #[inline(always)]
    fn fields<V: Visitor<'de>>(
        &mut self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let number = self.counts.structs;
        self.counts.structs = number.wrapping_add(1);
        let before = self.input.len();
        let skipping = if self.may_skip { self.tail().next_skipped(number) } else { None };
        let value = match skipping {
            None => {
                let mut fields = AllFields { source: self, names, at: 0 };
                let value = visitor.visit_seq(&mut fields)?;
                let taken = fields.at;
                if taken == names.len() {
                    self.counts.shape.add(Fields::of(names));
                } else {
                    self.has_aliases = true;
                    self.counts.shape.add(Fields::unnamed(taken));
                }
                value
            }
            Some(present) => {
                visitor.visit_map(SomeFields { source: self, names, present, name: "" })?
            }
        };
        if self.input.len() == before {
            self.weigh_empty(size_of::<V::Value>())?;
        }
        Ok(value)
    }

    /// The fields of a tuple struct.
    #[inline(always)]
    fn unnamed_fields<V: Visitor<'de>>(
        &mut self,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.counts.structs = self.counts.structs.wrapping_add(1);
        self.counts.shape.add(Fields::unnamed(count));
        let before = self.input.len();
        let value = visitor.visit_seq(Tuple { source: self, left: count })?;
        if self.input.len() == before {
            self.weigh_empty(size_of::<V::Value>())?;
        }
        Ok(value)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident: $kind:ty)*) => {
        $(
            #[inline(always)]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                visitor.$visit(<$kind>::from_le_bytes(self.input.array()?))
            }
        )*
    };
}

impl<'de> Deserializer<'de> for &mut In<'de> {
    type Error = Error;

    numbers! {
        deserialize_i8 visit_i8: i8
        deserialize_i16 visit_i16: i16
        deserialize_i32 visit_i32: i32
        deserialize_i64 visit_i64: i64
        deserialize_i128 visit_i128: i128
        deserialize_u8 visit_u8: u8
        deserialize_u16 visit_u16: u16
        deserialize_u32 visit_u32: u32
        deserialize_u64 visit_u64: u64
        deserialize_u128 visit_u128: u128
        deserialize_f32 visit_f32: f32
        deserialize_f64 visit_f64: f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(not_described("what comes"))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(not_described("which field comes"))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(not_described("to leave out what comes"))
    }

    #[inline(always)]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.input.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            other => Err(Error::new(format!("{other} is no bool"))),
        }
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // The first byte says how many there are.
        let first = self.input.rest().first().copied().unwrap_or(0);
        let length = match first.leading_ones() {
            0 => 1,
            ones => u64::from(ones),
        };
        let text = self.input.text(length)?;
        match text.chars().next() {
            Some(character) if text.len() == character.len_utf8() => visitor.visit_char(character),
            _ => Err(Error::new("the bytes are no character")),
        }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let length = self.length()?;
        visitor.visit_borrowed_str(self.input.text(length)?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let length = self.length()?;
        visitor.visit_borrowed_bytes(self.input.bytes(length)?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.input.byte()? {
            0 => visitor.visit_none(),
            1 => self.nested(|source| visitor.visit_some(source)),
            other => Err(Error::new(format!("{other} is neither `None` nor `Some`"))),
        }
    }

    #[inline(always)]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    #[inline(always)]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.nested(|source| visitor.visit_newtype_struct(source))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.elements()?;
        self.nested(|source| {
            let mut elements = Elements { source, left };
            let value = visitor.visit_seq(&mut elements)?;
            match elements.left {
                0 => Ok(value),
                left => Err(Error::new(format!("its `Deserialize` leaves {left} elements"))),
            }
        })
    }

    #[inline(always)]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Tuple { source: self, left: length })
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.unnamed_fields(length, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.elements()?;
        self.nested(|source| {
            let before = source.input.len();
            let mut entries = Entries { source, left, before };
            let value = visitor.visit_map(&mut entries)?;
            match entries.left {
                0 => Ok(value),
                left => Err(Error::new(format!("its `Deserialize` leaves {left} entries"))),
            }
        })
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.fields(names, visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.nested(|source| visitor.visit_enum(Variant { source, variants }))
    }

    #[inline(always)]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a sequence.
struct Elements<'s, 'de> {
    source: &'s mut In<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let before = self.source.input.len();
        let value = seed
            .deserialize(&mut *self.source)
            .map_err(|error| error.in_type(type_name::<S::Value>))?;
        if self.source.input.len() == before {
            self.source.weigh_empty(size_of::<S::Value>())?;
        }
        Ok(Some(value))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.source.input.capacity(self.left))
    }
}

/// The elements of a tuple or an array.
struct Tuple<'s, 'de> {
    source: &'s mut In<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Tuple<'_, 'de> {
    type Error = Error;

    #[inline(always)]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let value = seed.deserialize(&mut *self.source);
        value.map(Some).map_err(|error| error.in_type(type_name::<S::Value>))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.source.input.capacity(self.left))
    }
}

/// The fields of a struct of which none is skipped.
struct AllFields<'s, 'de> {
    source: &'s mut In<'de>,
    names: &'static [&'static str],
    at: usize,
}

impl<'de> SeqAccess<'de> for AllFields<'_, 'de> {
    type Error = Error;

    #[inline(always)]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some(name) = self.names.get(self.at) else { return Ok(None) };
        self.at += 1;
        let value = seed.deserialize(&mut *self.source);
        value.map(Some).map_err(|error| error.in_field(name, type_name::<S::Value>))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.names.len() - self.at)
    }
}

/// The fields of a struct of which some are skipped, with their names.
struct SomeFields<'s, 'de> {
    source: &'s mut In<'de>,
    names: &'static [&'static str],
    present: Present<'de>,
    /// That of the field whose value comes.
    name: &'static str,
}

impl<'de> MapAccess<'de> for SomeFields<'_, 'de> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some(hash) = self.present.next() else { return Ok(None) };
        self.name = find_field(self.names, hash)?;
        seed.deserialize(self.name.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let value = seed.deserialize(&mut *self.source);
        value.map_err(|error| error.in_field(self.name, type_name::<S::Value>))
    }
}

#[cold]
fn find_field(names: &[&'static str], hash: u32) -> Result<&'static str, Error> {
    let mut found = names.iter().filter(|name| shape::of_field(name) == hash);
    match (found.next(), found.next()) {
        (Some(name), None) => Ok(name),
        _ => Err(Error::about_type(format!(
            "a field that was sent is not one of {}: it is another type of the same name, its name for \
             `Serialize` and `Deserialize` differs, or the bytes are damaged",
            listed(names)
        ))),
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The entries of a map.
struct Entries<'s, 'de> {
    source: &'s mut In<'de>,
    left: usize,
    /// What was left of the message before the entry.
    before: usize,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.before = self.source.input.len();
        let key = seed.deserialize(&mut *self.source);
        key.map(Some).map_err(|error| error.in_type(type_name::<S::Value>))
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let value = seed
            .deserialize(&mut *self.source)
            .map_err(|error| error.in_type(type_name::<S::Value>))?;
        if self.source.input.len() == self.before {
            self.source.weigh_empty(size_of::<S::Value>())?;
        }
        Ok(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.source.input.capacity(self.left))
    }
}

/// A variant of an enum.
struct Variant<'s, 'de> {
    source: &'s mut In<'de>,
    variants: &'static [&'static str],
}

impl<'s, 'de> EnumAccess<'de> for Variant<'s, 'de> {
    type Error = Error;
    type Variant = &'s mut In<'de>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, &'s mut In<'de>), Error> {
        let word = u32::from_le_bytes(self.source.input.array()?);
        let (index, bits) = (word & 0xffff, (word >> 16) as u16);
        let name = match self.variants.get(index as usize) {
            Some(name) if shape::of_variant(name) == bits => name,
            _ if self.variants.is_empty() => {
                // Written by hand, without a list.
                return Ok((seed.deserialize(index.into_deserializer())?, self.source));
            }
            _ => find_variant(self.variants, index, bits)?,
        };
        // Not by number: `Serialize` counts variants that `Deserialize` leaves out (`#[serde(skip)]`), and
        // the list may have several names of one (`#[serde(alias)]`).
        Ok((seed.deserialize((*name).into_deserializer())?, self.source))
    }
}

#[cold]
#[inline(never)]
fn find_variant(
    variants: &'static [&'static str],
    index: u32,
    bits: u16,
) -> Result<&'static &'static str, Error> {
    let mut found = variants.iter().filter(|name| shape::of_variant(name) == bits);
    match (found.next(), found.next()) {
        (Some(name), None) => Ok(name),
        _ => Err(Error::about_type(format!(
            "variant number {index} that was sent is not one of {}: it is another type of the same \
             name, its name for `Serialize` and `Deserialize` differs, or the bytes are damaged",
            listed(variants)
        ))),
    }
}

impl<'de> VariantAccess<'de> for &mut In<'de> {
    type Error = Error;

    #[inline(always)]
    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self).map_err(|error| error.in_type(type_name::<S::Value>))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.unnamed_fields(length, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.fields(names, visitor)
    }
}

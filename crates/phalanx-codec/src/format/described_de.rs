//! Reads the described format. Each value takes at least a byte, so that no length can make elements
//! for nothing.

use std::any::type_name;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::depth::{Depth, HasDepth, with_room};
use super::error::Error;
use super::input::Input;
use super::kind::Kind;

/// Makes a value of all of the bytes.
pub(in super::super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut source = In { input: Input::new(bytes), depth: Depth::of_decoder(), fields: None };
    let value = T::deserialize(&mut source)?;
    match source.input.len() {
        0 => Ok(value),
        more => Err(Error::new(format!("{more} bytes follow the value"))),
    }
}

pub(super) struct In<'de> {
    input: Input<'de>,
    depth: Depth,
    /// How many fields without names the next value has. Without the check a field that was skipped would
    /// shift the others.
    fields: Option<usize>,
}

impl HasDepth for In<'_> {
    fn depth(&mut self) -> &mut Depth {
        &mut self.depth
    }
}

impl<'de> In<'de> {
    fn kind(&mut self) -> Result<Kind, Error> {
        let byte = self.input.byte()?;
        Kind::of(byte).ok_or_else(|| Error::new(format!("{byte} is no kind of value")))
    }

    /// The kind of the next value, which stays there.
    fn next(&self) -> Option<Kind> {
        self.input.rest().first().and_then(|byte| Kind::of(*byte))
    }

    fn length(&mut self) -> Result<u64, Error> {
        match self.input.byte()? {
            u8::MAX => self.input.array().map(u64::from_le_bytes),
            short => Ok(u64::from(short)),
        }
    }

    fn text(&mut self) -> Result<&'de str, Error> {
        let length = self.length()?;
        self.input.text(length)
    }

    /// The length of a collection, each element of which takes a byte.
    fn elements(&mut self) -> Result<usize, Error> {
        let length = self.length()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.input.len() => Ok(length),
            _ => Err(Error::new("more elements than the message has bytes for")),
        }
    }

    fn nested<R>(&mut self, f: impl FnOnce(&mut Self) -> Result<R, Error>) -> Result<R, Error> {
        let value = if self.depth.enter() { with_room(self, size_of::<R>(), f)? } else { f(self)? };
        self.depth.leave();
        Ok(value)
    }

    fn seq<V: Visitor<'de>>(
        &mut self,
        left: Option<usize>,
        fields: Option<usize>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.nested(|source| {
            let mut parts = Parts { source, left, came: 0, fields };
            let value = visitor.visit_seq(&mut parts)?;
            parts.finish()?;
            Ok(value)
        })
    }

    fn map<V: Visitor<'de>>(&mut self, left: Option<usize>, visitor: V) -> Result<V::Value, Error> {
        self.nested(|source| {
            let mut parts = Parts { source, left, came: 0, fields: None };
            let value = visitor.visit_map(&mut parts)?;
            parts.finish()?;
            Ok(value)
        })
    }
}

macro_rules! read {
    ($source:ident, $kind:ty) => {
        <$kind>::from_le_bytes($source.input.array()?)
    };
}

impl<'de> Deserializer<'de> for &mut In<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let fields = self.fields.take();
        match self.kind()? {
            Kind::Unit => visitor.visit_unit(),
            Kind::False => visitor.visit_bool(false),
            Kind::True => visitor.visit_bool(true),
            Kind::None => visitor.visit_none(),
            Kind::Some => self.nested(|source| visitor.visit_some(source)),
            Kind::I8 => visitor.visit_i8(read!(self, i8)),
            Kind::I16 => visitor.visit_i16(read!(self, i16)),
            Kind::I32 => visitor.visit_i32(read!(self, i32)),
            Kind::I64 => visitor.visit_i64(read!(self, i64)),
            Kind::I128 => visitor.visit_i128(read!(self, i128)),
            Kind::U8 => visitor.visit_u8(read!(self, u8)),
            Kind::U16 => visitor.visit_u16(read!(self, u16)),
            Kind::U32 => visitor.visit_u32(read!(self, u32)),
            Kind::U64 => visitor.visit_u64(read!(self, u64)),
            Kind::U128 => visitor.visit_u128(read!(self, u128)),
            Kind::F32 => visitor.visit_f32(read!(self, f32)),
            Kind::F64 => visitor.visit_f64(read!(self, f64)),
            Kind::Char => match char::from_u32(read!(self, u32)) {
                Some(character) => visitor.visit_char(character),
                None => Err(Error::new("the bytes are no character")),
            },
            Kind::Text => visitor.visit_borrowed_str(self.text()?),
            Kind::Bytes => {
                let length = self.length()?;
                visitor.visit_borrowed_bytes(self.input.bytes(length)?)
            }
            Kind::Seq => {
                let length = self.elements()?;
                self.seq(Some(length), fields, visitor)
            }
            Kind::OpenSeq => self.seq(None, fields, visitor),
            Kind::Map => {
                let length = self.elements()?;
                self.map(Some(length), visitor)
            }
            Kind::OpenMap => self.map(None, visitor),
            // Without knowing the enum, as other self-describing formats give them.
            Kind::UnitVariant => visitor.visit_borrowed_str(self.text()?),
            Kind::Variant => {
                let name = self.text()?;
                self.nested(|source| visitor.visit_map(OneEntry { source, name: Some(name) }))
            }
            Kind::End => Err(Error::new("the end of a collection stands in place of a value")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.next() {
            Some(Kind::None | Kind::Some) => self.deserialize_any(visitor),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.nested(|source| visitor.visit_newtype_struct(source))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.fields = Some(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.kind()? {
            Kind::UnitVariant | Kind::Text => {
                let name = self.text()?;
                visitor.visit_enum(Variant { source: self, name, content: false })
            }
            Kind::Variant => {
                let name = self.text()?;
                visitor.visit_enum(Variant { source: self, name, content: true })
            }
            other => {
                let what = format!("{other:?}");
                Err(Error::invalid_type(Unexpected::Other(&what), &"the variant of an enum"))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple map struct identifier ignored_any
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

/// The elements or entries of something, as many as are announced or until `End`.
struct Parts<'s, 'de> {
    source: &'s mut In<'de>,
    left: Option<usize>,
    came: usize,
    /// How many there must be.
    fields: Option<usize>,
}

impl Parts<'_, '_> {
    fn has_next(&mut self) -> Result<bool, Error> {
        let has_next = match &mut self.left {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => self.source.next() != Some(Kind::End),
        };
        self.came += usize::from(has_next);
        match self.fields {
            Some(fields) if !has_next && self.came < fields => Err(Error::about_type(format!(
                "{} of {fields} fields without names were sent: a field may be skipped only where fields \
                 have names",
                self.came
            ))),
            _ => Ok(has_next),
        }
    }

    fn finish(self) -> Result<(), Error> {
        match self.left {
            Some(0) => Ok(()),
            None if self.source.kind()? == Kind::End => Ok(()),
            _ => Err(Error::new("its `Deserialize` leaves elements")),
        }
    }
}

impl<'de> SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        if !self.has_next()? {
            return Ok(None);
        }
        let value = seed.deserialize(&mut *self.source);
        value.map(Some).map_err(|error| error.in_type(type_name::<S::Value>))
    }

    fn size_hint(&self) -> Option<usize> {
        self.left.map(|left| self.source.input.capacity(left))
    }
}

impl<'de> MapAccess<'de> for Parts<'_, 'de> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        if !self.has_next()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.source).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let value = seed.deserialize(&mut *self.source);
        value.map_err(|error| error.in_type(type_name::<S::Value>))
    }

    fn size_hint(&self) -> Option<usize> {
        self.left.map(|left| self.source.input.capacity(left))
    }
}

/// A variant with its content, as a map of one entry.
struct OneEntry<'s, 'de> {
    source: &'s mut In<'de>,
    name: Option<&'de str>,
}

impl<'de> MapAccess<'de> for OneEntry<'_, 'de> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        match self.name.take() {
            Some(name) => seed.deserialize(name.into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(&mut *self.source)
    }
}

/// A variant, whose content follows or is not there.
struct Variant<'s, 'de> {
    source: &'s mut In<'de>,
    name: &'de str,
    content: bool,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        Ok((seed.deserialize(self.name.into_deserializer())?, self))
    }
}

impl Variant<'_, '_> {
    fn with_content(&self, content: bool) -> Result<(), Error> {
        if self.content == content {
            return Ok(());
        }
        let text = format!(
            "variant `{}` came {} content",
            self.name,
            if self.content { "with" } else { "without" }
        );
        Err(Error::new(text))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.with_content(false)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        self.with_content(true)?;
        // The other forms nest as collections do.
        let value = self.source.nested(|source| seed.deserialize(source));
        value.map_err(|error| error.in_type(type_name::<S::Value>))
    }

    fn tuple_variant<V: Visitor<'de>>(self, fields: usize, visitor: V) -> Result<V::Value, Error> {
        self.with_content(true)?;
        self.source.fields = Some(fields);
        self.source.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.with_content(true)?;
        self.source.deserialize_any(visitor)
    }
}

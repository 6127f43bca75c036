//! Writes the described format: a byte that says what comes before each value, and names.

use std::any::type_name;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::depth::{Depth, HasDepth, with_room};
use super::error::Error;
use super::kind::Kind;

/// Appends the bytes of a value.
pub(in super::super) fn encode<T: Serialize + ?Sized>(
    value: &T,
    into: &mut Vec<u8>,
) -> Result<(), Error> {
    value.serialize(&mut Out { bytes: into, depth: Depth::of_encoder() })
}

pub(super) struct Out<'a> {
    bytes: &'a mut Vec<u8>,
    depth: Depth,
}

impl HasDepth for Out<'_> {
    fn depth(&mut self) -> &mut Depth {
        &mut self.depth
    }
}

impl<'a> Out<'a> {
    fn kind(&mut self, kind: Kind) {
        self.bytes.push(kind as u8);
    }

    fn number<const N: usize>(&mut self, kind: Kind, bytes: [u8; N]) {
        self.kind(kind);
        self.bytes.extend_from_slice(&bytes);
    }

    /// One byte for short ones.
    fn length(&mut self, length: usize) {
        match u8::try_from(length) {
            Ok(short) if short < u8::MAX => self.bytes.push(short),
            _ => {
                self.bytes.push(u8::MAX);
                self.bytes.extend_from_slice(&(length as u64).to_le_bytes());
            }
        }
    }

    fn counted(&mut self, kind: Kind, bytes: &[u8]) {
        self.kind(kind);
        self.length(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    fn variant(&mut self, kind: Kind, name: &str) {
        self.counted(kind, name.as_bytes());
    }

    fn nested<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if self.depth.enter() {
            with_room(self, size_of_val(value), |out| value.serialize(out))?;
        } else {
            value.serialize(&mut *self)?;
        }
        self.depth.leave();
        Ok(())
    }

    /// Begins a collection. A struct has as many fields as come: what it announces may be wrong.
    fn open<'s>(
        &'s mut self,
        counted: Kind,
        open: Kind,
        length: Option<usize>,
    ) -> Result<Parts<'s, 'a>, Error> {
        match length {
            Some(length) => {
                self.kind(counted);
                self.length(length);
            }
            None => self.kind(open),
        }
        let deep = self.depth.enter();
        Ok(Parts { out: self, announced: length, count: 0, deep })
    }
}

macro_rules! numbers {
    ($($method:ident $name:ident: $kind:ty)*) => {
        $(
            fn $method(self, value: $kind) -> Result<(), Error> {
                self.number(Kind::$name, value.to_le_bytes());
                Ok(())
            }
        )*
    };
}

impl<'s, 'a> Serializer for &'s mut Out<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Parts<'s, 'a>;
    type SerializeTuple = Parts<'s, 'a>;
    type SerializeTupleStruct = Parts<'s, 'a>;
    type SerializeTupleVariant = Parts<'s, 'a>;
    type SerializeMap = Parts<'s, 'a>;
    type SerializeStruct = Parts<'s, 'a>;
    type SerializeStructVariant = Parts<'s, 'a>;

    numbers! {
        serialize_i8 I8: i8 serialize_i16 I16: i16 serialize_i32 I32: i32 serialize_i64 I64: i64
        serialize_u8 U8: u8 serialize_u16 U16: u16 serialize_u32 U32: u32 serialize_u64 U64: u64
        serialize_f32 F32: f32 serialize_f64 F64: f64
    }

    /// As the smaller type where it fits: serde's untagged enums know no other.
    fn serialize_i128(self, value: i128) -> Result<(), Error> {
        match i64::try_from(value) {
            Ok(small) => self.serialize_i64(small),
            Err(_) => {
                self.number(Kind::I128, value.to_le_bytes());
                Ok(())
            }
        }
    }

    fn serialize_u128(self, value: u128) -> Result<(), Error> {
        match u64::try_from(value) {
            Ok(small) => self.serialize_u64(small),
            Err(_) => {
                self.number(Kind::U128, value.to_le_bytes());
                Ok(())
            }
        }
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.kind(if value { Kind::True } else { Kind::False });
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.number(Kind::Char, u32::from(value).to_le_bytes());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.counted(Kind::Text, value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.counted(Kind::Bytes, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.kind(Kind::None);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.kind(Kind::Some);
        self.nested(value)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.kind(Kind::Unit);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<(), Error> {
        self.variant(Kind::UnitVariant, name);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.nested(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(Kind::Variant, name);
        self.nested(value)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Parts<'s, 'a>, Error> {
        self.open(Kind::Seq, Kind::OpenSeq, length)
    }

    fn serialize_tuple(self, length: usize) -> Result<Parts<'s, 'a>, Error> {
        self.open(Kind::Seq, Kind::OpenSeq, Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'s, 'a>, Error> {
        self.open(Kind::Seq, Kind::OpenSeq, None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Parts<'s, 'a>, Error> {
        self.variant(Kind::Variant, name);
        self.open(Kind::Seq, Kind::OpenSeq, None)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Parts<'s, 'a>, Error> {
        self.open(Kind::Map, Kind::OpenMap, length)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts<'s, 'a>, Error> {
        self.open(Kind::Map, Kind::OpenMap, None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Parts<'s, 'a>, Error> {
        self.variant(Kind::Variant, name);
        self.open(Kind::Map, Kind::OpenMap, None)
    }

    /// What serde keeps aside (for untagged enums, `flatten`) is decoded as for people.
    fn is_human_readable(&self) -> bool {
        true
    }
}

/// The elements, entries or fields of something.
pub(super) struct Parts<'s, 'a> {
    out: &'s mut Out<'a>,
    announced: Option<usize>,
    count: usize,
    deep: bool,
}

impl Parts<'_, '_> {
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let result = if self.deep {
            with_room(self.out, size_of_val(value), |out| value.serialize(out))
        } else {
            value.serialize(&mut *self.out)
        };
        result.map_err(|error| error.in_type(type_name::<T>))
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.count += 1;
        self.value(value)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.out.counted(Kind::Text, name.as_bytes());
        self.element(value).map_err(|error| error.in_field(name, type_name::<T>))
    }

    fn finish(self) -> Result<(), Error> {
        self.out.depth.leave();
        match self.announced {
            None => {
                self.out.kind(Kind::End);
                Ok(())
            }
            Some(announced) if announced == self.count => Ok(()),
            Some(announced) => Err(Error::new(format!(
                "its `Serialize` announces {announced} elements and writes {}",
                self.count
            ))),
        }
    }
}

macro_rules! elements {
    ($($family:ident $method:ident)*) => {
        $(
            impl $family for Parts<'_, '_> {
                type Ok = ();
                type Error = Error;

                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                    self.element(value)
                }

                fn end(self) -> Result<(), Error> {
                    self.finish()
                }
            }
        )*
    };
}

elements! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

macro_rules! fields {
    ($($family:ident)*) => {
        $(
            impl $family for Parts<'_, '_> {
                type Ok = ();
                type Error = Error;

                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<(), Error> {
                    self.field(name, value)
                }

                fn end(self) -> Result<(), Error> {
                    self.finish()
                }
            }
        )*
    };
}

fields! { SerializeStruct SerializeStructVariant }

impl SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.value(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.element(value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

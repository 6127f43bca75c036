//! Bounds around a deserializer, for bytes that may be damaged.
//!
//! Three things that bytes could do to a plain deserializer are stopped here:
//! - a length that becomes an allocation: strings and byte buffers are borrowed from the message
//!   first, which checks their length against what is there;
//! - a length that becomes a loop or a capacity: elements whose number is in the bytes are counted,
//!   because those of no size cost no bytes;
//! - nesting without end, which would exhaust the stack.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// Elements that a message may hold beyond its number of bytes: those of no size.
const ELEMENTS_WITHOUT_BYTES: usize = 1 << 20;
/// Bytes of a number, or of the length of a string or a vector.
const USUAL_ELEMENT: usize = 8;
/// Values within values.
const DEEPEST: u32 = 500;

/// What is left of the bounds of one message.
pub(super) struct Limits {
    elements: Cell<usize>,
    depth: Cell<u32>,
    capacity: usize,
}

impl Limits {
    pub fn of(message_bytes: usize) -> Self {
        Limits {
            elements: Cell::new(message_bytes.saturating_add(ELEMENTS_WITHOUT_BYTES)),
            depth: Cell::new(DEEPEST),
            capacity: message_bytes / USUAL_ELEMENT,
        }
    }

    /// Takes as many elements as the bytes announce.
    fn count<E: Error>(&self, announced: Option<usize>) -> Result<(), E> {
        match self.elements.get().checked_sub(announced.unwrap_or(0)) {
            Some(left) => {
                self.elements.set(left);
                Ok(())
            }
            None => Err(E::custom("more elements than the message has bytes for")),
        }
    }

    /// A hint becomes the capacity of a vector or a map: no more than the message can hold of elements
    /// of a usual size. With smaller ones the vector grows while they come.
    fn at_most(&self, hint: Option<usize>) -> Option<usize> {
        hint.map(|hint| hint.min(self.capacity))
    }

    fn around<I>(&self, inner: I) -> Guarded<'_, I> {
        Guarded { inner, limits: self }
    }

    fn counting<I>(&self, inner: I) -> Guarded<'_, I, true> {
        Guarded { inner, limits: self }
    }

    #[inline(always)]
    fn nested<R, E: Error>(&self, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let Some(left) = self.depth.get().checked_sub(1) else {
            return Err(E::custom(format!("values are nested more than {DEEPEST} deep")));
        };
        self.depth.set(left);
        let result = f();
        self.depth.set(left + 1);
        result
    }
}

/// Deserializes a `T` within the limits.
pub(super) struct Guard<'l, T> {
    limits: &'l Limits,
    value: PhantomData<fn() -> T>,
}

impl<'l, T> Guard<'l, T> {
    pub fn new(limits: &'l Limits) -> Self {
        Guard { limits, value: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Guard<'_, T> {
    type Value = T;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T, D::Error> {
        T::deserialize(self.limits.around(inner))
    }
}

/// Anything of serde's with the limits beside it. A visitor that is `COUNTED` will be shown as many
/// elements as the bytes say, not as the type says.
struct Guarded<'l, I, const COUNTED: bool = false> {
    inner: I,
    limits: &'l Limits,
}

macro_rules! forward {
    ($how:ident: $($method:ident)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
                self.inner.$method(self.limits.$how(visitor))
            }
        )*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guarded<'_, D> {
    type Error = D::Error;

    forward! {
        around: deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_bytes deserialize_option deserialize_unit deserialize_identifier
    }
    forward! {
        counting: deserialize_any deserialize_seq deserialize_map deserialize_ignored_any
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, self.limits.around(visitor))
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_newtype_struct(name, self.limits.around(visitor))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple(len, self.limits.around(visitor))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple_struct(name, len, self.limits.around(visitor))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_struct(name, fields, self.limits.around(visitor))
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_enum(name, variants, self.limits.around(visitor))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! forward_values {
    ($($method:ident: $kind:ty)*) => {
        $(
            #[inline]
            fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
                self.inner.$method(value)
            }
        )*
    };
}

impl<'de, V: Visitor<'de>, const COUNTED: bool> Visitor<'de> for Guarded<'_, V, COUNTED> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    forward_values! {
        visit_bool: bool visit_i8: i8 visit_i16: i16 visit_i32: i32 visit_i64: i64 visit_i128: i128
        visit_u8: u8 visit_u16: u16 visit_u32: u32 visit_u64: u64 visit_u128: u128
        visit_f32: f32 visit_f64: f64 visit_char: char
        visit_str: &str visit_borrowed_str: &'de str visit_string: String
        visit_bytes: &[u8] visit_borrowed_bytes: &'de [u8] visit_byte_buf: Vec<u8>
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let limits = self.limits;
        limits.nested(|| self.inner.visit_some(limits.around(inner)))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let limits = self.limits;
        limits.nested(|| self.inner.visit_newtype_struct(limits.around(inner)))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let limits = self.limits;
        if COUNTED {
            limits.count(inner.size_hint())?;
        }
        limits.nested(|| self.inner.visit_seq(limits.around(inner)))
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let limits = self.limits;
        if COUNTED {
            limits.count(inner.size_hint())?;
        }
        limits.nested(|| self.inner.visit_map(limits.around(inner)))
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let limits = self.limits;
        limits.nested(|| self.inner.visit_enum(limits.around(inner)))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Guarded<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(self.limits.around(inner))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Guarded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(self.limits.around(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.limits.at_most(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Guarded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(self.limits.around(seed))
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(self.limits.around(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.limits.at_most(self.inner.size_hint())
    }
}

impl<'de, 'l, A: EnumAccess<'de>> EnumAccess<'de> for Guarded<'l, A> {
    type Error = A::Error;
    type Variant = Guarded<'l, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let limits = self.limits;
        let (value, inner) = self.inner.variant_seed(limits.around(seed))?;
        Ok((value, limits.around(inner)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Guarded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(self.limits.around(seed))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, self.limits.around(visitor))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, self.limits.around(visitor))
    }
}

//! Hashes of the names of fields and variants.
//!
//! Both sides add them up while they walk over a value: the sum in the message tells two types of one
//! name apart, and a type whose `Serialize` and `Deserialize` name different fields.
//!
//! The names are constants of the program. The functions are inlined loops over them without a table, so
//! that the compiler computes them: the code that serialises a struct holds one number. A hash from a
//! crate is computed anew for each value.

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
const fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(ODD);
    product ^ (product >> 32)
}

#[inline(always)]
const fn hash(name: &str) -> u64 {
    let mut hash = name.len() as u64;
    let mut rest = name.as_bytes();
    while let Some((word, more)) = rest.split_first_chunk() {
        hash = mix(hash, u64::from_le_bytes(*word));
        rest = more;
    }
    let mut last = 0;
    while let Some((byte, more)) = rest.split_first() {
        last = last << 8 | *byte as u64;
        rest = more;
    }
    mix(hash, last)
}

/// A few bits of the hash of a variant's name, for the upper half of its number.
#[inline(always)]
pub(super) const fn of_variant(name: &str) -> u16 {
    (mix(hash(name), ODD) >> 48) as u16
}

/// The hash of a field's name.
#[inline(always)]
pub(super) const fn of_field(name: &str) -> u32 {
    (mix(hash(name), ODD) >> 32) as u32
}

/// The fields of a struct, in their order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields {
    names: u64,
    count: u32,
}

impl Fields {
    pub const NONE: Fields = Fields { names: 0, count: 0 };

    #[inline(always)]
    pub const fn and(self, name: &str) -> Self {
        Fields { names: mix(self.names, hash(name)), count: self.count + 1 }
    }

    /// A field without a name.
    #[inline(always)]
    pub const fn and_unnamed(self) -> Self {
        Fields { names: self.names, count: self.count + 1 }
    }

    #[inline(always)]
    pub const fn unnamed(count: usize) -> Self {
        Fields { names: 0, count: count as u32 }
    }

    #[inline(always)]
    pub const fn count(self) -> u32 {
        self.count
    }

    #[inline(always)]
    pub const fn of(names: &[&str]) -> Self {
        let mut fields = Fields::NONE;
        let mut rest = names;
        while let Some((name, more)) = rest.split_first() {
            fields = fields.and(name);
            rest = more;
        }
        fields
    }

    #[inline(always)]
    const fn shape(self) -> Shape {
        let names = mix(self.names, self.count as u64 + 1) & (u32::MAX as u64) << 32;
        let count = mix(self.count as u64 + 1, ODD) >> 32;
        Shape(names | count)
    }
}

/// The sum of what the structs of a message look like: of their names in the upper half, of their numbers
/// of fields in the lower. `Deserialize` may know several names of one field (`#[serde(alias)]`), and
/// then the numbers alone can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape(u64);

impl Shape {
    #[inline(always)]
    pub fn add(&mut self, fields: Fields) {
        self.0 = self.0.wrapping_add(fields.shape().0);
    }

    /// What a message says of it. The lowest bits are free.
    #[inline]
    pub fn word(self) -> u32 {
        (self.0 >> 32) as u32 & NAMES | (self.0 >> 20) as u32 & NUMBERS
    }
}

/// Bits of a word that hold the names.
const NAMES: u32 = 0xffff_f000;
/// Bits of a word that hold the numbers of fields.
pub(super) const NUMBERS: u32 = 0x0000_0ffc;

#[cfg(test)]
mod tests {
    use super::*;

    fn word(fields: Fields) -> u32 {
        let mut shape = Shape::default();
        shape.add(fields);
        shape.word()
    }

    #[test]
    fn names_their_order_and_their_number_make_the_shape() {
        let shapes = [
            Fields::of(&[]),
            Fields::of(&["a"]),
            Fields::of(&["b"]),
            Fields::of(&["a", "b"]),
            Fields::of(&["b", "a"]),
            Fields::of(&["ab"]),
            Fields::of(&["", "ab"]),
            Fields::of(&["temperature_in_kelvin"]),
            Fields::of(&["temperature_at_kelvin"]),
            Fields::unnamed(1),
            Fields::unnamed(2),
        ];
        for (i, a) in shapes.iter().enumerate() {
            for b in &shapes[..i] {
                assert_ne!(word(*a), word(*b), "{i}");
            }
        }
        assert_eq!(word(Fields::NONE.and("a").and("b")), word(Fields::of(&["a", "b"])));
    }

    #[test]
    fn the_bits_of_variants_spread() {
        let mut bits: Vec<u16> = (0..200).map(|i| of_variant(&format!("Variant{i}"))).collect();
        bits.sort_unstable();
        bits.dedup();
        assert!(bits.len() > 195, "{}", bits.len());
    }
}

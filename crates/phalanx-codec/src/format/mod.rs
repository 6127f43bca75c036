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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bincode::config;
    use serde::Serialize;

    /// Values without structs and variants, which have something added to them.
    #[track_caller]
    fn is_as_bincode_has_it(value: impl Serialize) {
        let config = config::standard().with_fixed_int_encoding();
        let theirs = bincode::serde::encode_to_vec(&value, config).expect("bincode takes it");
        let mut ours = Vec::new();
        super::encode_compact(&value, &mut ours).expect("it can be encoded");
        assert_eq!(ours, theirs);
    }

    #[test]
    fn the_compact_format_has_the_layout_of_bincode_2() {
        is_as_bincode_has_it((1_u8, -2_i16, 3_u32, -4_i64, 5_usize));
        is_as_bincode_has_it((u128::MAX, i128::MIN, 1.5_f32, -2.5_f64, true, 'ß'));
        is_as_bincode_has_it(("text", String::from("日本"), b"bytes".as_slice(), ()));
        is_as_bincode_has_it((vec![1_u16, 2, 3], [4_u16; 2], Some(vec![5.0]), None::<u8>));
        is_as_bincode_has_it(BTreeMap::from([("one", vec![1]), ("none", vec![])]));
    }
}

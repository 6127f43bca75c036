//! MPI's predefined operations (MPI-4.1, section 6.9.2).

use super::{Prepared, Reduction};
use crate::datatype::Element;
use crate::error::Result;
use crate::raw::op;
use crate::record::Call;

/// Elements that can be added and multiplied: numbers, and arrays of them.
///
/// # Safety
/// The MPI datatype of the element is one that `MPI_SUM` and `MPI_PROD` accept.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a number that MPI can add and multiply",
    note = "reduce other elements with a closure: `op(|a, b| …)`"
)]
pub unsafe trait Number: Element {}

/// Numbers that can be compared: all but complex ones.
///
/// # Safety
/// The MPI datatype of the element is one that `MPI_MIN` and `MPI_MAX` accept.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a number that MPI can compare",
    note = "reduce other elements with a closure: `op(|a, b| …)`"
)]
pub unsafe trait Real: Number {}

/// Elements with bits of their own: integers, and arrays of them.
///
/// # Safety
/// The MPI datatype of the element is one that the bit and logical operations accept.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an integer: bit and logical operations reduce integers",
    note = "floating point numbers have Sum, Product, Min and Max"
)]
pub unsafe trait Integer: Real {}

macro_rules! mark {
    ($marker:ident: $($type:ty)*) => {
        $(
            // SAFETY: the datatype is one of MPI's integer or floating point types.
            unsafe impl $marker for $type {}
        )*
    };
}

mark!(Number: i8 i16 i32 i64 isize u8 u16 u32 u64 usize f32 f64);
mark!(Real: i8 i16 i32 i64 isize u8 u16 u32 u64 usize f32 f64);
mark!(Integer: i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

// SAFETY: the datatype of an array is that of its elements.
unsafe impl<T: Number, const N: usize> Number for [T; N] {}
// SAFETY: as above.
unsafe impl<T: Real, const N: usize> Real for [T; N] {}
// SAFETY: as above.
unsafe impl<T: Integer, const N: usize> Integer for [T; N] {}

macro_rules! operations {
    ($($name:ident: $bound:ident = $raw:ident, $constant:literal, $text:literal;)*) => {
        $(
            #[doc = concat!($text, " (`", $constant, "`).")]
            #[derive(Clone, Copy, Debug, Default)]
            pub struct $name;

            impl<T: $bound> Reduction<T> for $name {
                #[inline(always)]
                fn prepare(self, _call: &Call<'_>) -> Result<Prepared> {
                    Ok(Prepared::builtin(op::$raw()))
                }
            }
        )*
    };
}

operations! {
    Sum: Number = sum, "MPI_SUM", "Addition. Integers wrap, as they do in C";
    Product: Number = product, "MPI_PROD", "Multiplication. Integers wrap, as they do in C";
    Min: Real = min, "MPI_MIN", "The smaller";
    Max: Real = max, "MPI_MAX", "The larger";
    BitAnd: Integer = bit_and, "MPI_BAND", "Bits that are set in both";
    BitOr: Integer = bit_or, "MPI_BOR", "Bits that are set in one or both";
    BitXor: Integer = bit_xor, "MPI_BXOR", "Bits that are set in one of the two";
    LogicalAnd: Integer = logical_and, "MPI_LAND", "1 if both are not zero";
    LogicalOr: Integer = logical_or, "MPI_LOR", "1 if one is not zero";
    LogicalXor: Integer = logical_xor, "MPI_LXOR", "1 if just one is not zero";
}

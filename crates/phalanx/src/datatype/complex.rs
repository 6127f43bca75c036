//! Complex numbers of `num-complex` as elements. Feature `num-complex`.

use num_complex::Complex;

use super::{Datatype, Element, SingleElement};
use crate::error::Result;
use crate::op::Number;
use crate::raw::datatype;

macro_rules! complex {
    ($($part:ty => $datatype:ident,)*) => {
        $(
            // SAFETY: two numbers of the same type in a row, as in C: no padding, and every bit pattern
            // is valid.
            unsafe impl Element for Complex<$part> {
                #[inline(always)]
                fn datatype() -> Result<Datatype> {
                    Ok(datatype::$datatype())
                }
            }

            impl SingleElement for Complex<$part> {}

            // SAFETY: MPI_SUM and MPI_PROD are defined for C's complex types (MPI-4.1, section 6.9.2).
            unsafe impl Number for Complex<$part> {}
        )*
    };
}

complex! { f32 => float_complex, f64 => double_complex, }

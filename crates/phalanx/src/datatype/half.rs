//! Numbers of 16 bits of `half` as elements. Feature `half`.

use half::{bf16, f16};

use super::{Datatype, Element, SingleElement};
use crate::error::Result;
use crate::raw::datatype;

macro_rules! half {
    ($($number:ty)*) => {
        $(
            // SAFETY: 16 bits, all patterns of which are valid. MPI has no such number: it moves the bits.
            unsafe impl Element for $number {
                #[inline(always)]
                fn datatype() -> Result<Datatype> {
                    Ok(datatype::uint16())
                }
            }

            impl SingleElement for $number {}
        )*
    };
}

half! { f16 bf16 }

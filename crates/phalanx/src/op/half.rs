//! Reductions of numbers of 16 bits, which MPI does not know: closures. Each step is computed with 32 bits
//! and rounded to 16. Feature `half`.

use half::{bf16, f16};

use super::closure::prepare;
use super::{Max, Min, Prepared, Product, Reduction, Sum};
use crate::error::Result;
use crate::record::Call;

macro_rules! reductions {
    ($($number:ty)*) => {
        $(
            impl Reduction<$number> for Sum {
                fn prepare(self, call: &Call<'_>) -> Result<Prepared> {
                    prepare(call, |a: $number, b| a + b, true)
                }
            }

            impl Reduction<$number> for Product {
                fn prepare(self, call: &Call<'_>) -> Result<Prepared> {
                    prepare(call, |a: $number, b| a * b, true)
                }
            }

            impl Reduction<$number> for Min {
                fn prepare(self, call: &Call<'_>) -> Result<Prepared> {
                    prepare(call, |a: $number, b| a.min(b), true)
                }
            }

            impl Reduction<$number> for Max {
                fn prepare(self, call: &Call<'_>) -> Result<Prepared> {
                    prepare(call, |a: $number, b| a.max(b), true)
                }
            }
        )*
    };
}

reductions! { f16 bf16 }

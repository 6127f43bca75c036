//! What ranks must agree on before a call of MPI's that would wait for ever where they do not.

use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::op::Min;
use crate::raw::collective::Everywhere;
use crate::record::Call;

/// A number for some numbers, the same on every rank.
pub(crate) fn digest(numbers: impl IntoIterator<Item = usize>) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    numbers.into_iter().fold(ODD, |sum, number| {
        let mixed = (sum ^ number as u64).wrapping_mul(ODD);
        mixed ^ (mixed >> 29)
    })
}

impl Comm {
    /// The smallest of each number among all ranks. The call names what it is for.
    pub(crate) fn smallest<const N: usize>(
        &self,
        call: &Call<'_>,
        mine: [u64; N],
    ) -> Result<[u64; N]> {
        let call = self.private_call(call.operation, call.location);
        self.everywhere(&call, Everywhere::Allreduce, &mine, Min)
    }

    /// An error on every rank if not all give the same.
    pub(crate) fn all_alike(&self, call: &Call<'_>, mine: u64, what: &str) -> Result<()> {
        let [smallest, inverse] = self.smallest(call, [mine, !mine])?;
        if smallest == !inverse {
            return Ok(());
        }
        let detail = format!("not all ranks give the same {what}");
        Err(Error::new(ErrorKind::Mismatch, call, detail))
    }

    /// The own error where there is one; on all other ranks an error that names the first such rank.
    pub(crate) fn none_failed<T>(&self, call: &Call<'_>, mine: Result<T>) -> Result<T> {
        let first_failed = if mine.is_err() { self.rank() as u64 } else { u64::MAX };
        let [first] = self.smallest(call, [first_failed])?;
        match mine {
            Ok(_) if first != u64::MAX => {
                let detail = format!("rank {first} cannot take part; its own error says why");
                Err(Error::new(ErrorKind::Mismatch, call, detail))
            }
            mine => mine,
        }
    }
}

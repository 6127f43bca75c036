//! Receives that MPI does not know, as the record shows them.

use crate::error::Result;
use crate::raw;
use crate::record::{self, Call, Kind, Name, What};

/// The place of a receive whose message is looked for. Free again when it is dropped.
#[derive(Default)]
pub(crate) struct PendingReceive(Option<u16>);

impl PendingReceive {
    /// Says that the call which this thread is inside of waits for it.
    pub fn note(&mut self, call: &Call<'_>, element: Name) -> Result<()> {
        record::mark(self.show(call, element)?);
        Ok(())
    }

    /// Says that such a message would be taken.
    pub fn show(&mut self, call: &Call<'_>, element: Name) -> Result<u16> {
        let permit = raw::permit(call)?;
        let what = What::of(Kind::Receive, 0, element);
        Ok(*self.0.get_or_insert_with(|| record::pend(permit.allowed(), call, &what)))
    }
}

impl Drop for PendingReceive {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            record::finish(place);
        }
    }
}

//! What becomes of a collective call in which one rank cannot take part.
//!
//! A mistake that others could not notice is made good as far as possible where it is found: see the table
//! in `collective/README.md`. What is left are calls for which a rank has no data, or does not know what the
//! others expect. In strict mode the others hear of it, because they agree on each call before it begins.

use super::size;
use crate::error::{Error, ErrorKind};
use crate::raw::{gate_collective, strict};
use crate::record::{self, Call, FREE, Kind, Operation, What};

/// What the others hear that this rank calls.
static REFUSED: Operation =
    Operation { name: "nothing, its call was refused there,", function: "", has_steps: false };

const OTHERS_WAIT: &str = "the other ranks wait for this one inside the call until this error ends the job: \
                           return it from `main`, or compare the arguments before the call";

/// Whether others can be waiting for this rank at all.
fn is_local(call: &Call<'_>, error: &Error) -> bool {
    size(call) < 2 || matches!(error.kind(), ErrorKind::Thread | ErrorKind::State)
}

/// The error of a rank that cannot take part in a blocking collective call. In strict mode the members of
/// the communicator are told.
#[cold]
pub(crate) fn refused(call: &Call<'_>, error: Error) -> Error {
    if is_local(call, &error) {
        return error;
    }
    if !strict::is_on() {
        return error.with_hint(OTHERS_WAIT);
    }
    let call = Call { operation: &REFUSED, ..*call };
    let what = What { bytes: FREE, ..What::of(Kind::Collective, 0, record::no_name) };
    // The disagreement that follows is what the others get; this rank has its own error.
    let _ = gate_collective(&call, what, || super::SUCCESS);
    error
}

/// The same for a non-blocking one, which begins without any agreement, in strict mode, too.
#[cold]
pub(crate) fn refused_later(call: &Call<'_>, error: Error) -> Error {
    if is_local(call, &error) { error } else { error.with_hint(OTHERS_WAIT) }
}

//! What an error of the library means in a collective call: a call of messages whose lengths nobody has
//! compared, which may have met messages of another call.

use crate::record::Call;

/// The name of a collective function without `MPI_`, and without the `I` of its non-blocking form.
fn collective(function: &str) -> Option<String> {
    const KNOWN: [&str; 17] = [
        "barrier",
        "bcast",
        "gather",
        "gatherv",
        "scatter",
        "scatterv",
        "allgather",
        "allgatherv",
        "alltoall",
        "alltoallv",
        "alltoallw",
        "reduce",
        "allreduce",
        "reduce_scatter",
        "reduce_scatter_block",
        "scan",
        "exscan",
    ];
    let name = function.strip_prefix("MPI_")?.to_ascii_lowercase();
    let is_known = |name: &str| {
        KNOWN.contains(&name)
            || name.strip_prefix("neighbor_").is_some_and(|it| KNOWN.contains(&it))
    };
    match name.strip_prefix('i') {
        Some(blocking) if is_known(blocking) => Some(blocking.to_owned()),
        _ => is_known(&name).then_some(name),
    }
}

const STRICT: &str = "start with PHALANX_WATCH=strict to see the calls of all ranks";

/// What it means that a message was longer than what the call expects, or that the library fails without
/// saying why. `None` where the call is not collective.
#[cold]
pub(crate) fn explain(call: &Call<'_>) -> Option<String> {
    let name = collective(call.operation.function)?;
    let any_length = match name.as_str() {
        "barrier" => {
            return Some(format!(
                "a message of another operation came, though a barrier has none: some rank probably calls \
                 another collective now; {STRICT}"
            ));
        }
        "bcast" => ": `bcast_vec` takes the length of the root",
        "gather" => ": `gatherv` takes blocks of any length",
        "scatter" => ": `scatterv` takes blocks of any length",
        "allgather" => ": `allgatherv` takes blocks of any length",
        "alltoall" => ": `alltoallv` takes blocks of any length",
        _ => "",
    };
    Some(format!(
        "what came is not as long as this rank expects. Either the ranks gave different lengths{any_length}; or \
         some rank calls another collective now; {STRICT}"
    ))
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::record::{BCAST, IALLREDUCE, IBARRIER, IRECV, NEIGHBOR_ALLTOALL, Operation, SCAN};

    fn text(operation: &'static Operation) -> String {
        explain(&Call::local(operation, Location::caller())).unwrap_or_default()
    }

    #[test]
    fn collectives_that_were_mixed_up_are_said_to_be() {
        assert!(text(&IBARRIER).contains("a barrier has none"));
        assert!(text(&BCAST).contains("`bcast_vec`"));
        for operation in [&IBARRIER, &BCAST, &IALLREDUCE, &NEIGHBOR_ALLTOALL, &SCAN] {
            assert!(text(operation).contains("PHALANX_WATCH=strict"), "{}", operation.name);
        }
        assert_eq!(text(&IRECV), "");
    }
}

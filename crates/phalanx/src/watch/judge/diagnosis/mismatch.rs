//! What is said of collective calls that differ.

use crate::watch::judge::facts::{Comm, Ranks};
use crate::watch::judge::met::Difference;
use crate::watch::judge::text;
use crate::watch::statement::CallFacts;

/// The headline, the sentence and the help of a difference.
pub(in crate::watch::judge) fn mismatch(
    ranks: &Ranks<'_>,
    difference: Difference,
    call: &CallFacts,
) -> (&'static str, String, &'static str) {
    let name = text::comm_name(ranks, call.comm);
    let operation = &call.operation;
    // The number that the user can count, if there is one.
    let counts_users_calls = |comm: &Comm<'_>| comm.facts.counts_users_calls && !comm.facts.private;
    let is_users =
        (0..ranks.len()).filter_map(|rank| ranks.comm(rank, call.comm)).all(counts_users_calls);
    let number = if is_users { call.number } else { 0 };
    match difference {
        Difference::Operation | Difference::Blocking => (
            "different collectives",
            match number {
                0 => format!("the ranks of {name} do not call the same operation"),
                _ => format!(
                    "collective call number {number} on {name} is not the same on all ranks"
                ),
            },
            "all ranks of a communicator must call the same collectives in the same order",
        ),
        Difference::Root => (
            "different root",
            format!("{operation} on {name} has not the same root on all ranks"),
            "give the same root on all ranks, for instance one that all have computed alike",
        ),
        Difference::Count => (
            "different count",
            format!("{operation} on {name} has not the same length on all ranks"),
            "give the same length on all ranks; the forms that end in `v` take different ones",
        ),
        Difference::Reduction => (
            "different reduction",
            format!("{operation} on {name} has not the same reduction on all ranks"),
            "give the same reduction on all ranks",
        ),
        Difference::Type => (
            "different type",
            format!("{operation} on {name} has not the same element type on all ranks"),
            "give elements of the same type on all ranks",
        ),
    }
}

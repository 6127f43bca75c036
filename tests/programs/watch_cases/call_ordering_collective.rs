//! Collectives in an order that is not the same on all ranks.

use crate::case::{Case, case};
use crate::collectives::call;

const PAIRS: [(&str, &str); 10] = [
    ("barrier", "bcast"),
    ("barrier", "allreduce"),
    ("bcast", "reduce"),
    ("gather", "scatter"),
    ("allgather", "alltoall"),
    ("scan", "barrier"),
    ("reduce-scatter-block", "allreduce"),
    ("reduce", "gather"),
    ("bcast-object", "gather-object"),
    ("allreduce-object", "barrier"),
];

pub fn cases() -> Vec<Case> {
    let swapped = |(first, second): (&str, &str)| {
        let (one, other) = (call(first), call(second));
        let name = format!("{first}-before-{second}");
        case(name, 3, move |world, faulty| {
            let (first, second) =
                if faulty && world.rank() == 0 { (other, one) } else { (one, other) };
            first(world)?;
            second(world)?;
            Ok(())
        })
        .harmless(&["different collectives"])
    };
    PAIRS.into_iter().map(swapped).collect()
}

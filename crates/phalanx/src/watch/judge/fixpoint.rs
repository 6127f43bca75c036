//! Which ranks can never continue.

use super::facts::Ranks;
use super::met::{self, Begun};
use super::wait::{Awaited, Needs, Wait};

/// The largest set of ranks of which each waits for what only ranks of the set, or ranks that do nothing
/// any more, could do. It is what remains when ranks that may continue are taken away again and again.
pub(super) fn stuck(ranks: &Ranks<'_>, waits: &[Option<Wait<'_>>]) -> Vec<bool> {
    let silent: Vec<bool> = (0..ranks.len()).map(|rank| ranks.is_silent(rank)).collect();
    let mut stuck: Vec<bool> = waits.iter().map(Option::is_some).collect();
    loop {
        let mut changed = false;
        for (rank, wait) in waits.iter().enumerate() {
            let is_dead = |other: usize| {
                stuck.get(other).is_some_and(|&it| it) || silent.get(other).is_some_and(|&it| it)
            };
            let stays = wait.as_ref().is_some_and(|wait| waits_for_ever(ranks, wait, is_dead));
            if stuck[rank] && !stays {
                stuck[rank] = false;
                changed = true;
            }
        }
        if !changed {
            return stuck;
        }
    }
}

/// Whether a rank never continues if the dead ones never do.
fn waits_for_ever(ranks: &Ranks<'_>, wait: &Wait<'_>, is_dead: impl Fn(usize) -> bool) -> bool {
    let never = |part: &Awaited<'_>| never_completes(ranks, part, &is_dead);
    if wait.one_is_enough {
        return !wait.parts.is_empty() && wait.parts.iter().all(never);
    }
    // A part that is not complete and never will be is enough. So is it if that holds for each part that
    // is not complete: one of them is not, or the rank would not wait.
    wait.parts.iter().any(|part| part.is_pending && never(part))
        || wait.parts.iter().all(|part| part.needs == Needs::Nobody || never(part))
            && wait.parts.iter().any(never)
}

/// Whether a part that is not complete never will be.
pub(super) fn never_completes(
    ranks: &Ranks<'_>,
    part: &Awaited<'_>,
    is_dead: impl Fn(usize) -> bool,
) -> bool {
    let cannot_help = |rank: usize| is_dead(rank) || has_withdrawn(ranks, part, rank);
    match &part.needs {
        Needs::Each(all) => all.iter().any(|&rank| cannot_help(rank)),
        Needs::One(all) => !all.is_empty() && all.iter().all(|&rank| cannot_help(rank)),
        Needs::Hopeless => true,
        Needs::Open | Needs::Nobody => false,
    }
}

/// Whether a rank can do nothing more for a part, whatever else it does: it has freed the communicator.
/// A collective that it has begun before may still be passed on by its library.
pub(super) fn has_withdrawn(ranks: &Ranks<'_>, part: &Awaited<'_>, rank: usize) -> bool {
    ranks.has_freed(rank, part.call.comm)
        && (!part.call.kind.is_collective() || met::has_begun(ranks, rank, part.call) == Begun::No)
}

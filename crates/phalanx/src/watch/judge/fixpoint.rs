//! Which ranks can never go on.

use super::facts::Ranks;
use super::wait::{Needs, Part, Wait};

/// The largest set of ranks of which each waits for what only ranks of the set, or ranks that do nothing
/// any more, could do. It is what remains when ranks that may go on are taken away again and again.
pub(super) fn stuck(ranks: &Ranks<'_>, waits: &[Option<Wait<'_>>]) -> Vec<bool> {
    let silent: Vec<bool> = (0..ranks.len()).map(|rank| ranks.is_silent(rank)).collect();
    let mut stuck: Vec<bool> = waits.iter().map(Option::is_some).collect();
    loop {
        let mut changed = false;
        for (rank, wait) in waits.iter().enumerate() {
            let is_dead = |other: usize| {
                stuck.get(other).is_some_and(|&it| it) || silent.get(other).is_some_and(|&it| it)
            };
            let stays = wait.as_ref().is_some_and(|wait| waits_for_ever(wait, is_dead));
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

/// Whether a rank never goes on if the dead ones never do.
fn waits_for_ever(wait: &Wait<'_>, is_dead: impl Fn(usize) -> bool) -> bool {
    let never = |part: &Part<'_>| never_completes(part, &is_dead);
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
pub(super) fn never_completes(part: &Part<'_>, is_dead: impl Fn(usize) -> bool) -> bool {
    match &part.needs {
        Needs::Each(ranks) => ranks.iter().any(|&rank| is_dead(rank)),
        Needs::One(ranks) => !ranks.is_empty() && ranks.iter().all(|&rank| is_dead(rank)),
        Needs::Hopeless => true,
        Needs::Open | Needs::Nobody => false,
    }
}

//! What can be concluded from the statements of all ranks: pure functions, which see nothing else.
//!
//! - `facts.rs`: the statements, so that things are found in them;
//! - `mail.rs`: messages that were sent and not received, and which tags they have;
//! - `met.rs`: what ranks call as the same collective;
//! - `wait.rs`: what each rank waits for;
//! - `fixpoint.rs`: which ranks can never continue;
//! - `cycle.rs`: who waits for whom in a circle;
//! - `diagnosis/`, `near.rs`, `race.rs`: what is to be said of it, and `slow.rs` where nothing is
//!   proved;
//! - `standing.rs`: where ranks stand, when somebody ends the program;
//! - `text.rs`: how it is said.
//!
//! `watch/README.md` says why a proof is one.

mod cycle;
mod diagnosis;
mod facts;
mod fixpoint;
mod mail;
mod met;
mod near;
mod race;
mod slow;
mod standing;
mod text;
mod wait;

#[cfg(test)]
mod tests;

use super::statement::Seen;
use facts::Ranks;
pub(crate) use mail::unreceived;
pub(crate) use standing::standing;
pub(crate) use text::{duration, ranks_named};
use wait::Wait;

/// What the ranks do, in the order in which it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Somebody makes progress, or nobody waits.
    Nothing,
    /// Some ranks wait, and can never continue, whatever the others do.
    Deadlock,
    /// Ranks wait for one that is outside MPI, stopped, or of which nothing is known.
    Outside,
    /// Ranks look again and again for what does not come.
    Polling,
    /// Ranks wait, and it cannot be said whether for ever.
    Unclear,
}

pub(crate) struct Judgement {
    pub verdict: Verdict,
    /// The ranks of the world that can never continue.
    pub stuck: Vec<usize>,
    /// What is to be printed; empty where there is nothing to say.
    pub text: String,
}

/// Draws the conclusion. The index is the rank in the world; the statements belong to one moment.
pub(crate) fn judge(ranks: &[Seen]) -> Judgement {
    let ranks = Ranks::new(ranks);
    let waits: Vec<Option<Wait<'_>>> =
        (0..ranks.len()).map(|rank| wait::of(&ranks, rank)).collect();
    let is_stuck = fixpoint::stuck(&ranks, &waits);
    let stuck: Vec<usize> = (0..ranks.len()).filter(|&rank| is_stuck[rank]).collect();
    if stuck.is_empty() {
        let (verdict, text) = slow::describe(&ranks);
        return Judgement { verdict, stuck, text };
    }
    let text = diagnosis::describe(&ranks, &waits, &is_stuck);
    Judgement { verdict: Verdict::Deadlock, stuck, text }
}

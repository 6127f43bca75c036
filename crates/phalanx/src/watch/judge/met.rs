//! What ranks call as the same collective: who has begun it, and whether all mean the same.

use super::facts::Ranks;
use crate::watch::statement::{CallFacts, Kind, Party, Seen};

/// Whether a rank has begun the collective call with a number on its communicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Yes,
    No,
    Unknown,
}

pub(super) fn has_begun(ranks: &Ranks<'_>, rank: usize, call: &CallFacts) -> Begun {
    let gone = match ranks.seen(rank) {
        Some(Seen::Still(_)) => false,
        Some(Seen::Gone { .. }) => true,
        _ => return Begun::Unknown,
    };
    match ranks.comm(rank, call.comm) {
        Some(comm) if call.number.wrapping_sub(comm.facts.collectives) as i32 <= 0 => Begun::Yes,
        Some(_) => Begun::No,
        // A process that is gone begins nothing that it has not told of.
        None if gone => Begun::No,
        None => Begun::Unknown,
    }
}

/// In what two calls differ that ought to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Difference {
    /// The operation.
    Operation,
    Root,
    /// The length of what each rank gives.
    Count,
    /// One blocks and the other one does not: MPI does not match them.
    Blocking,
    Reduction,
    Type,
}

impl Difference {
    /// Whether such calls never meet. Others may do, with a wrong result.
    pub fn is_hopeless(self) -> bool {
        matches!(self, Difference::Operation | Difference::Root)
    }

    /// Whether such calls may wait for each other for ever although all ranks have begun.
    pub fn may_hang(self) -> bool {
        self <= Difference::Blocking
    }
}

/// The first difference between a collective call and what another rank calls under its number.
pub(super) fn difference(mine: &CallFacts, other: &CallFacts) -> Option<Difference> {
    let same_root = match (mine.party, other.party) {
        (Party::Rank(mine), Party::Rank(other)) => mine == other,
        _ => true,
    };
    let same_bytes = mine.bytes.zip(other.bytes).is_none_or(|(mine, other)| mine == other);
    let found = if base(mine) != base(other) || mine.kind != other.kind {
        Difference::Operation
    } else if !same_root {
        Difference::Root
    } else if !same_bytes {
        Difference::Count
    } else if mine.operation != other.operation {
        Difference::Blocking
    } else if mine.reduction != other.reduction {
        Difference::Reduction
    } else if mine.element != other.element {
        Difference::Type
    } else {
        return None;
    };
    Some(found)
}

/// The operation, be it blocking or not.
fn base(call: &CallFacts) -> &str {
    call.operation.strip_prefix('i').unwrap_or(&call.operation)
}

/// Whether two calls are the same operation, be they blocking or not.
pub(super) fn is_same_operation(one: &CallFacts, other: &CallFacts) -> bool {
    one.kind == other.kind && base(one) == base(other)
}

/// What a rank calls, or has called, under the number of a collective call of somebody else.
pub(super) fn counterpart<'a>(
    ranks: &Ranks<'a>,
    rank: usize,
    call: &CallFacts,
) -> Option<&'a CallFacts> {
    ranks
        .calls(rank)
        .find(|it| it.comm == call.comm && it.number == call.number && it.kind.is_collective())
}

/// A member, what it calls, and in what that differs.
pub(super) type Differing<'a> = (usize, &'a CallFacts, Difference);

/// The members that call something else under the number of this call, and in what they differ.
pub(super) fn different<'a>(
    ranks: &Ranks<'a>,
    rank: usize,
    call: &CallFacts,
) -> Vec<Differing<'a>> {
    let Some(comm) = ranks.comm(rank, call.comm) else { return Vec::new() };
    if call.number == 0 {
        return Vec::new();
    }
    comm.members()
        .filter(|&member| member != rank)
        .filter_map(|member| {
            let other = counterpart(ranks, member, call)?;
            Some((member, other, difference(call, other)?))
        })
        .collect()
}

/// Where two ranks parted: the first call on the communicator, before this one, that is another operation
/// or has another root, as both have called it.
pub(super) fn parting<'a>(
    ranks: &Ranks<'a>,
    rank: usize,
    other: usize,
    call: &CallFacts,
) -> Option<(&'a CallFacts, Differing<'a>)> {
    let earlier = ranks.calls(rank).filter(|it| {
        it.comm == call.comm && it.kind.is_collective() && (1..call.number).contains(&it.number)
    });
    let differing = earlier.filter_map(|mine| {
        let theirs = counterpart(ranks, other, mine)?;
        let difference = difference(mine, theirs).filter(|it| it.is_hopeless())?;
        Some((mine, (other, theirs, difference)))
    });
    differing.min_by_key(|(mine, _)| mine.number)
}

/// Who differs in an operation that is made of messages, of which a call is one. Of these it is not proved
/// that they hang: their messages tell that.
pub(super) fn different_steps<'a>(
    ranks: &Ranks<'a>,
    rank: usize,
    message: &CallFacts,
) -> Option<(&'a CallFacts, Vec<Differing<'a>>)> {
    let comm = ranks.comm(rank, message.comm).filter(|it| it.facts.private)?;
    let begun = |member: usize| {
        ranks
            .calls(member)
            .find(|it| it.kind == Kind::Steps && it.comm == message.comm && it.tag == message.tag)
    };
    let mine = begun(rank)?;
    let others = comm.members().filter(|&member| member != rank).filter_map(|member| {
        let other = begun(member)?;
        Some((member, other, difference(mine, other)?))
    });
    Some((mine, others.collect()))
}

/// Whether the result of a call needs something from each rank that has to give something. Where it is
/// not known how much each gives, some may give nothing, and need not be waited for.
pub(super) fn needs_all(call: &CallFacts) -> bool {
    match call.bytes {
        Some(bytes) if bytes > 0 => true,
        // A barrier, or what makes communicators: there are no elements.
        _ => call.element.is_empty() && !call.operation.ends_with("alltoallw"),
    }
}

/// The members of the communicator with lower ranks, for those calls that depend on these alone.
pub(super) fn is_before(ranks: &Ranks<'_>, call: &CallFacts, member: usize, rank: usize) -> bool {
    debug_assert_eq!(call.kind, Kind::Prefix);
    let Some(comm) = ranks.comm(rank, call.comm) else { return false };
    comm.rank_of(member) < comm.rank_of(rank)
}

//! What each rank waits for.

use super::facts::Ranks;
use super::mail;
use super::met::{self, Begun};
use crate::watch::statement::{CallFacts, Kind, Party, Statement};

/// What has to happen before a rank continues.
pub(super) struct Wait<'a> {
    /// The call that the rank is inside of.
    pub call: &'a CallFacts,
    /// Whether one of the parts is enough.
    pub one_is_enough: bool,
    pub parts: Vec<Awaited<'a>>,
    /// What other threads of the rank wait for. Of such a rank nothing is proved.
    pub other_threads: Vec<&'a CallFacts>,
}

/// One of the things that a call waits for: itself, or a request.
pub(super) struct Awaited<'a> {
    pub call: &'a CallFacts,
    pub needs: Needs,
    /// Whether it is certain that this part is not complete.
    pub is_pending: bool,
}

/// Who keeps a part from being complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Each of these ranks: without any one of them it never completes.
    Each(Vec<usize>),
    /// One of these: without all of them it never completes.
    One(Vec<usize>),
    /// It never completes, whatever anybody does.
    Hopeless,
    /// It may complete, for all that is known.
    Open,
    /// It completes without anybody.
    Nobody,
}

/// What a rank waits for, or `None` if it does not wait, or may do something that is not stated.
pub(super) fn of<'a>(ranks: &Ranks<'a>, rank: usize) -> Option<Wait<'a>> {
    let statement = ranks.statement(rank)?;
    if statement.threads || !statement.complete {
        return None;
    }
    stated(ranks, rank)
}

/// What a rank says it waits for.
pub(super) fn stated<'a>(ranks: &Ranks<'a>, rank: usize) -> Option<Wait<'a>> {
    let statement = ranks.statement(rank)?;
    let call = ranks.inside(rank).filter(|it| !matches!(it.kind, Kind::Local | Kind::Steps));
    let mut others = statement.other_threads.iter();
    let call = call.or_else(|| others.next())?;
    let wait = wait_in(ranks, rank, statement, call);
    Some(Wait { other_threads: others.collect(), ..wait })
}

fn wait_in<'a>(
    ranks: &Ranks<'a>,
    rank: usize,
    statement: &'a Statement,
    call: &'a CallFacts,
) -> Wait<'a> {
    let one_is_enough = call.kind == Kind::WaitAny;
    let parts = match call.kind {
        Kind::WaitAll | Kind::WaitAny => {
            let waited = statement.requests.iter().filter(|it| it.waited);
            waited.map(|it| part(ranks, rank, &it.call)).collect()
        }
        _ => vec![part(ranks, rank, call)],
    };
    Wait { call, one_is_enough, parts, other_threads: Vec::new() }
}

fn part<'a>(ranks: &Ranks<'a>, rank: usize, call: &'a CallFacts) -> Awaited<'a> {
    // A receive is not complete if no message for it has been sent, a collective not if data is
    // missing that it gives. Whether a library has taken a message out of the sender's hands, nobody
    // tells.
    let (needs, is_pending) = match call.kind {
        Kind::BufferedSend => (Needs::Nobody, false),
        Kind::Send | Kind::SyncSend => (sending(ranks, rank, call), false),
        // Of what a process that is gone has sent at last nobody knows.
        Kind::Receive | Kind::Probe => {
            let needs = receiving(ranks, rank, call);
            let is_known =
                matches!(&needs, Needs::One(all) if !all.iter().any(|&it| ranks.is_gone(it)));
            (needs, is_known)
        }
        Kind::Finalize => (finalizing(ranks, rank), false),
        kind if kind.is_collective() => collective(ranks, rank, call),
        _ => (Needs::Open, false),
    };
    Awaited { call, needs, is_pending }
}

fn receiving(ranks: &Ranks<'_>, rank: usize, call: &CallFacts) -> Needs {
    let Some(comm) = ranks.comm(rank, call.comm) else { return Needs::Open };
    let sources: Vec<usize> = match call.party {
        Party::Null => return Needs::Nobody,
        Party::None => return Needs::Open,
        Party::Any => comm.members().collect(),
        Party::Rank(source) => match comm.world_rank(source) {
            Some(source) => vec![source],
            None => return Needs::Open,
        },
    };
    let may_come = |&from: &usize| mail::between(ranks, call.comm, from, rank).may_hold(call.tag);
    // Nothing is known of the mail of ranks that are not seen standing still. They are not stuck either.
    let is_known = |rank: &usize| ranks.statement(*rank).is_some() || ranks.is_silent(*rank);
    if sources.iter().filter(|it| is_known(it)).any(may_come) {
        return Needs::Open;
    }
    Needs::One(sources)
}

fn sending(ranks: &Ranks<'_>, rank: usize, call: &CallFacts) -> Needs {
    let receiver = match call.party {
        Party::Null => return Needs::Nobody,
        _ => ranks.party(rank, call),
    };
    let (Some(receiver), Some(tag)) = (receiver, call.tag) else { return Needs::Open };
    if ranks.is_gone(receiver) {
        return Needs::One(vec![receiver]);
    }
    if ranks.statement(receiver).is_none() {
        return if ranks.is_silent(receiver) { Needs::Open } else { Needs::One(vec![receiver]) };
    }
    let is_taken = !mail::between(ranks, call.comm, rank, receiver).holds(tag);
    if is_taken || is_expected(ranks, rank, receiver, call) {
        return Needs::Open;
    }
    Needs::One(vec![receiver])
}

/// Whether the receiver waits for such a message, or would take it beside what it waits for.
fn is_expected(ranks: &Ranks<'_>, rank: usize, receiver: usize, call: &CallFacts) -> bool {
    let Some(statement) = ranks.statement(receiver) else { return false };
    let me = ranks.comm(receiver, call.comm).and_then(|comm| comm.rank_of(rank));
    let requests = statement.requests.iter().map(|it| &it.call);
    ranks.inside(receiver).into_iter().chain(requests).any(|it| {
        matches!(it.kind, Kind::Receive | Kind::Probe)
            && it.comm == call.comm
            && (it.party == Party::Any || me.is_some_and(|me| it.party == Party::Rank(me)))
            && (it.tag.is_none() || it.tag == call.tag)
    })
}

/// Who is missing at the end.
fn finalizing(ranks: &Ranks<'_>, rank: usize) -> Needs {
    let all = (0..ranks.len()).filter(|&it| it != rank);
    Needs::Each(all.filter(|&it| !ranks.has_left(it)).collect())
}

fn collective(ranks: &Ranks<'_>, rank: usize, call: &CallFacts) -> (Needs, bool) {
    let Some(comm) = ranks.comm(rank, call.comm) else { return (Needs::Open, false) };
    let foreign = |member| ranks.comm(member, call.comm).is_some_and(|it| it.facts.foreign);
    if call.number == 0 || comm.members().any(foreign) {
        return (Needs::Open, false);
    }
    let different = met::different(ranks, rank, call);
    // Who means something else by this number never comes to this call.
    let never: Vec<usize> = different
        .iter()
        .filter(|(_, _, it)| it.is_hopeless())
        .map(|(member, ..)| *member)
        .collect();
    let others: Vec<usize> = match call.kind {
        Kind::Neighbors => {
            comm.facts.neighbors.iter().filter_map(|&it| comm.world_rank(it)).collect()
        }
        _ => comm.members().collect(),
    };
    let others: Vec<usize> = others.into_iter().filter(|&it| it != rank).collect();
    let begun = |member: usize| match met::has_begun(ranks, member, call) {
        Begun::Yes if never.contains(&member) => Begun::No,
        begun => begun,
    };
    let missing: Vec<usize> = others.iter().copied().filter(|&it| begun(it) == Begun::No).collect();
    if missing.is_empty() {
        let all_are_here = others.iter().all(|&it| begun(it) == Begun::Yes);
        let hangs = different.iter().any(|(_, _, difference)| difference.may_hang());
        let needs = if all_are_here && hangs { Needs::One(others) } else { Needs::Open };
        return (needs, false);
    }
    let root = ranks.party(rank, call);
    let needed: Vec<usize> = match call.kind {
        Kind::Collective => missing,
        Kind::FromRoot => missing.into_iter().filter(|&it| Some(it) == root).collect(),
        Kind::ToRoot if root == Some(rank) => missing,
        Kind::Prefix => {
            missing.into_iter().filter(|&it| met::is_before(ranks, call, it, rank)).collect()
        }
        _ => Vec::new(),
    };
    // A process that is gone may have done its part after its last statement.
    let needed: Vec<usize> = needed.into_iter().filter(|&it| !ranks.is_gone(it)).collect();
    if !needed.is_empty() && met::needs_all(call) {
        let is_hopeless = needed.iter().any(|it| never.contains(it));
        return (if is_hopeless { Needs::Hopeless } else { Needs::Each(needed) }, true);
    }
    // Who passes on what to whom is the library's secret: any of the others may help.
    let help: Vec<usize> = others.into_iter().filter(|it| !never.contains(it)).collect();
    (if help.is_empty() { Needs::Hopeless } else { Needs::One(help) }, false)
}

//! Messages that were sent and not received, and which tags they have.

use std::collections::{BTreeSet, HashMap};

use super::facts::Ranks;
use crate::watch::statement::{CallFacts, Kind, Party, Seen, message, number_of};

/// What is on its way from one rank to another on a communicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mail {
    Nothing,
    /// Messages with these tags.
    Tags(Vec<i32>),
    /// So many messages, of which the tags are not known.
    Some,
    /// It cannot be said whether there is anything.
    Unknown,
}

impl Mail {
    /// Whether a message that a receive would take may be on its way.
    pub fn may_hold(&self, wanted: Option<i32>) -> bool {
        match self {
            Mail::Nothing => false,
            Mail::Tags(tags) => wanted.is_none_or(|tag| tags.contains(&tag)),
            Mail::Some | Mail::Unknown => true,
        }
    }

    /// Whether a message with this tag is certainly on its way.
    pub fn holds(&self, tag: i32) -> bool {
        matches!(self, Mail::Tags(tags) if tags.contains(&tag))
    }
}

/// What `from` has sent to `to` on a communicator and `to` has not received.
pub(super) fn between(ranks: &Ranks<'_>, id: u64, from: usize, to: usize) -> Mail {
    let (sender, receiver) = (ranks.comm(from, id), ranks.comm(to, id));
    match (ranks.seen(from), sender) {
        (Some(Seen::Still(_)), Some(_)) | (Some(Seen::Gone { .. }), _) => {}
        _ => return Mail::Unknown,
    }
    let Some(receiver) = receiver else { return Mail::Unknown };
    if ranks.statement(to).is_none() || receiver.facts.foreign {
        return Mail::Unknown;
    }
    // What a process that is gone has sent since its last statement has had all the time to come.
    let Some(sender) = sender else { return Mail::Nothing };
    let (Some(from_rank), Some(to_rank)) = (sender.rank_of(from), sender.rank_of(to)) else {
        return Mail::Unknown;
    };
    if sender.facts.foreign || sender.facts.members != receiver.facts.members {
        return Mail::Unknown;
    }
    let (sent, received) = (sender.traffic(to_rank), receiver.traffic(from_rank));
    let sum = sent.sent.wrapping_sub(received.received);
    match number_of(sum) {
        0 if sum == 0 => Mail::Nothing,
        ..=0 if ranks.is_gone(from) => Mail::Nothing,
        ..=0 => Mail::Unknown,
        _ => {
            let sends = sends_of(ranks, id, from, to_rank);
            let found = last(sum, &sends).or_else(|| tags(sum, &tags_of(ranks, from, to)));
            found.map_or(Mail::Some, Mail::Tags)
        }
    }
}

/// The message with this tag that was sent last, for its line.
pub(super) fn sender_of<'a>(
    ranks: &Ranks<'a>,
    id: u64,
    from: usize,
    to: usize,
    tag: i32,
) -> Option<&'a CallFacts> {
    let to = ranks.comm(from, id)?.rank_of(to)?;
    ranks.calls(from).find(|call| {
        is_sending(call)
            && call.comm == id
            && call.tag == Some(tag)
            && call.party == Party::Rank(to)
    })
}

/// Whether a call sends a message, be it that only its request is told of as such.
pub(super) fn is_sending(call: &CallFacts) -> bool {
    call.kind.is_send() || call.kind == Kind::Local && call.operation.contains("send")
}

/// The tags of the messages to a rank of the communicator that are remembered, latest first.
fn sends_of(ranks: &Ranks<'_>, id: u64, from: usize, to: u32) -> Vec<i32> {
    let calls = ranks.calls(from);
    let sends = calls.filter(|it| is_sending(it) && it.comm == id && it.party == Party::Rank(to));
    sends.filter_map(|it| it.tag).collect()
}

/// The tags of the messages that were sent last, if those are the messages.
fn last(wanted: u64, sends: &[i32]) -> Option<Vec<i32>> {
    let tags = sends.get(..usize::try_from(number_of(wanted)).ok()?)?;
    let sum = tags.iter().fold(0_u64, |sum, &tag| sum.wrapping_add(message(tag)));
    (sum == wanted).then(|| tags.to_vec())
}

/// How many tags are tried.
const MOST: usize = 64;

/// Tags that two ranks use, and those that programs use which number few messages.
fn tags_of(ranks: &Ranks<'_>, from: usize, to: usize) -> Vec<i32> {
    let told = |rank| ranks.calls(rank).filter_map(|call| call.tag);
    let mut tags: BTreeSet<i32> = told(from).take(MOST).collect();
    tags.extend(told(to).take(MOST));
    tags.extend(0..16);
    // The small ones are the most common.
    tags.into_iter().filter(|&tag| tag >= 0).take(2 * MOST).collect()
}

/// Which of the messages with these tags, in the order in which they were sent, were not received, if
/// that is the sum of those. Messages with one tag are received in order.
pub(crate) fn unreceived(sent: &[i32], sum: u64) -> Option<Vec<usize>> {
    let known: BTreeSet<i32> = sent.iter().copied().collect();
    let mut missing = tags(sum, &known.into_iter().collect::<Vec<_>>())?;
    let mut found = Vec::new();
    for (index, tag) in sent.iter().enumerate().rev() {
        if let Some(at) = missing.iter().position(|it| it == tag) {
            missing.swap_remove(at);
            found.push(index);
        }
    }
    found.reverse();
    missing.is_empty().then_some(found)
}

/// Which tags messages have, by their sum: any four, or any two often.
fn tags(wanted: u64, known: &[i32]) -> Option<Vec<i32>> {
    let number = usize::try_from(number_of(wanted)).ok()?;
    if number == 1 {
        return known.iter().find(|&&tag| message(tag) == wanted).map(|&tag| vec![tag]);
    }
    if number > 4 {
        return often(number, wanted, known);
    }
    let by_sum: HashMap<u64, [i32; 2]> = pairs(known).collect();
    let two = |rest: u64| by_sum.get(&rest).copied();
    let three = |rest: u64| {
        let found = |&tag: &i32| Some((tag, two(rest.wrapping_sub(message(tag)))?));
        known.iter().find_map(found).map(|(tag, [second, third])| [tag, second, third])
    };
    match number {
        2 => two(wanted).map(Vec::from),
        3 => three(wanted).map(Vec::from),
        _ => {
            let rest = |(sum, pair)| Some([pair, two(wanted.wrapping_sub(sum))?].concat());
            pairs(known).find_map(rest)
        }
    }
}

/// All pairs of tags, with their sums.
fn pairs(known: &[i32]) -> impl Iterator<Item = (u64, [i32; 2])> {
    known.iter().enumerate().flat_map(move |(at, &first)| {
        let sum = move |second| message(first).wrapping_add(message(second));
        known[at..].iter().map(move |&second| (sum(second), [first, second]))
    })
}

/// How many messages with two tags are told apart.
const OFTEN: usize = 64;

fn often(number: usize, wanted: u64, known: &[i32]) -> Option<Vec<i32>> {
    for (at, &first) in known.iter().enumerate() {
        let all = message(first).wrapping_mul(number as u64);
        if all == wanted {
            return Some(vec![first; number]);
        }
        if number > OFTEN {
            continue;
        }
        for &second in &known[at + 1..] {
            let step = message(second).wrapping_sub(message(first));
            let mut sum = all;
            for count in 1..number {
                sum = sum.wrapping_add(step);
                if sum == wanted {
                    let mut tags = vec![first; number - count];
                    tags.resize(number, second);
                    return Some(tags);
                }
            }
        }
    }
    None
}

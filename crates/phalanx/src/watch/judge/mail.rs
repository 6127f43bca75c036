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

/// These tags, if the messages are the last that were sent and too many for [`few`].
fn last(sum: u64, sends: &[i32]) -> Option<Vec<i32>> {
    let number = usize::try_from(number_of(sum)).ok().filter(|&it| it > 4)?;
    let tags = sends.get(..number)?;
    let theirs = tags.iter().fold(0_u64, |sum, &tag| sum.wrapping_add(message(tag)));
    (theirs == sum).then(|| tags.to_vec())
}

/// How many tags are tried.
const MOST: usize = 64;

/// Tags that two ranks use, and those that programs use which number few messages.
fn tags_of(ranks: &Ranks<'_>, from: usize, to: usize) -> Vec<i32> {
    let tags_of = |rank| ranks.calls(rank).filter_map(|call| call.tag);
    let mut tags: BTreeSet<i32> = tags_of(from).take(MOST).collect();
    tags.extend(tags_of(to).take(MOST));
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

/// Which tags messages have, by their sum: any four, or any two often. `None` if several answers are
/// possible: what is wrong must not look like a proof.
fn tags(sum: u64, known: &[i32]) -> Option<Vec<i32>> {
    let number = usize::try_from(number_of(sum)).ok()?;
    let mut found = match number {
        0 => return None,
        1 => known.iter().filter(|&&tag| message(tag) == sum).map(|&tag| vec![tag]).collect(),
        // Too many pairs.
        _ if known.len() > 4 * MOST => return None,
        2..=4 => few(number, sum, known),
        _ => often(number, sum, known),
    };
    let tags = found.pop_first()?;
    found.is_empty().then_some(tags)
}

/// All sets of two, three or four tags with this sum.
fn few(number: usize, sum: u64, known: &[i32]) -> BTreeSet<Vec<i32>> {
    let mut by_sum: HashMap<u64, Vec<[i32; 2]>> = HashMap::new();
    for (sum, pair) in pairs(known) {
        by_sum.entry(sum).or_default().push(pair);
    }
    let two = |rest: u64| by_sum.get(&rest).map_or(&[][..], Vec::as_slice);
    let mut found = BTreeSet::new();
    let mut add = |some: &[i32], others: &[[i32; 2]]| {
        for pair in others {
            let mut tags = [some, pair].concat();
            tags.sort_unstable();
            found.insert(tags);
        }
    };
    match number {
        2 => add(&[], two(sum)),
        3 => known.iter().for_each(|&tag| add(&[tag], two(sum.wrapping_sub(message(tag))))),
        _ => pairs(known).for_each(|(part, pair)| add(&pair, two(sum.wrapping_sub(part)))),
    }
    found
}

/// All pairs of tags, with the their sums.
fn pairs(known: &[i32]) -> impl Iterator<Item = (u64, [i32; 2])> {
    known.iter().enumerate().flat_map(move |(at, &first)| {
        let sum = move |second| message(first).wrapping_add(message(second));
        known[at..].iter().map(move |&second| (sum(second), [first, second]))
    })
}

/// How many messages with two tags are told apart.
const OFTEN: usize = 64;

fn often(number: usize, wanted: u64, known: &[i32]) -> BTreeSet<Vec<i32>> {
    let mut found = BTreeSet::new();
    for (at, &first) in known.iter().enumerate() {
        let all = message(first).wrapping_mul(number as u64);
        if all == wanted {
            found.insert(vec![first; number]);
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
                    found.insert(tags);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of(tags: &[i32]) -> u64 {
        tags.iter().fold(0, |sum: u64, &tag| sum.wrapping_add(message(tag)))
    }

    #[test]
    fn no_two_sets_of_common_tags_have_the_same_sum() {
        let mut known: HashMap<u64, Vec<i32>> = HashMap::new();
        let mut add = |tags: &[i32]| {
            if let Some(other) = known.insert(sum_of(tags), tags.to_vec()) {
                panic!("{tags:?} and {other:?}");
            }
        };
        for first in 0..100 {
            add(&[first]);
            for second in first..100 {
                add(&[first, second]);
                for third in second..100 {
                    add(&[first, second, third]);
                    for fourth in third..40 {
                        add(&[first, second, third, fourth]);
                    }
                }
            }
        }
    }

    #[test]
    fn tags_are_found_by_their_sum() {
        let known: Vec<i32> = (0..20).chain([4711, 100_000]).collect();
        let cases: &[&[i32]] =
            &[&[7], &[3, 4711], &[5, 5, 5], &[0, 1, 2, 100_000], &[4, 4, 4, 4, 4, 9]];
        for tags in cases {
            assert_eq!(super::tags(sum_of(tags), &known).as_deref(), Some(*tags));
        }
        assert_eq!(super::tags(sum_of(&[99]), &known), None);
        assert_eq!(super::tags(sum_of(&[1, 2, 3, 4, 5, 6]), &known), None);
        assert_eq!(
            last(sum_of(&[1, 2, 3, 4, 5, 6]), &[6, 5, 4, 3, 2, 1, 0]).map(|it| it.len()),
            Some(6)
        );
    }
}

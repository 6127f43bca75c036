//! Which message a receive has got: the how-manieth with its tag from its sender.
//!
//! Messages with one tag from one rank to another do not overtake each other, so that the n-th note is that of
//! the n-th message. Receives are matched in the order in which they were posted, but completed in any order:
//! who has got the n-th message follows from the receives that are open. Where a receive from any source or with
//! any tag is among them it may not follow, and then nothing is said, until it does again. Pure: makes no calls.

use std::collections::{HashMap, HashSet};

/// The messages of which each has its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The number of the communicator, which is the same on all members.
    pub comm: u64,
    /// Rank in the communicator.
    pub source: i32,
    pub tag: i32,
}

/// The number of a message that is certainly the one, from 1.
pub(in crate::raw) type Number = Option<u64>;

/// What a receive takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern {
    pub comm: u64,
    pub source: Option<i32>,
    pub tag: Option<i32>,
}

impl Pattern {
    fn takes(&self, key: Key) -> bool {
        self.comm == key.comm
            && self.source.is_none_or(|source| source == key.source)
            && self.tag.is_none_or(|tag| tag == key.tag)
    }
}

/// A receive that was posted and is not known to be complete.
struct Open {
    place: u16,
    pattern: Pattern,
    /// Whether it has its message, and which.
    matched: Option<Number>,
    /// Whether it may have been cancelled.
    doubtful: bool,
}

impl Open {
    fn may_take(&self, key: Key) -> bool {
        self.matched.is_none() && self.pattern.takes(key)
    }

    /// Whether it has certainly taken a message if a later receive has got one that it would take.
    fn is_first_come(&self) -> bool {
        self.pattern.source.is_some() && self.pattern.tag.is_some() && !self.doubtful
    }
}

/// More keys than a program that goes on for ever may leave behind.
const MOST_KEYS: usize = 1 << 16;

/// The receives of this rank.
#[derive(Default)]
pub(super) struct Order {
    /// In the order in which they were posted.
    open: Vec<Open>,
    /// How many messages have been received.
    received: HashMap<Key, u64>,
    /// Of which it is not known which receive has got which.
    unsure: HashSet<Key>,
    /// Communicators on which messages were lost sight of.
    lost: HashSet<u64>,
}

impl Order {
    /// A receive was posted.
    pub fn post(&mut self, place: u16, pattern: Pattern) {
        self.open.push(Open { place, pattern, matched: None, doubtful: false });
    }

    /// A receive of a message that was matched before.
    pub fn post_matched(&mut self, place: u16, pattern: Pattern, number: Number) {
        self.open.push(Open { place, pattern, matched: Some(number), doubtful: false });
    }

    /// Somebody tries to cancel a receive.
    pub fn cancel(&mut self, place: u16) {
        self.open.iter_mut().filter(|it| it.place == place).for_each(|it| it.doubtful = true);
    }

    /// A message was matched by something later than all receives that are open.
    pub fn match_now(&mut self, key: Key) -> Number {
        let number = self.assign(self.open.len(), key);
        self.forget_certain();
        number
    }

    /// A receive is complete, and this was its message.
    pub fn complete(&mut self, place: u16, key: Key) -> Number {
        let Some(at) = self.open.iter().position(|it| it.place == place) else {
            // Nobody has seen it posted.
            self.lose(key.comm);
            return None;
        };
        let number = match self.open[at].matched {
            Some(number) => number,
            None => self.assign(at, key),
        };
        self.open.remove(at);
        self.forget_certain();
        number
    }

    /// A receive is over without a message.
    pub fn close(&mut self, place: u16) {
        self.open.retain(|it| it.place != place);
        self.forget_certain();
    }

    /// Nothing is known any more of the messages on a communicator.
    pub fn lose(&mut self, comm: u64) {
        self.lost.insert(comm);
        self.received.retain(|key, _| key.comm != comm);
        self.unsure.retain(|key| key.comm != comm);
    }

    /// Forgets communicators that are not among these, when there is much to remember.
    pub fn shrink(&mut self, is_known: impl Fn(u64) -> bool) {
        if self.received.len() < MOST_KEYS {
            return;
        }
        self.received.retain(|key, _| is_known(key.comm));
        if self.received.len() >= MOST_KEYS {
            let comms: HashSet<u64> = self.received.keys().map(|key| key.comm).collect();
            comms.into_iter().for_each(|comm| self.lose(comm));
        }
    }

    fn next(&mut self, key: Key) -> u64 {
        let received = self.received.entry(key).or_insert(0);
        *received += 1;
        *received
    }

    /// The number of a message of a receive that comes after the first `before` ones.
    fn assign(&mut self, before: usize, key: Key) -> Number {
        if self.lost.contains(&key.comm) {
            return None;
        }
        let mut sure = !self.unsure.contains(&key);
        for at in 0..before {
            if !self.open[at].may_take(key) {
                continue;
            }
            if self.open[at].is_first_come() {
                let number = self.next(key);
                self.open[at].matched = Some(sure.then_some(number));
            } else {
                sure = false;
            }
        }
        let number = self.next(key);
        if !sure {
            self.unsure.insert(key);
        }
        sure.then_some(number)
    }

    /// When nobody is left who may have taken one of its messages, all of them are counted.
    fn forget_certain(&mut self) {
        let open = &self.open;
        self.unsure.retain(|&key| open.iter().any(|it| it.may_take(key)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { comm: 1, source: 2, tag: 3 };

    fn exact() -> Pattern {
        Pattern { comm: 1, source: Some(2), tag: Some(3) }
    }

    fn any() -> Pattern {
        Pattern { comm: 1, source: None, tag: Some(3) }
    }

    #[test]
    fn receives_in_order_have_the_messages_in_order() {
        let mut order = Order::default();
        assert_eq!((order.match_now(KEY), order.match_now(KEY)), (Some(1), Some(2)));
        assert_eq!(order.match_now(Key { tag: 4, ..KEY }), Some(1));
        for place in 0..3 {
            order.post(place, any());
        }
        for place in 0..3 {
            assert_eq!(order.complete(place, KEY), Some(3 + u64::from(place)));
        }
    }

    #[test]
    fn who_was_posted_first_has_the_first_message_whoever_is_complete_first() {
        let mut order = Order::default();
        for place in 0..4 {
            order.post(place, exact());
        }
        assert_eq!(order.complete(2, KEY), Some(3));
        // One that comes later than all of them.
        assert_eq!(order.match_now(KEY), Some(5));
        assert_eq!(order.complete(0, KEY), Some(1));
        assert_eq!(order.complete(3, KEY), Some(4));
        assert_eq!(order.complete(1, KEY), Some(2));
        assert_eq!(order.match_now(KEY), Some(6));
    }

    #[test]
    fn where_a_receive_from_any_source_may_have_it_nothing_is_said_until_it_is_known() {
        let mut order = Order::default();
        order.post(0, exact());
        order.post(1, any());
        order.post(2, exact());
        assert_eq!(order.complete(2, KEY), None);
        assert_eq!(order.complete(0, KEY), Some(1), "it was before the doubtful one");
        assert_eq!(order.match_now(KEY), None);
        // It has got the message of somebody else, or one of these: either way all are counted now.
        assert_eq!(order.complete(1, Key { source: 5, ..KEY }), Some(1));
        assert_eq!(order.match_now(KEY), Some(4));
    }

    #[test]
    fn receives_that_are_cancelled_take_no_number() {
        let mut order = Order::default();
        order.post(0, exact());
        order.post(1, exact());
        order.cancel(0);
        assert_eq!(order.complete(1, KEY), None, "the first may have been cancelled, or not");
        order.close(0);
        assert_eq!(order.match_now(KEY), Some(2));
    }

    #[test]
    fn a_probed_message_keeps_its_number() {
        let mut order = Order::default();
        let probed = order.match_now(KEY);
        assert_eq!((probed, order.match_now(KEY)), (Some(1), Some(2)));
        order.post_matched(7, exact(), probed);
        assert_eq!(order.match_now(KEY), Some(3));
        assert_eq!(order.complete(7, KEY), Some(1));
    }

    #[test]
    fn what_is_lost_stays_lost_and_other_communicators_do_not_care() {
        let mut order = Order::default();
        order.lose(1);
        assert_eq!(order.match_now(KEY), None);
        assert_eq!(order.match_now(Key { comm: 2, ..KEY }), Some(1));
        assert_eq!(order.complete(9, Key { comm: 2, ..KEY }), None, "nobody has posted it");
        assert_eq!(order.match_now(Key { comm: 2, ..KEY }), None);
    }

    /// Any order of posting and completing: what is said is what MPI's rule of matching says.
    #[test]
    fn what_is_said_is_true_in_thousands_of_programs() {
        let mut state = 12345_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let (mut said, mut silent) = (0, 0);
        for _ in 0..3000 {
            let mut order = Order::default();
            let mut sent = HashMap::new();
            // Posted, with the message that MPI gives it.
            type Posted = (u16, Pattern, Option<(Key, u64)>);
            let mut open: Vec<Posted> = Vec::new();
            let mut check = |number: Number, truth: u64| match number {
                Some(number) => {
                    said += 1;
                    assert_eq!(number, truth);
                }
                None => silent += 1,
            };
            for place in 0..30_u16 {
                let key = Key { comm: 1, source: random(2) as i32, tag: random(2) as i32 };
                match random(4) {
                    0 | 1 => {
                        let source = (random(3) > 0).then_some(key.source);
                        let tag = (random(3) > 0).then_some(key.tag);
                        let pattern = Pattern { comm: 1, source, tag };
                        order.post(place, pattern);
                        open.push((place, pattern, None));
                    }
                    2 => {
                        // A message comes: the first that takes it has it, or a blocking receive.
                        let number = sent.entry(key).or_insert(0);
                        *number += 1;
                        let taker = open.iter_mut().find(|it| it.2.is_none() && it.1.takes(key));
                        match taker {
                            Some(taker) => taker.2 = Some((key, *number)),
                            None => check(order.match_now(key), *number),
                        }
                    }
                    _ => {
                        let done: Vec<_> =
                            (0..open.len()).filter(|&at| open[at].2.is_some()).collect();
                        if !done.is_empty() {
                            let (place, _, got) =
                                open.remove(done[random(done.len() as u64) as usize]);
                            let (key, truth) = got.expect("it has one");
                            check(order.complete(place, key), truth);
                        }
                    }
                }
            }
        }
        assert!(said > silent, "{said} said, {silent} not");
    }
}

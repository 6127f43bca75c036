//! Results of many items, as they come.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::iter::Fuse;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::dispatch::Core;
use super::job::Job;
use super::results::Outcome;
use crate::error::{Error, Result};
use crate::sys::Deadline;

/// Items that may be ahead of the one that was taken last, for each worker.
const AHEAD: usize = 8;

/// Sends the items of an iterator as workers become free, and gets the results.
pub(super) struct Feed<I: Iterator> {
    core: Arc<Core>,
    job: Arc<Job>,
    items: Fuse<I>,
    has_ended: bool,
    /// Items that were sent, and results that were handed out.
    sent: usize,
    taken: usize,
    /// Results that the user has.
    handed_on: usize,
    arrived: VecDeque<(usize, Outcome)>,
    is_bounded: bool,
    location: &'static Location<'static>,
}

impl<I: Iterator<Item: Serialize + 'static>> Feed<I> {
    pub fn new(
        core: Arc<Core>,
        job: Job,
        items: I,
        is_bounded: bool,
        location: &'static Location<'static>,
    ) -> Self {
        Feed {
            core,
            job: Arc::new(job),
            items: items.fuse(),
            has_ended: false,
            sent: 0,
            taken: 0,
            handed_on: 0,
            arrived: VecDeque::new(),
            is_bounded,
            location,
        }
    }

    fn may_send(&self, size: usize) -> bool {
        !self.has_ended
            && (!self.is_bounded
                || self.sent - self.handed_on < AHEAD * self.core.settings.workers * size.max(2))
    }

    fn send(&mut self) {
        let workers = self.core.settings.workers;
        loop {
            let left = match self.items.size_hint() {
                (_, Some(upper)) => Some(upper),
                _ => None,
            };
            let settings = &self.core.settings;
            // A worker ends between batches.
            let most = settings.limit.unwrap_or(usize::MAX);
            let size =
                settings.chunk.unwrap_or_else(|| self.job.batch_size(left, workers).min(most));
            if !self.may_send(size) || !self.core.wants_work() {
                return;
            }
            // The user's iterator runs while nothing is locked.
            let items: Vec<I::Item> = self.items.by_ref().take(size).collect();
            self.has_ended = items.len() < size;
            let (job, mut first) = (self.job.clone(), self.sent);
            self.sent += items.len();
            let mut items = items.into_iter().peekable();
            while items.peek().is_some() {
                let mut refused = None;
                let mut count = 0;
                self.core.give(&job, first, |batch| {
                    for item in items.by_ref() {
                        count += 1;
                        if let Err(error) = batch.push(job.operation, &item) {
                            refused = Some(error);
                            break;
                        }
                    }
                });
                first += count;
                if let Some(error) = refused {
                    job.deliver([(first - 1, Outcome::Failed(error))]);
                }
            }
        }
    }

    /// The next result to come, with the number of its item.
    pub fn next(&mut self) -> Option<(usize, Outcome)> {
        loop {
            if let Some(outcome) = self.arrived.pop_front() {
                self.taken += 1;
                return Some(outcome);
            }
            self.send();
            self.arrived.extend(self.job.take());
            if !self.arrived.is_empty() {
                continue;
            }
            if self.has_ended && self.taken == self.sent {
                return None;
            }
            // Other jobs may leave no room for this one until they end.
            let (core, job, may_send) = (&self.core, &self.job, self.may_send(1));
            core.wait(|| job.has_outcomes() || (may_send && core.wants_work()), Deadline::NEVER);
        }
    }

    pub fn open<R: DeserializeOwned + 'static>(
        &mut self,
        index: usize,
        outcome: Outcome,
    ) -> Result<R> {
        self.handed_on += 1;
        outcome.open(self.job.operation).map_err(|error| self.locate(index, error))
    }

    fn locate(&self, index: usize, error: Error) -> Error {
        error
            .of(format_args!("pool `{}`", self.core.settings.name))
            .with_item(index)
            .at(self.location)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let waiting = self.sent - self.taken;
        let (lower, upper) = if self.has_ended { (0, Some(0)) } else { self.items.size_hint() };
        (lower.saturating_add(waiting), upper.and_then(|upper| upper.checked_add(waiting)))
    }
}

impl<I: Iterator> Drop for Feed<I> {
    fn drop(&mut self) {
        // Nobody wants what is not taken.
        self.core.take_back(&self.job);
    }
}

/// The iterator of [`Pool::imap`](super::Pool::imap): results in the order of the items.
pub struct Imap<I: Iterator, R> {
    feed: Feed<I>,
    early: BTreeMap<usize, Outcome>,
    next: usize,
    results: PhantomData<fn() -> R>,
}

impl<I: Iterator<Item: Serialize + 'static>, R> Imap<I, R> {
    pub(super) fn new(feed: Feed<I>) -> Self {
        Imap { feed, early: BTreeMap::new(), next: 0, results: PhantomData }
    }
}

impl<I: Iterator<Item: Serialize + 'static>, R: DeserializeOwned + 'static> Iterator
    for Imap<I, R>
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        loop {
            if let Some(outcome) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(self.feed.open(self.next - 1, outcome));
            }
            let (index, outcome) = self.feed.next()?;
            if index != self.next {
                // It is not handed out yet, and keeps its place in the look-ahead.
                self.early.insert(index, outcome);
                continue;
            }
            self.next += 1;
            return Some(self.feed.open(index, outcome));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (lower, upper) = self.feed.size_hint();
        (
            lower.saturating_add(self.early.len()),
            upper.and_then(|upper| upper.checked_add(self.early.len())),
        )
    }
}

/// The iterator of [`Pool::imap_unordered`](super::Pool::imap_unordered): results as they come, each with the number
/// of its item.
pub struct ImapUnordered<I: Iterator, R> {
    feed: Feed<I>,
    results: PhantomData<fn() -> R>,
}

impl<I: Iterator<Item: Serialize + 'static>, R> ImapUnordered<I, R> {
    pub(super) fn new(feed: Feed<I>) -> Self {
        ImapUnordered { feed, results: PhantomData }
    }
}

impl<I: Iterator<Item: Serialize + 'static>, R: DeserializeOwned + 'static> Iterator
    for ImapUnordered<I, R>
{
    type Item = (usize, Result<R>);

    fn next(&mut self) -> Option<Self::Item> {
        let (index, outcome) = self.feed.next()?;
        Some((index, self.feed.open(index, outcome)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.feed.size_hint()
    }
}

impl<I: Iterator, R> fmt::Debug for Imap<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Imap ({} sent, {} taken)", self.feed.sent, self.next)
    }
}

impl<I: Iterator, R> fmt::Debug for ImapUnordered<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImapUnordered ({} sent, {} taken)", self.feed.sent, self.feed.taken)
    }
}

//! Results in the order of their indices.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fifo::Queue;
use crate::error::Result;

/// The iterator of [`Queue::in_order`]. Results that come too early wait in memory for those before them.
pub struct InOrder<'a, T> {
    queue: &'a Queue<(usize, T)>,
    early: BTreeMap<usize, T>,
    next: usize,
    count: usize,
}

impl<'a, T> InOrder<'a, T> {
    pub(super) fn new(queue: &'a Queue<(usize, T)>, count: usize) -> Self {
        InOrder { queue, early: BTreeMap::new(), next: 0, count }
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Iterator for InOrder<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.next >= self.count {
            return None;
        }
        loop {
            if let Some(value) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(Ok(value));
            }
            match self.queue.get() {
                Ok((index, value)) => {
                    self.early.insert(index, value);
                }
                Err(error) => {
                    // What is missing does not come any more.
                    self.next = self.count;
                    return Some(Err(error));
                }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.count - self.next;
        (left, Some(left))
    }
}

impl<T> fmt::Debug for InOrder<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InOrder ({} of {})", self.next, self.count)
    }
}

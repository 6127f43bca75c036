//! The results of one call of the user's, as they come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::batch::Callee;
use super::results::Outcome;
use super::transport::SharedValue;
use crate::objects::Kept;

/// A batch should take so long: much longer than to send it, much shorter than the whole.
const BATCH: Duration = Duration::from_micros(500);
const LARGEST_BATCH: usize = 4096;

/// One `map`, or one `submit`.
pub struct Job {
    pub operation: &'static str,
    pub callee: Callee,
    pub shared: Option<Arc<SharedValue>>,
    /// What handles in it name.
    _kept: Option<Kept>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Results that nobody has taken yet, each with the number of its item.
    outcomes: Vec<(usize, Outcome)>,
    is_cancelled: bool,
    /// Nanoseconds that an item takes, as far as it is known.
    per_item: Option<f64>,
}

impl Job {
    pub fn new(operation: &'static str, callee: Callee) -> Job {
        Job { operation, callee, shared: None, _kept: None, inner: Mutex::default() }
    }

    /// All calls share this value.
    pub fn sharing(self, shared: SharedValue, kept: Option<Kept>) -> Job {
        Job { shared: Some(Arc::new(shared)), _kept: kept, ..self }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of results, unless nobody wants them.
    pub fn deliver(&self, outcomes: impl IntoIterator<Item = (usize, Outcome)>) {
        let mut inner = self.inner();
        if !inner.is_cancelled {
            inner.outcomes.extend(outcomes);
        }
    }

    pub fn has_outcomes(&self) -> bool {
        !self.inner().outcomes.is_empty()
    }

    pub fn take(&self) -> Vec<(usize, Outcome)> {
        std::mem::take(&mut self.inner().outcomes)
    }

    /// Nobody wants the results any more.
    pub fn cancel(&self) {
        let mut inner = self.inner();
        inner.is_cancelled = true;
        inner.outcomes = Vec::new();
    }

    pub fn is_cancelled(&self) -> bool {
        self.inner().is_cancelled
    }

    /// Items of a finished batch have taken so long.
    pub fn measure(&self, nanoseconds: i64, items: usize) {
        let per_item = nanoseconds as f64 / items.max(1) as f64;
        let mut inner = self.inner();
        inner.per_item =
            Some(inner.per_item.map_or(per_item, |before| 0.75 * before + 0.25 * per_item));
    }

    /// How many items the next batch should have.
    pub fn batch_size(&self, left: Option<usize>, workers: usize) -> usize {
        let Some(per_item) = self.inner().per_item else { return 1 };
        let by_time = (BATCH.as_nanos() as f64 / per_item.max(1.0)) as usize;
        // Towards the end they become smaller, so that all workers end together.
        let by_rest = left.map_or(LARGEST_BATCH, |left| left / (4 * workers));
        by_time.min(by_rest).clamp(1, LARGEST_BATCH)
    }
}

//! The pool that people use.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::Callee;
use super::builder::PoolBuilder;
use super::dispatch::Core;
use super::iterators::{Feed, Imap, ImapUnordered};
use super::job::Job;
use super::task::Task;
use crate::codec;
use crate::error::{Error, Result};

/// Worker processes that run functions on many items.
///
/// A worker that dies costs only the item that it worked on, which is repeated as often as
/// [asked](PoolBuilder::repeat) or fails alone; a new worker takes its place. A panic in a function is the error of
/// its item. Pools may be used by several threads, and inside of workers of other pools. When the pool is dropped its
/// workers are ended; [`join`](Pool::join) lets them finish first.
///
/// ```
/// use phalanx_process::Pool;
///
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = Pool::new(2)?;
/// assert_eq!(pool.map(square, 1..=5)?, [1, 4, 9, 16, 25]);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct Pool {
    core: Arc<Core>,
}

impl Pool {
    pub(crate) fn of(core: Arc<Core>) -> Self {
        Pool { core }
    }

    /// A pool of so many workers.
    ///
    /// # Errors
    /// As [`PoolBuilder::start`].
    #[track_caller]
    pub fn new(workers: usize) -> Result<Pool> {
        PoolBuilder::new().workers(workers).start()
    }

    /// A pool with other settings.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.core.settings.workers
    }

    /// Process ids of the workers that run now.
    pub fn pids(&self) -> Vec<u32> {
        self.core.pids()
    }

    fn permit(&self, operation: &'static str, location: &'static Location<'static>) -> Result<()> {
        self.core.permit(operation).map_err(|error| self.locate(error, location))
    }

    fn locate(&self, error: Error, location: &'static Location<'static>) -> Error {
        error.of(format_args!("pool `{}`", self.core.settings.name)).at(location)
    }

    fn job<A, R>(
        &self,
        operation: &'static str,
        function: fn(A) -> R,
        location: &'static Location<'static>,
    ) -> Result<Job>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        self.permit(operation, location)?;
        let callee =
            Callee::plain(operation, function).map_err(|error| self.locate(error, location))?;
        Ok(Job::new(operation, callee))
    }

    /// The results of a function for all items, in the order of the items.
    ///
    /// Functions of several arguments take a tuple, as in Python's `starmap`.
    ///
    /// ```
    /// use phalanx_process::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let sums = pool.map(|(a, b): (i32, i32)| a + b, [(1, 2), (3, 4)])?;
    /// assert_eq!(sums, [3, 7]);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of the first item, by its number, that has failed; see [`Error::item`]. All items are worked on
    /// nevertheless; [`imap`](Pool::imap) gives the result of each.
    #[track_caller]
    pub fn map<A, R>(
        &self,
        function: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let location = Location::caller();
        let job = self.job("map", function, location)?;
        collect(Feed::new(self.core.clone(), job, items.into_iter(), false, location))
    }

    /// [`map`](Pool::map) for functions that also get a value which is the same for all items. It is sent once to
    /// each worker.
    ///
    /// ```
    /// use phalanx_process::Pool;
    ///
    /// let table: Vec<u64> = (0..1000).map(|x| x * x).collect();
    /// let pool = Pool::new(2)?;
    /// let found = pool.map_with(&table, |table: &Vec<u64>, index: usize| table[index], [3, 5])?;
    /// assert_eq!(found, [9, 25]);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Pool::map); `Encode` when the value cannot be encoded.
    #[track_caller]
    pub fn map_with<S, A, R>(
        &self,
        shared: &S,
        function: fn(&S, A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>>
    where
        S: Serialize + DeserializeOwned + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let location = Location::caller();
        self.permit("map_with", location)?;
        let job = || {
            let mut callee = Callee::sharing("map_with", function)?;
            let mut bytes = Vec::new();
            let kept = codec::encode_kept("map_with", shared, &mut bytes)?;
            let shared = self.core.share(&mut callee, bytes)?;
            Ok(Job::new("map_with", callee).sharing(shared, kept))
        };
        let job = job().map_err(|error: Error| self.locate(error, location))?;
        collect(Feed::new(self.core.clone(), job, items.into_iter(), false, location))
    }

    /// The results of a function for all items, one after another, in the order of the items.
    ///
    /// Items are taken from the iterator as workers become free, a bounded number ahead of the results that were
    /// taken: the items need not end.
    ///
    /// ```
    /// use phalanx_process::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let first: Vec<u64> = pool.imap(|x: u64| x * 2, 0..)?.take(3).collect::<Result<_, _>>()?;
    /// assert_eq!(first, [0, 2, 4]);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Closed` when the pool takes no more work. What happens to an item is the result of that item.
    #[track_caller]
    pub fn imap<A, R, I>(&self, function: fn(A) -> R, items: I) -> Result<Imap<I::IntoIter, R>>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item = A>,
    {
        let location = Location::caller();
        let job = self.job("imap", function, location)?;
        Ok(Imap::new(Feed::new(self.core.clone(), job, items.into_iter(), true, location)))
    }

    /// [`imap`](Pool::imap), where results come as they are ready, each with the number of its item.
    ///
    /// # Errors
    /// As [`imap`](Pool::imap).
    #[track_caller]
    pub fn imap_unordered<A, R, I>(
        &self,
        function: fn(A) -> R,
        items: I,
    ) -> Result<ImapUnordered<I::IntoIter, R>>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item = A>,
    {
        let location = Location::caller();
        let job = self.job("imap_unordered", function, location)?;
        Ok(ImapUnordered::new(Feed::new(self.core.clone(), job, items.into_iter(), true, location)))
    }

    /// Has one call made, and gives a handle to its result.
    ///
    /// ```
    /// use phalanx_process::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let task = pool.submit(|text: String| text.len(), "phalanx".to_owned())?;
    /// assert_eq!(task.get()?, 7);
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Closed` when the pool takes no more work, `Encode` when the argument cannot be encoded.
    #[track_caller]
    pub fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<Task<R>>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let location = Location::caller();
        let job = Arc::new(self.job("submit", function, location)?);
        let mut pushed = Ok(());
        self.core.give(&job, 0, |batch| pushed = batch.push("submit", &argument));
        pushed.map_err(|error| self.locate(error, location))?;
        self.core.work_in_background();
        Ok(Task::new(self.core.clone(), job, location))
    }

    /// Takes no more work; what was asked for is done.
    pub fn close(&self) {
        self.core.close();
    }

    /// Takes no more work, waits until everything is done, and lets the workers end.
    ///
    /// # Errors
    /// Why the pool could not go on, if it could not.
    #[track_caller]
    pub fn join(self) -> Result<()> {
        let location = Location::caller();
        self.core.join().map_err(|error| self.locate(error, location))
    }

    /// Ends the workers at once. What was not done fails with `Closed`.
    pub fn terminate(self) {
        self.core.terminate();
    }
}

fn collect<I: Iterator<Item: Serialize + 'static>, R: DeserializeOwned + 'static>(
    mut feed: Feed<I>,
) -> Result<Vec<R>> {
    let mut results: Vec<Option<R>> = Vec::new();
    let mut failed: Option<(usize, Error)> = None;
    while let Some((index, outcome)) = feed.next() {
        if index >= results.len() {
            results.resize_with(index + 1, || None);
        }
        match feed.open(index, outcome) {
            Ok(result) => results[index] = Some(result),
            Err(error) if failed.as_ref().is_none_or(|(first, _)| index < *first) => {
                failed = Some((index, error))
            }
            Err(_) => {}
        }
    }
    match failed {
        Some((_, error)) => Err(error),
        None => Ok(results.into_iter().flatten().collect()),
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.core.terminate();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool `{}` ({} workers)", self.core.settings.name, self.workers())
    }
}

//! The settings of a pool.

use std::panic::Location;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::Callee;
use super::children::Children;
use super::dispatch::{Core, Initializer, Settings};
use super::front::Pool;
use super::lease::MAX_WORKERS;
use crate::codec;
use crate::error::{Error, ErrorKind, Result};
use crate::objects::Kept;

/// Settings of a new [`Pool`].
///
/// ```
/// use phalanx_process::Pool;
///
/// fn prepare(directory: String) {
///     assert!(!directory.is_empty());
/// }
///
/// let pool = Pool::builder()
///     .name("readers")
///     .workers(2)
///     .initializer(prepare, "/tmp".to_owned())
///     .tasks_per_child(100)
///     .repeat(1)
///     .start()?;
/// assert_eq!(pool.map(|x: u32| x + 1, [1, 2, 3])?, [2, 3, 4]);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
#[must_use = "a pool starts with `start`"]
pub struct PoolBuilder {
    name: String,
    workers: Option<usize>,
    limit: Option<usize>,
    repeats: u32,
    chunk: Option<usize>,
    initializer: Option<Result<(Initializer, Option<Arc<Kept>>)>>,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        PoolBuilder {
            name: "pool".to_owned(),
            workers: None,
            limit: None,
            repeats: 0,
            chunk: None,
            initializer: None,
        }
    }

    /// Names the pool. Its workers are `name-1`, `name-2`, …
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many workers there are: one for each core is the default.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Every worker runs this function before anything else. When it panics the pool fails with that panic.
    pub fn initializer<A>(mut self, function: fn(A), argument: A) -> Self
    where
        A: Serialize + DeserializeOwned + 'static,
    {
        let named = Callee::plain("initializer", function).and_then(|callee| {
            let mut bytes = Vec::new();
            let kept = codec::encode_kept("initializer", &argument, &mut bytes)?;
            Ok(((callee.run, callee.function, bytes), kept.map(Arc::new)))
        });
        self.initializer = Some(named);
        self
    }

    /// A worker is replaced after so many items.
    pub fn tasks_per_child(mut self, tasks: usize) -> Self {
        self.limit = Some(tasks);
        self
    }

    /// An item of which a worker dies is repeated so often, before it counts as failed. 0 is the default.
    pub fn repeat(mut self, times: u32) -> Self {
        self.repeats = times;
        self
    }

    /// So many items go to a worker at once. The default follows from the measured time of an item.
    pub fn chunk(mut self, items: usize) -> Self {
        self.chunk = Some(items);
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// `Argument` for no workers or more than 256, for a chunk or a limit of 0; `Encode` when the argument of the
    /// initializer cannot be encoded; `System` when the system refuses processes or memory.
    #[track_caller]
    pub fn start(self) -> Result<Pool> {
        let location = Location::caller();
        let workers = self.workers.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS)
        });
        let name = self.name.clone();
        let start = || {
            if workers == 0 || workers > MAX_WORKERS {
                let detail = format!("it has from 1 to {MAX_WORKERS} workers, not {workers}");
                return Err(Error::new(ErrorKind::Argument, "start", detail));
            }
            let settings = self.settings_for(workers)?;
            let children = Children::new(settings.clone())?;
            Core::start(settings, Box::new(children), true).map(Pool::of)
        };
        start().map_err(|error| error.of(format_args!("pool `{name}`")).at(location))
    }

    /// The settings of a pool with so many workers.
    pub(crate) fn settings_for(self, workers: usize) -> Result<Settings> {
        if self.chunk == Some(0) || self.limit == Some(0) {
            let detail = "a chunk, and a limit of tasks, is at least 1";
            return Err(Error::new(ErrorKind::Argument, "start", detail));
        }
        let (initializer, kept) = self.initializer.transpose()?.unzip();
        Ok(Settings {
            name: self.name,
            workers,
            limit: self.limit,
            repeats: self.repeats,
            chunk: self.chunk,
            initializer,
            _kept: kept.flatten(),
        })
    }
}

//! The result of one call, which comes later.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::dispatch::Core;
use super::job::Job;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::Deadline;

/// A call that a pool works on: the handle that [`Pool::submit`](super::Pool::submit) gives.
///
/// A handle that is dropped leaves the call to be made.
#[must_use = "the result of the call is lost"]
pub struct Task<R> {
    core: Arc<Core>,
    job: Arc<Job>,
    is_taken: bool,
    location: &'static Location<'static>,
    result: PhantomData<fn() -> R>,
}

impl<R> Task<R> {
    pub(super) fn new(
        core: Arc<Core>,
        job: Arc<Job>,
        location: &'static Location<'static>,
    ) -> Self {
        Task { core, job, is_taken: false, location, result: PhantomData }
    }

    /// Whether the result is there.
    pub fn is_ready(&self) -> bool {
        self.job.has_outcomes()
    }

    /// Waits for the result, for so long at most, and leaves it there. Says whether it is there.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.core.wait(|| self.job.has_outcomes(), Deadline::after(timeout))
    }

    /// Takes the call back. Says whether it was in time: `false` when a worker has begun with it, or may have; its
    /// result is then dropped.
    pub fn cancel(self) -> bool {
        !self.job.has_outcomes() && self.core.take_back(&self.job)
    }
}

impl<R: DeserializeOwned + 'static> Task<R> {
    /// Waits for the result.
    ///
    /// # Errors
    /// `Panicked` when the function panicked, `Died` when its worker died, `Closed` when the pool was dropped,
    /// `Encode` or `Decode` when argument or result could not travel.
    pub fn get(mut self) -> Result<R> {
        loop {
            if let Some(result) = self.get_until(Deadline::NEVER)? {
                return Ok(result);
            }
        }
    }

    /// The result, if it comes within this time.
    ///
    /// # Errors
    /// As [`get`](Task::get); `State` when it was taken already.
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<Option<R>> {
        self.get_until(Deadline::after(timeout))
    }

    /// The result, if it is there.
    ///
    /// # Errors
    /// As [`get`](Task::get); `State` when it was taken already.
    pub fn try_get(&mut self) -> Result<Option<R>> {
        self.get_until(Deadline::after(Duration::ZERO))
    }

    fn get_until(&mut self, deadline: Deadline) -> Result<Option<R>> {
        let named = |error: Error| {
            error.of(format_args!("pool `{}`", self.core.settings.name)).at(self.location)
        };
        if self.is_taken {
            return Err(named(Error::new(ErrorKind::State, "get", "the result was taken already")));
        }
        self.core.wait(|| self.job.has_outcomes(), deadline);
        let Some((_, outcome)) = self.job.take().pop() else { return Ok(None) };
        self.is_taken = true;
        outcome.open("submit").map(Some).map_err(named)
    }

    /// Calls a function with the result when it comes, on a thread of its own.
    ///
    /// ```
    /// use phalanx_process::Pool;
    ///
    /// let pool = Pool::new(1)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let told = pool.submit(|x: i32| x + 1, 1)?.then(move |result| sender.send(result.ok()).expect("it waits"));
    /// assert_eq!(receiver.recv().expect("it is told"), Some(2));
    /// told.join().expect("it does not panic");
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    pub fn then(self, f: impl FnOnce(Result<R>) + Send + 'static) -> JoinHandle<()>
    where
        R: 'static,
    {
        std::thread::spawn(move || f(self.get()))
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ready() { "Task (ready)" } else { "Task (not ready)" })
    }
}

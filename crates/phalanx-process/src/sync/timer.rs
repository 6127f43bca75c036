//! A function that runs later.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Runs,
    Cancelled,
}

type Shared = (Mutex<State>, Condvar);

/// Runs a function after some time, in a thread of this process.
///
/// A timer that is dropped runs nevertheless, if its process lives that long.
///
/// ```
/// use std::time::Duration;
/// use phalanx_process::{Event, Timer};
///
/// let event = Event::new()?;
/// let timer = Timer::after(Duration::from_millis(10), {
///     let event = event.clone();
///     move || event.set()
/// })?;
/// event.wait();
/// timer.join()?;
///
/// let timer = Timer::after(Duration::from_secs(3600), || unreachable!())?;
/// assert!(timer.cancel());
/// timer.join()?;
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct Timer {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<(), String>>,
}

impl Timer {
    /// Runs the function after so much time.
    ///
    /// # Errors
    /// `System` when the system refuses a thread.
    #[track_caller]
    pub fn after(time: Duration, function: impl FnOnce() + Send + 'static) -> Result<Self> {
        let location = Location::caller();
        let shared = Arc::new((Mutex::new(State::Waits), Condvar::new()));
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("timer".to_owned())
            .spawn(move || {
                if !wait(&theirs, time) {
                    return Ok(());
                }
                // What it has changed is its own business: it is not used here.
                catch_unwind(AssertUnwindSafe(function)).map_err(|payload| {
                    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
                    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
                })
            })
            .map_err(|error| {
                Error::new(ErrorKind::System, "after", error.to_string()).of("timer").at(location)
            })?;
        Ok(Timer { shared, thread })
    }

    /// The function will not run. Says whether that is so: it may run already.
    pub fn cancel(&self) -> bool {
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Waits {
            *state = State::Cancelled;
            changed.notify_all();
        }
        *state == State::Cancelled
    }

    /// Waits until the function has run, or was cancelled.
    ///
    /// # Errors
    /// `Panicked` when the function did.
    #[track_caller]
    pub fn join(self) -> Result<()> {
        let location = Location::caller();
        self.thread
            .join()
            .unwrap_or_else(|_| Err(String::new()))
            .map_err(|text| Error::new(ErrorKind::Panicked, "join", text).of("timer").at(location))
    }
}

/// Whether the function is to run.
fn wait((state, changed): &Shared, time: Duration) -> bool {
    let end = Instant::now().checked_add(time);
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if *state == State::Cancelled {
            return false;
        }
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            *state = State::Runs;
            return true;
        }
        (state, _) = changed
            .wait_timeout(state, left.min(Duration::from_secs(3600)))
            .unwrap_or_else(PoisonError::into_inner);
    }
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match *self.shared.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Waits => "waits",
            State::Runs => "runs, or has run",
            State::Cancelled => "cancelled",
        };
        write!(f, "Timer ({state})")
    }
}

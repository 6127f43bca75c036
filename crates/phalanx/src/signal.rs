//! Signals as a flag on which all ranks agree: how a batch system warns a program before it ends it.
//!
//! A signal reaches ranks at different times, or only one of them. A rank that acted alone would leave the
//! others waiting; with [`Signals::agreed`] all ranks see it after the same step.
//!
//! ```
//! use phalanx::signal::{Signal, Signals};
//! # phalanx::run(|world| -> phalanx::Result<()> {
//! let signals = Signals::watch(&[Signal::Usr1, Signal::Term])?;
//! for step in 0..1000 {
//!     // … compute …
//!     if step % 100 == 0 && signals.agreed(&world)?.is_some() {
//!         break; // on every rank after the same step: write a checkpoint and end
//!     }
//! }
//! # Ok(())
//! # });
//! ```
//!
//! What the launchers pass on differs: see [`Signal`].

use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::host;
use crate::op::BitOr;
use crate::record::{Call, SIGNALS};

/// A signal that a program may want to know of.
///
/// What a launcher does with one (Open MPI 4.1.4 and MPICH 5.0.2):
///
/// | sent to | Open MPI's `mpirun` | MPICH's `mpiexec` | Slurm's `srun` |
/// |---|---|---|---|
/// | [`Usr1`](Signal::Usr1) | passes it on | passes it on | passes it on |
/// | [`Usr2`](Signal::Usr2) | passes it on | dies of it | passes it on |
/// | [`Term`](Signal::Term) | passes it on, kills the ranks a second later, exit code 1 | passes it on and waits | passes it on |
/// | [`Int`](Signal::Int) | as `Term`, which is what the ranks get | passes it on and waits | a second one within a second ends the ranks |
///
/// So [`Usr1`](Signal::Usr1) is the one to ask a batch system for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// `SIGUSR1`: of no meaning of its own, the usual warning.
    Usr1,
    /// `SIGUSR2`: of no meaning of its own.
    Usr2,
    /// `SIGTERM`: the polite request to end.
    Term,
    /// `SIGINT`: Ctrl-C.
    Int,
    /// `SIGHUP`: the terminal is gone.
    Hup,
}

const ALL: [(Signal, i32); 5] = [
    (Signal::Usr1, SIGUSR1),
    (Signal::Usr2, SIGUSR2),
    (Signal::Term, SIGTERM),
    (Signal::Int, SIGINT),
    (Signal::Hup, SIGHUP),
];

impl Signal {
    /// The number that the system gives it.
    ///
    /// ```
    /// assert_eq!(phalanx::signal::Signal::Term.number(), 15);
    /// ```
    pub fn number(self) -> i32 {
        ALL[self.index()].1
    }

    /// Its place in [`ALL`].
    fn index(self) -> usize {
        self as usize
    }

    /// The bit that stands for it.
    fn bit(self) -> u64 {
        1 << self.index()
    }

    /// Of signals as bits, the one that asks for most: to end before to be warned.
    fn most_urgent(bits: u64) -> Option<Signal> {
        [Signal::Term, Signal::Int, Signal::Hup, Signal::Usr2, Signal::Usr1]
            .into_iter()
            .find(|signal| signal.bit() & bits != 0)
    }
}

/// Signals that do not end this process any more, but are remembered.
///
/// When the last one that watches a signal is dropped, the signal does again what it did before: it ends the
/// process, or is ignored.
pub struct Signals {
    watched: Vec<Watched>,
}

/// A signal that is watched.
struct Watched {
    signal: Signal,
    has_come: Arc<AtomicBool>,
    handler: SigId,
}

/// Of each signal of [`ALL`]: how many watch it, and what tells its handler that nobody does. A handler
/// stays for the rest of the process.
static WATCHERS: Mutex<[Option<Watchers>; ALL.len()]> = Mutex::new([const { None }; ALL.len()]);

struct Watchers {
    count: usize,
    nobody: Arc<AtomicBool>,
}

impl Signals {
    /// From now on these signals are remembered. Not collective, but a rank that has not called it is
    /// ended by them: call it on all ranks, early.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) if the system refuses a handler.
    #[track_caller]
    pub fn watch(signals: &[Signal]) -> Result<Signals> {
        let location = Location::caller();
        let mut all = Signals { watched: Vec::new() };
        for &signal in signals {
            let watched = Watched::new(signal).map_err(|error| {
                let detail = format!("no handler for signal {}: {error}", signal.number());
                Error::new(ErrorKind::State, &Call::local(&SIGNALS, location), detail)
            })?;
            all.watched.push(watched);
        }
        Ok(all)
    }

    /// The signal that has come to this rank; of several the most urgent, as for [`agreed`](Self::agreed).
    /// Others may not have seen it: do nothing that they would have to take part in.
    pub fn seen(&self) -> Option<Signal> {
        Signal::most_urgent(self.bits())
    }

    /// The signal that has come to any rank, the same on all; of several the most urgent: a request to end
    /// ([`Term`](Signal::Term), [`Int`](Signal::Int), [`Hup`](Signal::Hup)) is not hidden by a warning
    /// ([`Usr2`](Signal::Usr2), [`Usr1`](Signal::Usr1)). It is remembered until it is
    /// [forgotten](Self::forget). Collective: it costs an allreduce of 8 bytes, so a program with short
    /// steps asks now and then.
    ///
    /// # Errors
    /// Those of [`allreduce`](Comm::allreduce).
    ///
    /// MPI: `MPI_Allreduce`.
    #[track_caller]
    pub fn agreed(&self, comm: &Comm) -> Result<Option<Signal>> {
        Ok(Signal::most_urgent(comm.allreduce(&self.bits(), BitOr)?))
    }

    /// Forgets a signal that was acted on, on this rank: for a program that saves and goes on. If it comes to
    /// other ranks later, it is seen again.
    ///
    /// ```
    /// use phalanx::signal::{Signal, Signals};
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let signals = Signals::watch(&[Signal::Usr1, Signal::Term])?;
    /// for _step in 0..100 {
    ///     match signals.agreed(&world)? {
    ///         Some(Signal::Usr1) => signals.forget(Signal::Usr1), // save, and go on
    ///         Some(_) => break,
    ///         None => {}
    ///     }
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn forget(&self, signal: Signal) {
        for watched in self.watched.iter().filter(|it| it.signal == signal) {
            watched.has_come.store(false, Relaxed);
        }
    }

    fn bits(&self) -> u64 {
        let came = self.watched.iter().filter(|it| it.has_come.load(Relaxed));
        came.fold(0, |bits, it| bits | it.signal.bit())
    }
}

impl Watched {
    fn new(signal: Signal) -> std::io::Result<Watched> {
        let number = signal.number();
        let mut all = WATCHERS.lock().unwrap_or_else(PoisonError::into_inner);
        let watchers = &mut all[signal.index()];
        let watchers = match watchers {
            Some(watchers) => watchers,
            None => {
                let nobody = Arc::new(AtomicBool::new(false));
                if !host::ignores(number) {
                    signal_hook::flag::register_conditional_default(number, nobody.clone())?;
                }
                watchers.insert(Watchers { count: 0, nobody })
            }
        };
        let has_come = Arc::new(AtomicBool::new(false));
        let registered = signal_hook::flag::register(number, has_come.clone());
        if registered.is_ok() {
            watchers.count += 1;
        }
        watchers.nobody.store(watchers.count == 0, Relaxed);
        Ok(Watched { signal, has_come, handler: registered? })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut all = WATCHERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watchers) = &mut all[self.signal.index()] {
            watchers.count -= 1;
            watchers.nobody.store(watchers.count == 0, Relaxed);
        }
        signal_hook::low_level::unregister(self.handler);
    }
}

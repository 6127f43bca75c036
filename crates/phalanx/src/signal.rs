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
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::op::Max;
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
        ALL.iter().find(|(signal, _)| *signal == self).map_or(0, |(_, number)| *number)
    }

    fn of_number(number: i32) -> Option<Signal> {
        ALL.iter().find(|(_, it)| *it == number).map(|(signal, _)| *signal)
    }
}

/// Signals that do not end this process any more, but are remembered.
///
/// When it is dropped they are no longer remembered; they do not end the process then either.
pub struct Signals {
    /// The number of the last one, or 0.
    last: Arc<AtomicUsize>,
    handlers: Vec<SigId>,
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
        let mut watched = Signals { last: Arc::default(), handlers: Vec::new() };
        for &signal in signals {
            let number = signal.number();
            let flag = Arc::clone(&watched.last);
            let handler = signal_hook::flag::register_usize(number, flag, number as usize);
            watched.handlers.push(handler.map_err(|error| {
                let detail = format!("no handler for signal {number}: {error}");
                Error::new(ErrorKind::State, &Call::local(&SIGNALS, location), detail)
            })?);
        }
        Ok(watched)
    }

    /// The last signal that has come to this rank. Others may not have seen it: do nothing that they
    /// would have to take part in.
    pub fn seen(&self) -> Option<Signal> {
        Signal::of_number(self.last.load(Ordering::Relaxed) as i32)
    }

    /// The signal that has come to any rank, the same on all; of several the one with the largest number.
    /// It is asked for in every call anew, and remembered for ever. Collective: it costs an allreduce
    /// of 4 bytes, so a program with short steps asks now and then.
    ///
    /// # Errors
    /// Those of [`allreduce`](Comm::allreduce).
    ///
    /// MPI: `MPI_Allreduce`.
    #[track_caller]
    pub fn agreed(&self, comm: &Comm) -> Result<Option<Signal>> {
        let mine = self.last.load(Ordering::Relaxed) as i32;
        Ok(Signal::of_number(comm.allreduce(&mine, Max)?))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            signal_hook::low_level::unregister(handler);
        }
    }
}

//! Runs tests on several ranks. [`#[phalanx::test]`](crate::test) writes the calls.
//!
//! A test is two programs in one. The *parent* is what `cargo test` started: it starts the same
//! test binary again, once for each rank, with the launcher of the MPI that the binary is linked
//! to, and filtered to the same test. The *ranks* find out from a variable that they are ranks, run
//! the body of the test, and leave a record of how it went. The parent reads the records and makes
//! one report of them.
//!
//! Between the two there is a folder:
//! - `rank-N.output`: what rank N wrote to stdout and stderr;
//! - `rank-N.result`: how its body ended, in place before MPI aborts the job;
//! - `socket`: each rank keeps a connection open. Its end tells the parent when the rank died, in
//!   the order of their deaths, and tells the rank that the parent died.
//!
//! A rank that passes leaves the process itself, after MPI is finalized, so that the test harness
//! of a rank never has a say.

mod epoll;
mod folder;
mod lifeline;
mod parent;
mod rank;
mod record;
mod report;
mod stdio;

use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::comm::Comm;
use crate::world::{Outcome, Threading};

/// A test on one number of ranks.
#[derive(Clone, Copy, Debug)]
pub struct Test<'a> {
    /// Path of the test function, the crate included, as `module_path!()` makes it.
    pub name: &'a str,
    /// On how many ranks it runs.
    pub ranks: usize,
    /// After how long it is ended. Multiplied by `PHALANX_TEST_TIME_FACTOR`, when that is set.
    pub timeout: Duration,
    /// The thread level that its ranks ask for.
    pub threads: Threading,
    /// Variables of every rank.
    pub environment: &'a [(&'a str, &'a str)],
}

/// Lowers the number of items above which a message is described by a datatype of its own, so that a
/// test sees the path of large messages with small ones. Every rank sets the same.
#[doc(hidden)]
pub fn set_large_message_limit(items: usize) {
    crate::raw::set_large_limit(items);
}

/// What calls have left behind on this rank: counts, tags, requests, lanes of threads, handles. A call that
/// is refused changes nothing of it.
#[doc(hidden)]
pub fn traces(comm: &Comm) -> String {
    format!("{}; {}", comm.traces(), crate::world::traces())
}

/// Lowers the number of bytes that may be on their way behind first parts of objects before sends slow down, so
/// that a test sees it with small ones.
#[doc(hidden)]
pub fn set_object_budget(bytes: usize) {
    crate::object::set_budget(bytes);
}

/// Runs a test: on its ranks, or, in a process that is one of them, its body.
///
/// # Panics
/// If the test fails. The message is that of the first rank that failed.
#[track_caller]
pub fn run<R: Outcome>(test: &Test<'_>, body: impl FnOnce(Comm) -> R) {
    let name = test.name.split_once("::").map_or(test.name, |(_, name)| name);
    if let Some(role) = rank::Role::of(name) {
        role.play(test.threads, body);
    }
    let arguments = ["--exact", name, "--nocapture", "--include-ignored", "--test-threads=1"];
    parent::run(&Test { name, ..*test }, arguments.map(Into::into).into());
}

/// Runs `body` on so many ranks, from a program of one process: for examples in documentation.
///
/// The program is started again for each rank, with its own arguments. In a rank all that comes
/// before this call happens again, and nothing that comes after it.
///
/// ```
/// use phalanx::prelude::*;
///
/// phalanx::testing::on_ranks(3, |world| -> phalanx::Result<()> {
///     assert_eq!(world.allreduce(&1, Sum)?, 3);
///     Ok(())
/// });
/// ```
///
/// Tests have [`#[phalanx::test]`](crate::test), which works with the test harness.
///
/// # Panics
/// If a rank fails.
#[track_caller]
pub fn on_ranks<R: Outcome>(ranks: usize, body: impl FnOnce(Comm) -> R) {
    // A line that is reached several times must be told apart from itself.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let place = Location::caller();
    let name = format!("{}:{} (call {call})", place.file(), place.line());
    if let Some(role) = rank::Role::of(&name) {
        role.play(Threading::Funneled, body);
    }
    if rank::Role::is_of_another_call() {
        return;
    }
    let test = Test {
        name: &name,
        ranks,
        timeout: Duration::from_secs(60),
        threads: Threading::Funneled,
        environment: &[],
    };
    parent::run(&test, std::env::args_os().skip(1).collect());
}

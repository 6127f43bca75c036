//! What the ranks tell each other, and the user, before MPI is finalized: what was begun and never ended.

use std::panic::Location;
use std::thread;
use std::time::Duration;

use super::{failure, totals};
use crate::comm::Comm;
use crate::error::Result;
use crate::raw::strict;
use crate::record::{self, FINALIZE, Kind, What};
use crate::{raw, request, watch};

/// Above this number of ranks messages are counted in strict mode alone: each rank talks to each.
const MOST_RANKS: usize = 1024;

/// Waits for all ranks, and says on stderr what this one has left behind.
pub(super) fn report(world: &Comm, location: &'static Location<'static>) -> Result<()> {
    let rank = world.rank();
    let tell = |lines: Vec<String>| {
        for line in once(lines) {
            failure::print(&format!("phalanx: rank {rank}: {line}"));
        }
    };
    let call = world.private_call(&FINALIZE, location);
    // For the watch all of it is one call: a rank in the barrier has yet to come to what follows, though it
    // answers no messages any more.
    let _leaving = record::waiting(&call, &What::of(Kind::Finalize, 0, record::no_name));
    raw::world::barrier_at_end(&call)?;
    // Before the barrier others might still have been going to do their part.
    let mut unfinished = unfinished();
    unfinished.extend(request::dropped_receives());
    tell(forgotten(&unfinished));
    tell(unfinished);
    tell(request::undelivered());
    if strict::is_on() {
        tell(request::unwaited());
        tell(unfreed());
    }
    if !watch::is_wanted() {
        // Nobody counts: what is on its way must have arrived before this rank leaves.
        tell(crate::object::finish_all());
        return Ok(());
    }
    if strict::is_on() {
        strict::conclude(&call)?;
    }
    if world.size() <= MOST_RANKS || strict::is_on() {
        tell(totals::compare(world, &call)?);
    }
    Ok(())
}

/// Equal lines as one, with their number.
fn once(lines: Vec<String>) -> Vec<String> {
    let mut known: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match known.iter_mut().find(|(it, _)| *it == line) {
            Some((_, times)) => *times += 1,
            None => known.push((line, 1)),
        }
    }
    let said = |(line, times)| if times == 1 { line } else { format!("{line} ({times} times)") };
    known.into_iter().map(said).collect()
}

/// The requests that were dropped and are not complete, although all ranks have come to the end. What
/// others have done for them gets a moment to arrive.
fn unfinished() -> Vec<String> {
    const ROUNDS: usize = 20;
    const ROUND: Duration = Duration::from_millis(5);
    let mut unfinished = request::unfinished();
    for _ in 0..ROUNDS {
        if unfinished.is_empty() {
            break;
        }
        thread::sleep(ROUND);
        unfinished = request::unfinished();
    }
    unfinished
}

/// The requests that the program has lost without dropping them (`std::mem::forget`).
fn forgotten(unfinished: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    record::for_each(|it, _| {
        let place = format!("[{}]", it.location);
        // What was dropped is told already; what is the library's own has no line of the program's.
        let is_named = unfinished.iter().any(|line| line.contains(&place));
        let comm = record::known_comms().into_iter().find(|comm| comm.id == it.comm);
        if let Some(comm) = comm.filter(|comm| !comm.private && !is_named) {
            let (operation, peer) = (it.operation.name, it.peer);
            lines.push(format!(
                "{operation}{peer} on `{}` was forgotten and never completed {place}",
                comm.name()
            ));
        }
    });
    lines
}

/// The communicators that the program made and did not free.
fn unfreed() -> Vec<String> {
    let comms = record::known_comms();
    let mine = comms.iter().filter(|comm| comm.owned && !comm.private);
    mine.map(|comm| {
        format!("the communicator `{}` was never freed [{}]", comm.name(), comm.location)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lines_become_one_with_their_number() {
        let lines = ["a", "b", "a", "c", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(once(lines), ["a (3 times)", "b (2 times)", "c"]);
        assert!(once(Vec::new()).is_empty());
    }
}

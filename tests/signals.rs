//! Signals on which all ranks agree.

use std::process::Command;
use std::time::{Duration, Instant};

use phalanx::prelude::*;
use phalanx::signal::{Signal, Signals};

fn send_to_this_process(signal: Signal) {
    let sent = Command::new("kill")
        .arg(format!("-{}", signal.number()))
        .arg(std::process::id().to_string())
        .status();
    assert!(sent.expect("kill runs").success());
}

/// Asks until there is an answer.
fn answer(signals: &Signals, world: &Comm) -> phalanx::Result<Signal> {
    let start = Instant::now();
    loop {
        if let Some(signal) = signals.agreed(world)? {
            return Ok(signal);
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nobody has seen the signal");
    }
}

#[phalanx::test(ranks = [1, 2, 3, 5])]
fn a_signal_to_one_rank_is_seen_by_all_after_the_same_question(world: Comm) -> phalanx::Result<()> {
    let signals = Signals::watch(&[Signal::Usr1, Signal::Term])?;
    assert_eq!(signals.agreed(&world)?, None);
    if world.rank() + 1 == world.size() {
        send_to_this_process(Signal::Usr1);
    }
    let mut questions = 0_u64;
    while signals.agreed(&world)?.is_none() {
        questions += 1;
        assert!(questions < 10_000_000, "nobody has seen the signal");
    }
    assert_eq!(world.allreduce(&questions, Max)?, world.allreduce(&questions, Min)?);
    // It is remembered.
    assert_eq!(signals.agreed(&world)?, Some(Signal::Usr1));
    let last = world.rank() + 1 == world.size();
    assert_eq!(signals.seen(), last.then_some(Signal::Usr1));
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn of_different_signals_all_hear_the_one_with_the_largest_number(
    world: Comm,
) -> phalanx::Result<()> {
    let signals = Signals::watch(&[Signal::Usr1, Signal::Usr2, Signal::Term, Signal::Hup])?;
    match world.rank() {
        0 => send_to_this_process(Signal::Hup),
        1 => send_to_this_process(Signal::Term),
        _ => {}
    }
    // The signal is there when `kill` is back, but a handler may run a little later.
    let start = Instant::now();
    while world.rank() < 2 && signals.seen().is_none() {
        assert!(start.elapsed() < Duration::from_secs(20), "the signal does not come");
        std::thread::yield_now();
    }
    world.barrier()?;
    assert_eq!(answer(&signals, &world)?, Signal::Term);
    Ok(())
}

#[phalanx::test(ranks = [1])]
fn signals_have_the_numbers_of_the_system(_world: Comm) -> phalanx::Result<()> {
    let numbers = [Signal::Usr1, Signal::Usr2, Signal::Term, Signal::Int, Signal::Hup];
    let mut numbers = numbers.map(Signal::number);
    numbers.sort();
    assert_eq!(numbers, [1, 2, 10, 12, 15]);
    Ok(())
}

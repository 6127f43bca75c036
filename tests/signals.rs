//! Signals on which all ranks agree.

use std::os::unix::process::ExitStatusExt as _;
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
fn of_different_signals_all_hear_the_most_urgent(world: Comm) -> phalanx::Result<()> {
    let signals = Signals::watch(&[Signal::Usr1, Signal::Usr2, Signal::Term, Signal::Hup])?;
    let sent = [Signal::Hup, Signal::Term].get(world.rank());
    if let Some(&signal) = sent {
        send_to_this_process(signal);
        wait_for(&signals, signal);
    }
    world.barrier()?;
    assert_eq!(answer(&signals, &world)?, Signal::Term);
    Ok(())
}

/// Waits until this rank has seen a signal: it has been sent when `kill` is back, but a handler may run a
/// little later.
fn wait_for(signals: &Signals, signal: Signal) {
    let start = Instant::now();
    while signals.seen() != Some(signal) {
        assert!(start.elapsed() < Duration::from_secs(20), "{signal:?} does not come");
        std::thread::yield_now();
    }
}

#[phalanx::test(ranks = [1, 3])]
fn a_request_to_end_is_not_hidden_by_a_later_warning(world: Comm) -> phalanx::Result<()> {
    let signals = Signals::watch(&[Signal::Usr1, Signal::Term, Signal::Int])?;
    if world.rank() == 0 {
        send_to_this_process(Signal::Int);
        wait_for(&signals, Signal::Int);
        for signal in [Signal::Term, Signal::Usr1] {
            send_to_this_process(signal);
            wait_for(&signals, Signal::Term);
        }
    }
    world.barrier()?;
    assert_eq!(signals.agreed(&world)?, Some(Signal::Term));
    // A warning that was acted on may be forgotten, and comes again.
    signals.forget(Signal::Term);
    assert_eq!(signals.agreed(&world)?, Some(Signal::Int));
    signals.forget(Signal::Int);
    if world.rank() == 0 {
        wait_for(&signals, Signal::Usr1);
    }
    assert_eq!(signals.agreed(&world)?, Some(Signal::Usr1));
    signals.forget(Signal::Usr1);
    assert_eq!(signals.agreed(&world)?, None);
    if world.rank() == 0 {
        send_to_this_process(Signal::Usr1);
        wait_for(&signals, Signal::Usr1);
    }
    assert_eq!(signals.agreed(&world)?, Some(Signal::Usr1));
    Ok(())
}

/// Sends itself a signal in a process of its own, and tells how that ended.
fn ends_by(scenario: &str) -> (Option<i32>, Option<i32>, String) {
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", "the_child", "--ignored"]).env("PHALANX_TEST_SCENARIO", scenario);
    // Not a rank: it must not take the place of this one.
    for (name, _) in std::env::vars() {
        if ["OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDRA_", "PHALANX_JOB"]
            .iter()
            .any(|it| name.starts_with(it))
        {
            child.env_remove(name);
        }
    }
    let output = child.output().expect("this test runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), output.status.signal(), text)
}

#[test]
#[ignore = "a part of another test"]
fn the_child() {
    let Ok(scenario) = std::env::var("PHALANX_TEST_SCENARIO") else { return };
    let watch = |signals: &[Signal]| Signals::watch(signals).expect("handlers");
    let first = watch(&[Signal::Term, Signal::Usr1]);
    send_to_this_process(Signal::Term);
    wait_for(&first, Signal::Term);
    match &scenario[..] {
        "watched" => {}
        "dropped" => {
            drop(first);
            send_to_this_process(Signal::Term);
            std::thread::sleep(Duration::from_secs(20));
        }
        // The one that is left still watches.
        "one of two" => {
            let second = watch(&[Signal::Term]);
            drop(first);
            send_to_this_process(Signal::Term);
            wait_for(&second, Signal::Term);
        }
        "again" => {
            drop(first);
            let again = watch(&[Signal::Term]);
            assert_eq!(again.seen(), None);
            send_to_this_process(Signal::Term);
            wait_for(&again, Signal::Term);
        }
        _ => panic!("no scenario {scenario}"),
    }
}

#[test]
fn signals_end_the_process_again_when_nobody_watches_them() {
    for scenario in ["watched", "one of two", "again"] {
        let (code, signal, text) = ends_by(scenario);
        assert_eq!((code, signal), (Some(0), None), "{scenario}: {text}");
        assert!(text.contains("1 passed"), "{scenario}: {text}");
    }
    let (_, signal, text) = ends_by("dropped");
    assert_eq!(signal, Some(Signal::Term.number()), "{text}");
}

#[phalanx::test(ranks = [1])]
fn signals_have_the_numbers_of_the_system(_world: Comm) -> phalanx::Result<()> {
    let numbers = [Signal::Usr1, Signal::Usr2, Signal::Term, Signal::Int, Signal::Hup];
    assert_eq!(numbers.map(Signal::number), [10, 12, 15, 2, 1]);
    Ok(())
}

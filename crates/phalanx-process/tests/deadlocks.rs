//! Processes that wait for each other in a circle are reported.

use std::process::Command;
use std::time::Duration;

use phalanx_process::{Barrier, FairLock, Lock, Process, Result, RwLock};

/// Runs a test of this file that waits for ever in parts, and gives what it wrote.
fn run(test: &str, settings: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command.env("PHALANX_WATCH_AFTER", "0.2").envs(settings.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stdout));
    text
}

fn crosswise((first, second, both): (Lock, Lock, Barrier)) -> String {
    let _first = first.lock().unwrap();
    both.wait().unwrap();
    match second.lock() {
        Ok(_) => "done".to_owned(),
        Err(error) => {
            assert!(error.is_deadlock());
            error.to_string()
        }
    }
}

fn spawn_crosswise() -> Result<[Process<String>; 2]> {
    let (a, b, both) = (Lock::new()?, Lock::new()?, Barrier::new(2)?);
    Ok([
        Process::builder().name("left").spawn(crosswise, (a.clone(), b.clone(), both.clone()))?,
        Process::builder().name("right").spawn(crosswise, (b, a, both))?,
    ])
}

#[test]
#[ignore = "deadlocks when it is started by another test"]
fn two_lock_crosswise() -> Result<()> {
    let processes = spawn_crosswise()?;
    std::thread::sleep(Duration::from_millis(1500));
    for process in processes {
        process.kill()?;
        process.wait();
    }
    Ok(())
}

#[test]
fn a_circle_is_reported_once_with_names_and_lines() {
    let text = run("two_lock_crosswise", &[]);
    assert_eq!(text.matches("deadlock: 2 processes wait for each other").count(), 1, "{text}");
    for part in ["  `left` (pid ", "  `right` (pid ", "End it with lock_all"] {
        assert_eq!(text.matches(part).count(), 1, "{text}");
    }
    assert_eq!(text.matches("deadlocks.rs:").count(), 4, "{text}");
}

#[test]
#[ignore = "deadlocks when it is started by another test"]
fn two_lock_crosswise_and_one_gets_an_error() -> Result<()> {
    let [left, right] = spawn_crosswise()?;
    let mut texts = [left.join()?, right.join()?];
    texts.sort();
    assert_eq!(texts[0], "done");
    assert!(texts[1].contains("wait for each other"), "{}", texts[1]);
    Ok(())
}

#[test]
fn a_circle_is_an_error_when_that_is_asked_for() {
    let text = run("two_lock_crosswise_and_one_gets_an_error", &[("PHALANX_WATCH", "error")]);
    assert!(!text.contains("deadlock:"), "{text}");
}

#[test]
#[ignore = "deadlocks when it is started by another test"]
fn three_wait_for_a_reader_a_fair_lock_and_a_lock() -> Result<()> {
    let parts = (RwLock::new()?, FairLock::new()?, Lock::new()?, Barrier::new(3)?);
    let run = |(i, (rw, fair, lock, all)): (u32, (RwLock, FairLock, Lock, Barrier))| {
        let wait = || assert!(all.wait().is_ok());
        match i {
            0 => {
                let _guard = rw.read().unwrap();
                wait();
                drop(fair.lock().unwrap());
            }
            1 => {
                let _guard = fair.lock().unwrap();
                wait();
                drop(lock.lock().unwrap());
            }
            _ => {
                let _guard = lock.lock().unwrap();
                wait();
                drop(rw.write().unwrap());
            }
        }
    };
    let processes: Vec<_> =
        (0..3).map(|i| Process::spawn(run, (i, parts.clone()))).collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_millis(1800));
    for process in processes {
        process.kill()?;
        process.wait();
    }
    Ok(())
}

#[test]
fn a_circle_goes_through_all_kinds_of_locks() {
    let text = run("three_wait_for_a_reader_a_fair_lock_and_a_lock", &[]);
    assert_eq!(text.matches("deadlock: 3 processes wait for each other").count(), 1, "{text}");
    for part in [" RwLock ", " FairLock ", " lock "] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
#[ignore = "deadlocks when it is started by another test"]
fn one_holds_a_lock_for_long() -> Result<()> {
    let lock = Lock::new()?;
    let guard = lock.lock()?;
    let waiters = [0, 1].map(|_| Process::spawn(|lock: Lock| drop(lock.lock()), lock.clone()));
    std::thread::sleep(Duration::from_millis(1200));
    drop(guard);
    for waiter in waiters {
        waiter?.join()?;
    }
    Ok(())
}

#[test]
fn a_long_wait_is_no_circle() {
    let text = run("one_holds_a_lock_for_long", &[]);
    assert!(!text.contains("deadlock:"), "{text}");
}

#[test]
#[ignore = "deadlocks when it is started by another test"]
fn two_threads_lock_crosswise() -> Result<()> {
    let (a, b, both) = (Lock::new()?, Lock::new()?, Barrier::new(2)?);
    for (first, second) in [(a.clone(), b.clone()), (b, a)] {
        let both = both.clone();
        std::thread::spawn(move || crosswise((first, second, both)));
    }
    std::thread::sleep(Duration::from_millis(1200));
    Ok(())
}

#[test]
fn threads_of_one_process_are_told_apart() {
    let text = run("two_threads_lock_crosswise", &[]);
    assert_eq!(text.matches("deadlock: 2 threads wait for each other").count(), 1, "{text}");
    assert!(text.contains(" of `main` (pid "), "{text}");
}

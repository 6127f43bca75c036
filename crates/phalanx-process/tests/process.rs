//! Processes: start, result, names, ends.

use std::time::{Duration, Instant};

use phalanx_process::{Process, Result, active_children, current, parent};

fn square(x: u64) -> u64 {
    x * x
}

#[test]
fn a_function_runs_in_another_process_and_returns_its_result() -> Result<()> {
    assert_eq!(Process::spawn(square, 5)?.join()?, 25);
    let pid = Process::spawn(|()| std::process::id(), ())?.join()?;
    assert_ne!(pid, std::process::id());
    Ok(())
}

#[test]
fn a_panic_arrives_with_message_place_and_backtrace() -> Result<()> {
    fn faulty(x: i32) -> i32 {
        assert!(x < 0, "{x} is not negative");
        x
    }
    let error = Process::spawn(faulty, 3)?.join().unwrap_err();
    assert!(error.is_panicked());
    assert_eq!(error.exit_code(), Some(101));
    let panic = error.panic().expect("it panicked");
    assert_eq!(panic.message, "3 is not negative");
    assert!(panic.location.contains("process.rs"), "{}", panic.location);
    assert!(panic.backtrace.contains("faulty"), "{}", panic.backtrace);
    assert!(error.to_string().contains("3 is not negative at "), "{error}");
    Ok(())
}

#[test]
fn the_exit_code_is_zero_or_what_it_gave_or_the_negative_signal() -> Result<()> {
    let process = Process::spawn(square, 5)?;
    assert_eq!(process.wait(), 0);
    assert!(!process.is_alive());
    assert_eq!(process.join()?, 25);

    let process = Process::spawn(|()| -> () { std::process::exit(3) }, ())?;
    assert_eq!(process.wait(), 3);
    let error = process.join().unwrap_err();
    assert!(error.is_died());
    assert_eq!(error.exit_code(), Some(3));

    let process = Process::spawn(|()| -> () { std::thread::sleep(Duration::from_secs(60)) }, ())?;
    assert!(process.is_alive());
    assert_eq!(process.exit_code(), None);
    process.terminate()?;
    assert_eq!(process.wait(), -15);
    process.kill()?;
    let error = process.join().unwrap_err();
    assert!(error.to_string().contains("SIGTERM"), "{error}");
    Ok(())
}

#[test]
fn a_join_with_a_time_limit_returns_and_the_process_goes_on() -> Result<()> {
    let mut process = Process::spawn(std::thread::sleep, Duration::from_millis(300))?;
    let start = Instant::now();
    assert_eq!(process.join_timeout(Duration::from_millis(20))?, None);
    assert!(start.elapsed() < Duration::from_millis(250));
    assert_eq!(process.try_join()?, None);
    assert_eq!(process.join_timeout(Duration::from_secs(30))?, Some(()));
    assert!(process.try_join().unwrap_err().to_string().contains("already"));
    Ok(())
}

#[test]
fn names_are_given_or_numbered_and_seen_by_the_system() -> Result<()> {
    let process = Process::spawn(|()| current().name().to_owned(), ())?;
    assert!(process.name().starts_with("Process-"));
    let name = process.name().to_owned();
    assert_eq!(process.join()?, name);

    let seen = |()| std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let process = Process::builder().name("a quite long name of a process").spawn(seen, ())?;
    assert_eq!(process.name(), "a quite long name of a process");
    assert_eq!(process.join()?, "a quite long na\n");
    Ok(())
}

#[test]
fn children_know_their_parents() -> Result<()> {
    assert_eq!(parent(), None);
    let above = Process::builder()
        .name("child")
        .spawn(
            |()| {
                let mine = parent().map(|parent| (parent.name().to_owned(), parent.pid()));
                let of_mine =
                    Process::spawn(|()| parent().map(|parent| parent.name().to_owned()), ());
                (mine, of_mine.and_then(Process::join).expect("a child of a child runs"))
            },
            (),
        )?
        .join()?;
    assert_eq!(above, (Some(("main".to_owned(), std::process::id())), Some("child".to_owned())));
    Ok(())
}

#[test]
fn active_children_are_those_that_run() -> Result<()> {
    let process = Process::builder()
        .name("sleeper")
        .spawn(|()| -> () { std::thread::sleep(Duration::from_secs(60)) }, ())?;
    let is_active = || active_children().iter().any(|child| child.pid() == process.pid());
    assert!(is_active());
    process.kill()?;
    process.wait();
    assert!(!is_active());
    Ok(())
}

#[test]
fn generic_functions_and_closures_run_too() -> Result<()> {
    fn largest<T: Ord + Clone>(values: Vec<T>) -> Option<T> {
        values.iter().max().cloned()
    }
    assert_eq!(Process::spawn(largest, vec![3, 9, 4])?.join()?, Some(9));
    assert_eq!(
        Process::spawn(largest, vec!["a".to_owned(), "c".to_owned()])?.join()?,
        Some("c".to_owned())
    );
    assert_eq!(Process::spawn(|(a, b): (i32, i32)| a - b, (7, 9))?.join()?, -2);
    Ok(())
}

#[test]
fn a_process_that_runs_cannot_be_closed() -> Result<()> {
    let process = Process::spawn(|()| std::thread::sleep(Duration::from_millis(200)), ())?;
    assert!(process.close().unwrap_err().to_string().contains("still running"));
    Ok(())
}

#[test]
fn errors_have_the_line_of_the_call() {
    let killed = Process::spawn(
        |()| loop {
            std::thread::park()
        },
        (),
    )
    .expect("a process");
    killed.kill().expect("a child can be killed");
    let died: phalanx_process::Error = Process::<()>::join(killed).expect_err("it was killed");
    let queue: phalanx_process::Queue<u8> = phalanx_process::Queue::new().expect("a queue");
    queue.close();
    let got = queue.get().expect_err("it is closed");
    let put: phalanx_process::Error = queue.put(1).expect_err("it is closed").into();
    for error in [died, got, put] {
        assert_eq!(error.location().expect("a place").file(), file!(), "{error}");
    }
}

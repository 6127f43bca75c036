//! Odd settings, names and surroundings.

use std::process::{Command, Stdio};
use std::time::Duration;

use phalanx_process::{Pool, Process, Queue, Result, current, wait_any};

#[test]
fn names_may_be_long_or_empty_or_have_zeros_in_them() -> Result<()> {
    for name in ["", "with\0zero", "\0", &"x".repeat(1000), &"ü".repeat(40), &"y".repeat(1 << 20)]
    {
        let child = |()| current().name().to_owned();
        let process = Process::builder().name(name).spawn(child, ())?;
        assert_eq!(process.name(), name);
        assert!(name.starts_with(&process.join()?));
    }
    Ok(())
}

#[test]
fn arguments_and_results_may_be_large() -> Result<()> {
    let echo = |bytes: Vec<u8>| bytes;
    let bytes = vec![7; 200 << 20];
    assert!(Process::spawn(echo, bytes.clone())?.join()? == bytes);
    Ok(())
}

#[test]
fn a_process_that_ignores_its_children_gets_their_results() -> Result<()> {
    fn work(_: ()) -> (Vec<u32>, i32, bool) {
        // SAFETY: nothing in this process handles the signal.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let children: Vec<_> =
            (0..5).map(|x| Process::spawn(|x: u32| x * 2, x).expect("a child")).collect();
        let results = children.into_iter().map(|child| child.join().expect("a result")).collect();
        let killed = Process::spawn(|()| std::thread::park(), ()).expect("a child");
        killed.kill().expect("it can be killed");
        let ready = wait_any(&[&killed], Some(Duration::from_secs(10))).expect("it ends");
        let pool = Pool::builder().workers(2).tasks_per_child(1).start().expect("a pool");
        let sum: u32 = pool.map(|x: u32| x, 0..20).expect("results").iter().sum();
        (results, killed.wait(), ready == [0] && sum == 190)
    }
    let (results, code, all) = Process::spawn(work, ())?.join()?;
    assert_eq!(results, [0, 2, 4, 6, 8]);
    assert_ne!(code, 0);
    assert!(all);
    Ok(())
}

#[test]
fn a_program_that_waits_for_all_of_its_children_itself_gets_results() -> Result<()> {
    fn work(_: ()) -> u32 {
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    // SAFETY: it takes the status of some child, and keeps nothing.
                    unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
                }
            });
            let sum = (0..30)
                .map(|x| Process::spawn(|x: u32| x, x).expect("a child").join().expect("a result"))
                .sum();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            sum
        })
    }
    assert_eq!(Process::spawn(work, ())?.join()?, 435);
    Ok(())
}

#[test]
fn the_mark_of_a_child_that_was_set_by_hand_is_an_error_and_not_a_wait() {
    let output = Command::new(std::env::current_exe().expect("a program"))
        .env("PHALANX_PROCESS_CHILD", "1")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot start"));
}

#[test]
fn a_deep_recursion_ends_its_process_only() -> Result<()> {
    fn deep(x: u64) -> u64 {
        let all = [x; 1000];
        if x == 0 { 0 } else { deep(x - 1) + std::hint::black_box(all)[10] }
    }
    let shallow = Process::spawn(deep, 100)?;
    let endless = Process::spawn(deep, u64::MAX)?;
    assert!(endless.join().unwrap_err().is_died());
    assert_eq!(shallow.join()?, 100 * 101 / 2);
    Ok(())
}

#[test]
fn a_child_that_exits_or_aborts_by_itself_has_died() -> Result<()> {
    let exit = Process::spawn(|()| -> u32 { std::process::exit(0) }, ())?;
    let error = exit.join().unwrap_err();
    assert!(error.is_died() && error.exit_code() == Some(0), "{error}");
    let abort = Process::spawn(|()| -> u32 { std::process::abort() }, ())?;
    assert_eq!(abort.join().unwrap_err().exit_code(), Some(-libc::SIGABRT));
    let in_thread = |()| -> u32 {
        let exits = std::thread::spawn(|| std::process::exit(3));
        exits.join().map_or(0, |()| 1)
    };
    assert_eq!(Process::spawn(in_thread, ())?.join().unwrap_err().exit_code(), Some(3));
    Ok(())
}

#[test]
fn children_start_beside_other_programs_and_forks() -> Result<()> {
    use std::os::unix::process::CommandExt;
    let others = std::thread::spawn(|| {
        for _ in 0..50 {
            let mut command = Command::new("/bin/true");
            // SAFETY: it does nothing.
            unsafe { command.pre_exec(|| Ok(())) };
            assert!(command.status().expect("it starts").success());
        }
    });
    let queue = Queue::new()?;
    for x in 0..50 {
        let child = |(queue, x): (Queue<u32>, u32)| queue.put(x).expect("it is open");
        Process::spawn(child, (queue.clone(), x))?.join()?;
        assert_eq!(queue.get()?, x);
    }
    others.join().expect("it does not panic");
    Ok(())
}

//! However a root ends, nothing of its tree is left.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use phalanx_process::{
    Barrier, Condition, Event, Lock, Pool, PriorityQueue, Process, Queue, Result, Semaphore,
};

/// What a root is doing when it ends.
#[derive(Clone, Copy, Debug)]
enum Root {
    Waits,
    Works,
    Starts,
    HasStoppedChildren,
    Exits,
}

fn say_pid() {
    println!("pid {}", std::process::id());
}

fn sleep_for_ever(_: ()) {
    say_pid();
    loop {
        std::thread::park();
    }
}

/// A child with a child of its own.
fn with_a_child(_: ()) {
    say_pid();
    let _child = Process::spawn(sleep_for_ever, ()).expect("a child");
    loop {
        std::thread::park();
    }
}

fn stop(pid: u32) {
    // SAFETY: it only sends a signal.
    unsafe { libc::kill(pid.try_into().expect("a pid"), libc::SIGSTOP) };
}

fn root(what: Root) -> Result<()> {
    let queue: Queue<u32> = Queue::new()?;
    let lock = Lock::new()?;
    match what {
        Root::Waits => {
            let all = (
                (queue.clone(), PriorityQueue::<u32>::new()?),
                (lock.clone(), Condition::new(&lock)?, Event::new()?),
                (Semaphore::new(0)?, Barrier::new(3)?),
            );
            let _held = lock.lock()?;
            for way in 0..6 {
                let wait = |(way, all): (u32, _)| {
                    let ((queue, sorted), (lock, _condition, event), (semaphore, barrier)): (
                        Queues,
                        (Lock, Condition, Event),
                        (Semaphore, Barrier),
                    ) = all;
                    say_pid();
                    match way {
                        0 => drop(queue.get()),
                        1 => drop(sorted.get()),
                        2 => drop(lock.lock()),
                        3 => event.wait(),
                        4 => drop(semaphore.acquire()),
                        _ => drop(barrier.wait()),
                    }
                };
                let _child = Process::spawn(wait, (way, all.clone()))?;
            }
            let _child = Process::spawn(with_a_child, ())?;
            println!("ready");
            queue.get()?;
        }
        Root::Works => {
            let pool = Pool::new(2)?;
            let work = |x: u64| {
                let inner = Pool::new(1).expect("a pool");
                say_pid();
                inner.map(|x: u64| x, 0..1000).map_or(0, |all| all.len() as u64 + x)
            };
            for (number, result) in pool.imap(work, 0..)?.enumerate() {
                result?;
                if number == 5 {
                    println!("ready");
                }
            }
        }
        Root::Starts => {
            println!("ready");
            for _ in 0..1000 {
                let child = |()| {
                    say_pid();
                    std::thread::sleep(Duration::from_millis(100));
                };
                let _child = Process::spawn(child, ())?;
                if phalanx_process::active_children().len() > 50 {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
        Root::HasStoppedChildren => {
            let _one = Process::spawn(with_a_child, ())?;
            let two = Process::spawn(with_a_child, ())?;
            std::thread::sleep(Duration::from_millis(500));
            stop(two.pid());
            println!("ready");
            queue.get()?;
        }
        Root::Exits => {
            let _child = Process::builder().background().spawn(with_a_child, ())?;
            let pool = Pool::new(2)?;
            let _task = pool.submit(sleep_for_ever, ())?;
            std::thread::sleep(Duration::from_millis(500));
            println!("ready");
            std::process::exit(7);
        }
    }
    Ok(())
}

fn is_there(pid: i32) -> bool {
    // A process that has ended and that nobody has waited for does not count.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

type Queues = (Queue<u32>, PriorityQueue<u32>);

fn ends(test: &str, what: Root, after: Duration) -> Result<()> {
    if std::env::var_os("IS_ROOT").is_some() {
        return root(what);
    }
    let mut started = Command::new(std::env::current_exe().expect("a program"))
        .args(["--exact", test, "--nocapture"])
        .env("IS_ROOT", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(started.stdout.take().expect("it was asked for")).lines();
    let mut pids = Vec::new();
    let mut killed = false;
    // It ends when nobody has it open any more.
    for line in lines.map_while(std::result::Result::ok) {
        if let Some((_, pid)) = line.split_once("pid ") {
            pids.push(pid.parse::<i32>().expect("a number"));
        }
        if line.contains("ready") && !killed {
            killed = true;
            std::thread::sleep(after);
            if !matches!(what, Root::Exits) {
                started.kill().expect("it can be killed");
            }
            started.wait().expect("it was started");
            let until = Instant::now() + Duration::from_secs(10);
            while pids.iter().any(|pid| is_there(*pid)) {
                assert!(Instant::now() < until, "{what:?}: some of {pids:?} are left");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    started.wait().expect("it was started");
    assert!(killed, "{what:?} was never ready");
    assert!(!pids.iter().any(|pid| is_there(*pid)), "{what:?}: some of {pids:?} are left");
    Ok(())
}

macro_rules! ends {
    ($($test:ident: $what:ident after $after:literal,)*) => {$(
        #[test]
        fn $test() -> Result<()> {
            ends(stringify!($test), Root::$what, Duration::from_millis($after))
        }
    )*};
}

ends! {
    nothing_is_left_of_a_root_that_is_killed_while_all_wait: Waits after 500,
    nothing_is_left_of_a_root_that_is_killed_while_pools_work: Works after 50,
    nothing_is_left_of_a_root_that_is_killed_while_it_starts_others: Starts after 300,
    nothing_is_left_of_a_root_with_stopped_children: HasStoppedChildren after 0,
    nothing_is_left_of_a_root_that_exits: Exits after 0,
}

//! Many starts and many tasks: nothing grows, nothing is left.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use phalanx_process::{Pool, Process, Queue, Result};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("it can be read").count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("it can be read").count()
}

/// Pages of shared memory that are in use, or kept to be used again.
fn shared_pages() -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("it can be read").flatten();
    let memory = descriptors
        .map(|entry| entry.path())
        .find(|path| {
            std::fs::read_link(path)
                .is_ok_and(|name| name.to_string_lossy().contains("memfd:phalanx"))
        })
        .expect("the shared memory");
    std::fs::metadata(memory).expect("it is there").blocks() as usize / 8
}

/// Runs a test in a tree of its own, where nothing else counts.
fn alone<R>(test: &str, work: fn() -> R, check: fn(R)) {
    if std::env::var_os("ALONE").is_some() {
        return check(work());
    }
    let status = std::process::Command::new(std::env::current_exe().expect("a program"))
        .args(["--exact", test, "--nocapture"])
        .env("ALONE", "1")
        .status()
        .expect("it starts");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_thousand_starts_from_four_threads_leave_nothing() {
    fn work() -> [usize; 3] {
        fn some(count: u32) {
            let queue = Queue::new().expect("a queue");
            for x in 0..count {
                let child = |(queue, x): (Queue<u32>, u32)| queue.put(x).expect("it is open");
                Process::spawn(child, (queue.clone(), x)).expect("a child").join().expect("well");
                assert_eq!(queue.get().expect("one"), x);
            }
        }
        some(20);
        std::thread::sleep(Duration::from_millis(300));
        let before = [open_descriptors(), threads(), shared_pages()];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| some(250));
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        let after = [open_descriptors(), threads(), shared_pages()];
        std::array::from_fn(|what| after[what].saturating_sub(before[what]))
    }
    alone("a_thousand_starts_from_four_threads_leave_nothing", work, |grown| {
        let [descriptors, threads, pages] = grown;
        assert_eq!((descriptors, threads), (0, 0));
        assert!(pages < 200, "{pages} pages more");
    });
}

#[test]
fn results_that_nobody_takes_are_given_back() {
    fn work() -> usize {
        let round = || {
            let process = Process::spawn(|()| vec![1_u8; 1 << 20], ()).expect("a child");
            process.wait();
        };
        (0..5).for_each(|_| round());
        let before = shared_pages();
        (0..50).for_each(|_| round());
        shared_pages().saturating_sub(before)
    }
    alone("results_that_nobody_takes_are_given_back", work, |pages| {
        assert!(pages < 2000, "{pages} pages more");
    });
}

#[test]
fn children_that_are_killed_at_any_moment_leave_nothing() {
    fn work() -> usize {
        let round = |x: u64| {
            let child = |(queue, text): (Queue<String>, String)| {
                for _ in 0..100 {
                    queue.put(text.clone()).expect("it is open");
                    queue.get().expect("one");
                }
            };
            let queue = Queue::new().expect("a queue");
            let process = Process::spawn(child, (queue, "x".repeat(1 << 20))).expect("a child");
            std::thread::sleep(Duration::from_micros(100 * x));
            process.kill().expect("it can be killed");
            process.wait();
        };
        (0..70).for_each(round);
        let before = shared_pages();
        (0..200).for_each(|x| round(x % 50));
        shared_pages().saturating_sub(before)
    }
    alone("children_that_are_killed_at_any_moment_leave_nothing", work, |pages| {
        assert!(pages < 60 * 256, "{pages} pages more");
    });
}

#[test]
fn a_hundred_thousand_submits_with_cancel_and_drop_leave_nothing() {
    fn work() -> usize {
        let pool = Pool::new(2).expect("a pool");
        let some = |count: u32| {
            for x in 0..count {
                let task = pool.submit(|x: u32| x, x).expect("it is open");
                match x % 3 {
                    0 => _ = task.cancel(),
                    1 => drop(task),
                    _ if x % 100 == 2 => assert_eq!(task.get().expect("a result"), x),
                    _ => {}
                }
            }
            assert_eq!(pool.submit(|x: u32| x, 5).expect("open").get().expect("a result"), 5);
        };
        some(10_000);
        let before = shared_pages();
        some(100_000);
        shared_pages().saturating_sub(before)
    }
    alone("a_hundred_thousand_submits_with_cancel_and_drop_leave_nothing", work, |pages| {
        assert!(pages < 5000, "{pages} pages more");
    });
}

#[test]
fn a_pool_serves_four_threads_while_its_workers_are_killed() {
    fn work() -> bool {
        let pool = Pool::builder().workers(3).repeat(1000).start().expect("a pool");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let users: Vec<_> = (0..4)
                .map(|user| {
                    let pool = &pool;
                    scope.spawn(move || {
                        for round in 0..5 {
                            let square = |x: u64| {
                                std::thread::sleep(Duration::from_micros(50));
                                (x, vec![x; if x.is_multiple_of(50) { 20_000 } else { 1 }])
                            };
                            let items = user * 1000 + round * 100..user * 1000 + round * 100 + 100;
                            let got = pool.map(square, items.clone()).expect("results");
                            assert!(got.into_iter().map(|(x, _)| x).eq(items));
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                let mut turn = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(7));
                    let pids = pool.pids();
                    turn += 1;
                    if let Some(pid) = pids.get(turn % 3) {
                        // SAFETY: it is a worker, or has just ended and not been waited for.
                        unsafe { libc::kill((*pid).try_into().expect("a pid"), libc::SIGKILL) };
                    }
                }
            });
            for user in users {
                user.join().expect("it does not panic");
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        true
    }
    assert!(work());
}

#[test]
fn a_worker_for_each_task_and_pools_in_workers() -> Result<()> {
    let pool = Pool::builder().workers(4).tasks_per_child(1).start()?;
    let pids = pool.map(|_: u32| std::process::id(), 0..300)?;
    let different: std::collections::BTreeSet<_> = pids.iter().collect();
    assert!(different.len() > 250, "{}", different.len());

    let outer = Pool::new(2)?;
    let nested = |x: u64| {
        let inner = Pool::new(2).expect("a pool");
        inner.map(|x: u64| x + 1, [x, x + 10]).expect("results").iter().sum::<u64>()
    };
    assert_eq!(outer.map(nested, 0..4)?, [12, 14, 16, 18]);
    Ok(())
}

#[test]
fn an_iterator_of_results_that_is_dropped_leaves_the_pool_working() -> Result<()> {
    let pool = Pool::new(2)?;
    for x in 0..200 {
        let mut results = pool.imap(|x: u64| vec![x; 3000], 0..)?;
        assert_eq!(results.next().expect("endless")?[0], 0);
        if x % 2 == 0 {
            drop(results);
        }
    }
    assert_eq!(pool.map(|x: u64| x, 0..10)?.len(), 10);
    Ok(())
}

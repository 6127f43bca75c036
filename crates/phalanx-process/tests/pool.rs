//! Pools: results in order, errors of single items, workers that die.

use std::time::{Duration, Instant};

use phalanx_process::{Pool, Process, Queue, Result};

fn square(x: u64) -> u64 {
    x * x
}

#[test]
fn results_come_in_the_order_of_the_items() -> Result<()> {
    let pool = Pool::new(3)?;
    let squares = pool.map(square, 0..10_000)?;
    assert!(squares.into_iter().eq((0..10_000).map(square)));
    assert_eq!(pool.map(square, [])?, []);
    let texts = pool.map(
        |(text, times): (String, usize)| text.repeat(times),
        [("ab".to_owned(), 2), ("x".to_owned(), 3)],
    )?;
    assert_eq!(texts, ["abab", "xxx"]);
    Ok(())
}

#[test]
fn with_every_chunk_and_every_number_of_workers() -> Result<()> {
    for workers in [1, 2, 5] {
        for chunk in [1, 7, 1000] {
            let pool = Pool::builder().workers(workers).chunk(chunk).start()?;
            assert!(
                pool.map(square, 0..500)?.into_iter().eq((0..500).map(square)),
                "{workers} {chunk}"
            );
        }
    }
    Ok(())
}

#[test]
fn large_items_and_results_arrive() -> Result<()> {
    let pool = Pool::new(2)?;
    let items: Vec<Vec<u64>> = (0..8).map(|x| vec![x; 200_000]).collect();
    let doubled =
        pool.map(|item: Vec<u64>| item.iter().map(|x| 2 * x).collect::<Vec<_>>(), items)?;
    assert!(
        doubled
            .iter()
            .enumerate()
            .all(|(x, item)| item.len() == 200_000 && item[5] == 2 * x as u64)
    );
    Ok(())
}

#[test]
fn imap_gives_results_one_after_another_and_takes_items_as_it_needs_them() -> Result<()> {
    let pool = Pool::new(2)?;
    let taken = std::cell::Cell::new(0);
    let endless = (0..).inspect(|_| taken.set(taken.get() + 1));
    let results: Vec<u64> = pool.imap(square, endless)?.take(1000).collect::<Result<_>>()?;
    assert!(results.into_iter().eq((0..1000).map(square)));
    assert!(taken.get() < 1000 + 200_000, "{} items were taken", taken.get());
    // The pool goes on after an iterator that was dropped.
    assert_eq!(pool.map(square, [3])?, [9]);
    Ok(())
}

#[test]
fn a_slow_first_item_does_not_make_imap_take_all_others() -> Result<()> {
    fn wait_at_zero(x: u64) -> u64 {
        if x == 0 {
            std::thread::sleep(Duration::from_millis(400));
        }
        x
    }
    let pool = Pool::builder().workers(2).chunk(1).start()?;
    let taken = std::cell::Cell::new(0);
    let mut results =
        pool.imap(wait_at_zero, (0..100_000).inspect(|_| taken.set(taken.get() + 1)))?;
    assert_eq!(results.next().transpose()?, Some(0));
    assert!(taken.get() < 1000, "{} items were taken", taken.get());
    Ok(())
}

#[test]
fn imap_unordered_gives_each_result_once() -> Result<()> {
    let pool = Pool::new(3)?;
    let mut seen = vec![false; 5000];
    for (index, result) in pool.imap_unordered(square, 0..5000)? {
        assert_eq!(result?, square(index as u64));
        assert!(!std::mem::replace(&mut seen[index], true));
    }
    assert!(seen.iter().all(|seen| *seen));
    Ok(())
}

#[test]
fn a_panic_is_the_error_of_its_item() -> Result<()> {
    fn odd_only(x: u64) -> u64 {
        assert!(x % 2 == 1, "{x} is even");
        x
    }
    let pool = Pool::new(2)?;
    let results: Vec<_> = pool.imap(odd_only, 0..20)?.collect();
    for (x, result) in results.into_iter().enumerate() {
        if x % 2 == 1 {
            assert_eq!(result?, x as u64);
        } else {
            let error = result.unwrap_err();
            assert!(error.is_panicked());
            assert_eq!(error.item(), Some(x));
            let panic = error.panic().expect("it panicked");
            assert_eq!(panic.message, format!("{x} is even"));
            assert!(panic.location.contains("pool.rs"));
            assert!(panic.backtrace.contains("odd_only"));
        }
    }
    let error = pool.map(odd_only, [1, 3, 4, 5, 6]).unwrap_err();
    assert_eq!(error.item(), Some(2));
    Ok(())
}

fn die_of_seven(x: u64) -> u64 {
    if x % 50 == 7 {
        std::process::abort();
    }
    x
}

#[test]
fn a_worker_that_dies_costs_only_its_own_item() -> Result<()> {
    for chunk in [1, 4, 100] {
        let pool = Pool::builder().workers(2).chunk(chunk).start()?;
        let results: Vec<_> = pool.imap(die_of_seven, 0..120)?.collect();
        for (x, result) in results.into_iter().enumerate() {
            if x % 50 == 7 {
                let error = result.unwrap_err();
                assert!(error.is_died(), "{error}");
                assert_eq!((error.item(), error.exit_code()), (Some(x), Some(-6)));
                assert!(error.to_string().contains("SIGABRT"), "{error}");
            } else {
                assert_eq!(result?, x as u64, "chunk {chunk}");
            }
        }
        assert_eq!(pool.map(square, [5])?, [25]);
    }
    Ok(())
}

#[test]
fn an_item_is_repeated_as_often_as_asked() -> Result<()> {
    fn die_until((attempts, at): (Queue<u32>, u32)) -> u32 {
        attempts.put(1).expect("it is open");
        if attempts.len() < at as usize {
            std::process::abort();
        }
        at
    }
    let pool = Pool::builder().workers(2).repeat(2).start()?;
    let attempts = Queue::new()?;
    assert_eq!(pool.submit(die_until, (attempts.clone(), 3))?.get()?, 3);
    let attempts = Queue::new()?;
    assert!(pool.submit(die_until, (attempts.clone(), 9))?.get().unwrap_err().is_died());
    assert_eq!(attempts.len(), 3);
    Ok(())
}

#[test]
fn workers_that_are_killed_at_any_moment_lose_nothing() -> Result<()> {
    fn slow(x: u64) -> u64 {
        std::thread::sleep(Duration::from_micros(200));
        x + 1
    }
    let pool = Pool::builder().workers(3).repeat(20).start()?;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        scope.spawn(|| {
            let mut round = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
                let pids = pool.pids();
                round += 1;
                if let Some(pid) = pids.get(round % pids.len().max(1)) {
                    let pid = rustix::process::Pid::from_raw(*pid as i32).expect("it is one");
                    // It may just have ended.
                    let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        });
        let results = pool.map(slow, 0..3000);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(results?.into_iter().eq(1..=3000));
        Ok(())
    })
}

#[test]
fn workers_are_replaced_after_their_limit() -> Result<()> {
    let pool = Pool::builder().workers(2).chunk(1).tasks_per_child(2).start()?;
    let pids = pool.map(|_: u64| std::process::id(), 0..100)?;
    let mut counts = std::collections::HashMap::new();
    pids.iter().for_each(|pid| *counts.entry(pid).or_insert(0) += 1);
    assert!(counts.values().all(|count| *count <= 2), "{counts:?}");
    assert!(counts.len() >= 50);
    Ok(())
}

#[test]
fn an_initializer_runs_first_and_its_panic_is_the_error_of_the_pool() -> Result<()> {
    static PREPARED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    fn prepare(text: String) {
        PREPARED.set(text).expect("once");
    }
    let pool = Pool::builder().workers(2).initializer(prepare, "ready".to_owned()).start()?;
    assert_eq!(
        pool.map(|()| PREPARED.get().cloned(), [(), ()])?,
        vec![Some("ready".to_owned()); 2]
    );

    let pool = Pool::builder().workers(2).initializer(|(): ()| panic!("no disk"), ()).start()?;
    let error = pool.map(square, 0..10).unwrap_err();
    assert!(
        error.to_string().contains("initializer") && error.to_string().contains("no disk"),
        "{error}"
    );
    assert!(pool.submit(square, 1).is_err() || pool.permit_is_gone());
    Ok(())
}

trait Gone {
    fn permit_is_gone(&self) -> bool;
}

impl Gone for Pool {
    fn permit_is_gone(&self) -> bool {
        self.map(square, [1]).is_err()
    }
}

#[test]
fn workers_that_die_at_once_end_the_pool_with_an_error() -> Result<()> {
    let pool =
        Pool::builder().workers(2).initializer(|(): ()| std::process::exit(9), ()).start()?;
    let error = pool.map(square, 0..10).unwrap_err();
    assert!(error.to_string().contains("exit code 9"), "{error}");
    Ok(())
}

#[test]
fn a_shared_value_comes_once_to_each_worker() -> Result<()> {
    let pool = Pool::new(2)?;
    for round in 0..5_u64 {
        let table: Vec<u64> = (0..50_000).map(|x| x * round).collect();
        let found = pool.map_with(
            &table,
            |table: &Vec<u64>, index: usize| table[index],
            (0..200).map(|x| x * 3),
        )?;
        assert!(found.into_iter().eq((0..200).map(|x| x * 3 * round)));
    }
    Ok(())
}

#[test]
fn submitted_calls_run_without_anybody_waiting() -> Result<()> {
    let pool = Pool::new(2)?;
    let queue = Queue::new()?;
    let tasks: Vec<_> = (0..50)
        .map(|x| {
            let put = |(queue, x): (Queue<u32>, u32)| queue.put(x).expect("it is open");
            pool.submit(put, (queue.clone(), x))
        })
        .collect::<Result<_>>()?;
    let mut seen: Vec<u32> = (0..50)
        .map(|_| queue.get_timeout(Duration::from_secs(20)))
        .map(|x| x.unwrap().unwrap())
        .collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..50));
    for task in tasks {
        task.get()?;
    }
    Ok(())
}

#[test]
fn a_result_is_waited_for_with_a_time_limit_and_a_call_is_cancelled() -> Result<()> {
    let pool = Pool::new(1)?;
    let sleep = |milliseconds| std::thread::sleep(Duration::from_millis(milliseconds));
    let mut first = pool.submit(sleep, 300)?;
    assert_eq!(first.get_timeout(Duration::from_millis(10))?, None);
    let late: Vec<_> = (0..100).map(|_| pool.submit(sleep, 10_000)).collect::<Result<_>>()?;
    let cancelled = late.into_iter().rev().filter_map(|task| task.cancel().then_some(())).count();
    assert!(cancelled >= 90, "{cancelled} of 100 were cancelled");
    assert_eq!(first.get_timeout(Duration::from_secs(20))?, Some(()));
    assert!(first.try_get().is_err());
    let start = Instant::now();
    drop(pool);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    Ok(())
}

#[test]
fn a_closed_pool_finishes_and_takes_no_more() -> Result<()> {
    let pool = Pool::new(2)?;
    let tasks: Vec<_> = (0..20).map(|x| pool.submit(square, x)).collect::<Result<_>>()?;
    pool.close();
    assert!(pool.map(square, [1]).unwrap_err().is_closed());
    pool.join()?;
    for (x, task) in (0..).zip(tasks) {
        assert_eq!(task.get()?, square(x));
    }
    Ok(())
}

#[test]
fn a_pool_that_is_ended_fails_what_it_has_not_done() -> Result<()> {
    let pool = Pool::new(2)?;
    let task = pool.submit(|()| std::thread::sleep(Duration::from_secs(60)), ())?;
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    pool.terminate();
    assert!(task.get().unwrap_err().is_closed());
    assert!(start.elapsed() < Duration::from_secs(10));
    Ok(())
}

#[test]
fn pools_work_inside_of_workers() -> Result<()> {
    fn outer(x: u64) -> u64 {
        let pool = Pool::new(2).expect("a pool in a worker");
        pool.map(square, 0..x).expect("it works").into_iter().sum()
    }
    let pool = Pool::new(2)?;
    assert_eq!(pool.map(outer, [3, 4, 5])?, [5, 14, 30]);
    Ok(())
}

#[test]
fn several_threads_use_one_pool() -> Result<()> {
    let pool = Pool::new(2)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|t| {
                scope.spawn({
                    let pool = &pool;
                    move || pool.map(square, t * 1000..t * 1000 + 500)
                })
            })
            .collect();
        for (t, thread) in (0..4_u64).zip(threads) {
            let results = thread.join().expect("it does not panic").expect("it works");
            assert!(results.into_iter().eq((t * 1000..t * 1000 + 500).map(square)));
        }
    });
    Ok(())
}

#[test]
fn a_killed_root_takes_the_workers_with_it() -> Result<()> {
    let pids = Queue::new()?;
    let root = |pids: Queue<Vec<u32>>| {
        let pool = Pool::new(3).expect("a pool");
        pids.put(pool.pids()).expect("it is open");
        let _never = pool.map(|()| std::thread::sleep(Duration::from_secs(60)), vec![(); 9]);
    };
    let process = Process::spawn(root, pids.clone())?;
    let workers = pids.get()?;
    std::thread::sleep(Duration::from_millis(100));
    process.kill()?;
    let until = Instant::now() + Duration::from_secs(10);
    // A process that has ended may stay in the table of the system until somebody asks for it.
    let runs = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    };
    while workers.iter().any(runs) {
        assert!(Instant::now() < until, "workers are left");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

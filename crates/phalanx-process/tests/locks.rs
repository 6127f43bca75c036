//! Locks between processes: exclusion, holders that die, misuse.

use std::time::{Duration, Instant};

use phalanx_process::{
    Condition, ErrorKind, FairLock, Lock, Process, Queue, RLock, Result, RwLock, Semaphore, Shared,
    SharedArray, SharedAtomic, current, lock_all,
};

const STEPS: u64 = 5_000;

/// A number that is read and written without a lock of its own.
type Number = SharedAtomic<u64>;

fn step(number: &Number) {
    let now = number.load();
    std::hint::black_box(now);
    number.store(now + 1);
}

fn count_in_processes<L>(lock: &L, count: fn((L, Number))) -> Result<u64>
where
    L: Clone + serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    let number = SharedAtomic::new(0)?;
    let processes: Vec<_> = (0..3)
        .map(|_| Process::spawn(count, (lock.clone(), number.clone())))
        .collect::<Result<_>>()?;
    for process in processes {
        process.join()?;
    }
    Ok(number.load())
}

#[test]
fn no_step_is_lost_under_any_kind_of_lock() -> Result<()> {
    let counted = count_in_processes(&Lock::new()?, |(lock, number)| {
        for _ in 0..STEPS {
            let _guard = lock.lock().unwrap();
            step(&number);
        }
    })?;
    assert_eq!(counted, 3 * STEPS, "Lock");
    let counted = count_in_processes(&RLock::new()?, |(lock, number)| {
        for _ in 0..STEPS {
            let _outer = lock.lock().unwrap();
            let _inner = lock.lock().unwrap();
            step(&number);
        }
    })?;
    assert_eq!(counted, 3 * STEPS, "RLock");
    let counted = count_in_processes(&RwLock::new()?, |(lock, number)| {
        for _ in 0..STEPS {
            drop(lock.read().unwrap());
            let _guard = lock.write().unwrap();
            step(&number);
        }
    })?;
    assert_eq!(counted, 3 * STEPS, "RwLock");
    let counted = count_in_processes(&FairLock::new()?, |(lock, number)| {
        for _ in 0..500 {
            let _guard = lock.lock().unwrap();
            step(&number);
        }
    })?;
    assert_eq!(counted, 3 * 500, "FairLock");
    Ok(())
}

#[test]
fn threads_of_one_process_exclude_each_other_too() -> Result<()> {
    let (lock, number) = (Lock::new()?, SharedAtomic::new(0_u64)?);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..STEPS {
                    let _guard = lock.lock().unwrap();
                    step(&number);
                }
            });
        }
    });
    assert_eq!(number.load(), 3 * STEPS);
    Ok(())
}

#[test]
fn a_guard_keeps_others_out_until_it_is_dropped() -> Result<()> {
    let lock = Lock::new()?;
    let guard = lock.lock()?;
    let tries = |lock: Lock| {
        let now = lock.try_lock().unwrap().is_none();
        let start = Instant::now();
        let later = lock.lock_timeout(Duration::from_millis(50)).unwrap().is_none();
        now && later && start.elapsed() >= Duration::from_millis(50)
    };
    assert!(Process::spawn(tries, lock.clone())?.join()?);
    drop(guard);
    let tries = |lock: Lock| lock.try_lock().unwrap().is_some();
    assert!(Process::spawn(tries, lock.clone())?.join()?);
    Ok(())
}

#[test]
fn a_thread_that_locks_again_is_told_the_line_of_the_first_lock() -> Result<()> {
    let lock = Lock::new()?;
    let line = line!() + 1;
    let _guard = lock.lock()?;
    for error in [
        lock.lock().unwrap_err(),
        lock.try_lock().unwrap_err(),
        lock.lock_timeout(Duration::from_secs(9)).unwrap_err(),
        lock.recover().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Deadlock);
        assert!(error.to_string().contains(&format!("locks.rs:{line}:")), "{error}");
    }
    Ok(())
}

fn hold_for_ever(held: impl Sized, ready: &Queue<()>) {
    ready.put(()).unwrap();
    loop {
        std::thread::park();
        std::hint::black_box(&held);
    }
}

/// A process that holds something, and is killed.
fn kill_a_holder<T>(object: &T, hold: fn((T, Queue<()>))) -> Result<()>
where
    T: Clone + serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    let ready = Queue::new()?;
    let holder = Process::builder().name("holder").spawn(hold, (object.clone(), ready.clone()))?;
    ready.get()?;
    holder.kill()?;
    holder.wait();
    Ok(())
}

#[test]
fn a_killed_holder_poisons_the_lock_for_all_until_it_is_recovered() -> Result<()> {
    let lock = Lock::new()?;
    let line = line!() + 2;
    kill_a_holder(&lock, |(lock, ready)| {
        hold_for_ever(lock.lock().unwrap(), &ready);
    })?;
    assert!(lock.is_poisoned());
    let error = lock.lock().unwrap_err();
    assert!(error.is_poisoned(), "{error}");
    let text = error.to_string();
    assert!(text.contains("`holder` (pid"), "{text}");
    assert!(text.contains(&format!("locks.rs:{line}:")), "{text}");
    let told = |lock: Lock| lock.try_lock().unwrap_err().is_poisoned();
    assert!(Process::spawn(told, lock.clone())?.join()?);
    drop(lock.recover()?);
    assert!(!lock.is_poisoned());
    drop(lock.lock()?);
    Ok(())
}

#[test]
fn those_who_wait_know_of_the_death_at_once() -> Result<()> {
    let (lock, ready) = (Lock::new()?, Queue::new()?);
    let holder = Process::spawn(
        |(lock, ready): (Lock, Queue<()>)| hold_for_ever(lock.lock().unwrap(), &ready),
        (lock.clone(), ready.clone()),
    )?;
    ready.get()?;
    let waiters: Vec<_> = (0..3)
        .map(|_| Process::spawn(|lock: Lock| lock.lock().unwrap_err().is_poisoned(), lock.clone()))
        .collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    holder.kill()?;
    assert!(lock.lock().unwrap_err().is_poisoned());
    for waiter in waiters {
        assert!(waiter.join()?);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    Ok(())
}

#[test]
fn a_holder_that_panics_or_exits_poisons_the_lock() -> Result<()> {
    let lock = Lock::new()?;
    let panics = |lock: Lock| -> () {
        let _guard = lock.lock().unwrap();
        panic!("with the lock");
    };
    assert!(Process::spawn(panics, lock.clone())?.join().unwrap_err().is_panicked());
    let error = lock.lock().unwrap_err();
    assert!(error.is_poisoned() && error.to_string().contains("panicked"), "{error}");
    drop(lock.recover()?);
    let exits = |lock: Lock| -> () {
        let _guard = lock.lock().unwrap();
        std::process::exit(3);
    };
    assert_eq!(Process::spawn(exits, lock.clone())?.wait(), 3);
    assert!(lock.lock().unwrap_err().is_poisoned());
    drop(lock.recover()?);
    // A panic that is over before the lock is taken is not its fault.
    let after = |lock: Lock| -> () {
        struct Locks(Lock);
        impl Drop for Locks {
            fn drop(&mut self) {
                drop(self.0.lock().unwrap());
            }
        }
        let _locks = Locks(lock);
        panic!("before the lock");
    };
    assert!(Process::spawn(after, lock.clone())?.join().is_err());
    drop(lock.lock()?);
    Ok(())
}

#[test]
fn a_name_is_known_also_when_the_place_of_the_dead_is_used_again() -> Result<()> {
    let lock = Lock::new()?;
    kill_a_holder(&lock, |(lock, ready)| hold_for_ever(lock.lock().unwrap(), &ready))?;
    for _ in 0..3 {
        Process::spawn(|()| (), ())?.join()?;
    }
    let text = lock.lock().unwrap_err().to_string();
    assert!(text.contains("`holder`"), "{text}");
    Ok(())
}

#[test]
fn a_killed_waiter_harms_nobody() -> Result<()> {
    let lock = Lock::new()?;
    let guard = lock.lock()?;
    let waiters: Vec<_> = (0..4)
        .map(|_| Process::spawn(|lock: Lock| drop(lock.lock().unwrap()), lock.clone()))
        .collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_millis(200));
    waiters[0].kill()?;
    waiters[2].kill()?;
    waiters[0].wait();
    waiters[2].wait();
    drop(guard);
    for (i, waiter) in waiters.into_iter().enumerate() {
        assert_eq!(waiter.join().is_ok(), i % 2 == 1);
    }
    drop(lock.lock()?);
    Ok(())
}

#[test]
fn an_rlock_counts_and_is_poisoned_like_a_lock() -> Result<()> {
    let lock = RLock::new()?;
    let free = |lock: RLock| lock.try_lock().unwrap().is_some();
    let outer = lock.lock()?;
    let inner = lock.try_lock()?.expect("it is ours");
    drop(outer);
    assert!(!Process::spawn(free, lock.clone())?.join()?);
    drop(inner);
    assert!(Process::spawn(free, lock.clone())?.join()?);
    kill_a_holder(&lock, |(lock, ready)| {
        let both = (lock.lock().unwrap(), lock.lock().unwrap());
        hold_for_ever(both, &ready);
    })?;
    assert!(lock.lock().unwrap_err().is_poisoned());
    drop(lock.recover()?);
    drop((lock.lock()?, lock.lock()?));
    assert!(Process::spawn(free, lock.clone())?.join()?);
    Ok(())
}

#[test]
fn readers_read_together_and_writers_alone() -> Result<()> {
    let lock = RwLock::new()?;
    let reader = lock.read()?;
    let can = |lock: RwLock| {
        let reads = lock.try_read().unwrap().is_some();
        (reads, lock.try_write().unwrap().is_some())
    };
    assert_eq!(Process::spawn(can, lock.clone())?.join()?, (true, false));
    assert!(lock.write().unwrap_err().is_deadlock());
    drop(reader);
    let writer = lock.write()?;
    assert_eq!(Process::spawn(can, lock.clone())?.join()?, (false, false));
    assert!(lock.read().unwrap_err().is_deadlock());
    drop(writer);
    assert_eq!(Process::spawn(can, lock.clone())?.join()?, (true, true));
    Ok(())
}

#[test]
fn a_writer_comes_before_readers_that_ask_later_but_not_before_one_that_reads() -> Result<()> {
    let (lock, written) = (RwLock::new()?, SharedAtomic::new(false)?);
    let reader = lock.read()?;
    let writer = Process::spawn(
        |(lock, written): (RwLock, SharedAtomic<bool>)| {
            let _guard = lock.write().unwrap();
            written.store(true);
        },
        (lock.clone(), written.clone()),
    )?;
    let blocked = |lock: RwLock| lock.try_read().unwrap().is_none();
    let start = Instant::now();
    while !Process::spawn(blocked, lock.clone())?.join()? {
        assert!(start.elapsed() < Duration::from_secs(10), "the writer does not come");
    }
    // This thread reads already.
    drop(lock.read()?);
    assert!(!written.load());
    drop(reader);
    writer.join()?;
    assert!(written.load());
    Ok(())
}

#[test]
fn a_killed_reader_gives_its_place_back_and_a_killed_writer_poisons() -> Result<()> {
    let lock = RwLock::new()?;
    kill_a_holder(&lock, |(lock, ready)| hold_for_ever(lock.read().unwrap(), &ready))?;
    assert!(lock.write_timeout(Duration::from_secs(5))?.is_some());
    assert!(!lock.is_poisoned());
    kill_a_holder(&lock, |(lock, ready)| hold_for_ever(lock.write().unwrap(), &ready))?;
    assert!(lock.read().unwrap_err().is_poisoned());
    assert!(lock.write().unwrap_err().is_poisoned());
    drop(lock.recover()?);
    drop(lock.read()?);
    drop(lock.write()?);
    Ok(())
}

#[test]
fn a_writer_killed_while_it_waits_for_readers_leaves_the_lock_sound() -> Result<()> {
    let lock = RwLock::new()?;
    let reader = lock.read()?;
    let writer = Process::spawn(|lock: RwLock| drop(lock.write().unwrap()), lock.clone())?;
    std::thread::sleep(Duration::from_millis(200));
    writer.kill()?;
    writer.wait();
    let reads = |lock: RwLock| lock.read_timeout(Duration::from_secs(5)).unwrap().is_some();
    assert!(Process::spawn(reads, lock.clone())?.join()?);
    drop(reader);
    assert!(lock.write_timeout(Duration::from_secs(5))?.is_some());
    Ok(())
}

#[test]
fn a_fair_lock_is_given_in_the_order_in_which_it_was_asked_for() -> Result<()> {
    let (lock, order) = (FairLock::new()?, Queue::new()?);
    let guard = lock.lock()?;
    let waits = |(lock, order, i): (FairLock, Queue<usize>, usize)| {
        let _guard = lock.lock().unwrap();
        order.put(i).unwrap();
    };
    let waiters: Vec<_> = (0..4)
        .map(|i| {
            let waiter = Process::spawn(waits, (lock.clone(), order.clone(), i));
            std::thread::sleep(Duration::from_millis(150));
            waiter
        })
        .collect::<Result<_>>()?;
    waiters[1].kill()?;
    waiters[1].wait();
    assert!(lock.lock().unwrap_err().is_deadlock());
    drop(guard);
    for i in [0, 2, 3] {
        assert_eq!(order.get_timeout(Duration::from_secs(10))?, Some(i));
    }
    for waiter in waiters {
        waiter.wait();
    }
    kill_a_holder(&lock, |(lock, ready)| hold_for_ever(lock.lock().unwrap(), &ready))?;
    assert!(lock.lock().unwrap_err().is_poisoned());
    drop(lock.recover()?);
    assert!(lock.try_lock()?.is_some());
    Ok(())
}

#[test]
fn locks_taken_together_are_never_a_deadlock() -> Result<()> {
    let (a, b) = (Lock::new()?, Lock::new()?);
    assert_eq!(lock_all([&a, &b, &a]).unwrap_err().kind(), ErrorKind::Argument);
    let takes = |(first, second): (Lock, Lock)| {
        for _ in 0..2_000 {
            let [one, two] = lock_all([&first, &second]).unwrap();
            drop((two, one));
        }
    };
    let processes =
        [Process::spawn(takes, (a.clone(), b.clone()))?, Process::spawn(takes, (b, a.clone()))?];
    for mut process in processes {
        assert!(process.join_timeout(Duration::from_secs(30))?.is_some());
    }
    drop(a.lock()?);
    Ok(())
}

#[test]
fn locks_taken_together_are_all_released_when_one_is_poisoned() -> Result<()> {
    let locks = [Lock::new()?, Lock::new()?, Lock::new()?];
    kill_a_holder(&locks[1], |(lock, ready)| hold_for_ever(lock.lock().unwrap(), &ready))?;
    assert!(lock_all(locks.each_ref()).unwrap_err().is_poisoned());
    drop(locks[1].recover()?);
    for lock in &locks {
        assert!(lock.try_lock()?.is_some());
    }
    Ok(())
}

#[test]
fn a_handle_says_which_it_is_and_is_equal_to_its_clones_only() -> Result<()> {
    let (a, b) = (Lock::new()?, Lock::new()?);
    assert_eq!(a, a.clone());
    assert_ne!(a, b);
    assert!(format!("{a:?}").starts_with("Lock "));
    assert!(serde_json::to_string(&a).is_err());
    let same = |(a, b): (Lock, Lock)| a == b;
    assert!(Process::spawn(same, (a.clone(), a))?.join()?);
    Ok(())
}

/// Locks, and dies at any moment.
fn work_until_killed((lock, value, array): (Lock, Shared<[u64; 2]>, SharedArray<u64>)) {
    loop {
        match lock.lock() {
            Ok(guard) => {
                match value.update(|pair| *pair = [pair[0] + 1, pair[1] + 1]) {
                    Ok(()) => {}
                    Err(_) => *value.recover().unwrap() = [0, 0],
                }
                if let Ok(mut part) = array.claim(1..3) {
                    part[0] += 1;
                    part[1] += 1;
                } else {
                    array.recover().unwrap().fill(0);
                }
                drop(guard);
            }
            Err(_) => drop(lock.recover().unwrap()),
        }
    }
}

#[test]
fn two_hundred_random_deaths_of_holders_and_waiters_stop_nobody() -> Result<()> {
    let (lock, value) = (Lock::new()?, Shared::new([0_u64; 2])?);
    let array = SharedArray::zeroed(4)?;
    let start = Instant::now();
    let spawn = || Process::spawn(work_until_killed, (lock.clone(), value.clone(), array.clone()));
    let mut workers = vec![spawn()?, spawn()?, spawn()?];
    let mut random = 1_u64;
    let mut kills = 0;
    while kills < 200 && (start.elapsed() < Duration::from_secs(5) || kills < 20) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros(random >> 51));
        let i = (random >> 33) as usize % workers.len();
        let victim = std::mem::replace(&mut workers[i], spawn()?);
        victim.kill()?;
        victim.wait();
        kills += 1;
        let limit = Duration::from_secs(5);
        match lock.lock_timeout(limit) {
            Ok(guard) => {
                assert!(guard.is_some(), "it hangs after {kills} deaths");
                let pair = value.lock_timeout(limit).map(|pair| *pair.expect("it hangs"));
                assert!(pair.is_err() || pair.is_ok_and(|pair| pair[0] == pair[1]));
                match array.claim_timeout(.., limit) {
                    Ok(values) => {
                        let values = values.expect("it hangs");
                        assert_eq!(values[1], values[2]);
                    }
                    Err(error) => assert!(error.is_poisoned(), "{error}"),
                }
            }
            Err(error) => {
                assert!(error.is_poisoned(), "{error}");
                drop(lock.recover()?);
            }
        }
    }
    for worker in workers {
        worker.kill()?;
        worker.wait();
    }
    assert_eq!(current().name(), "main");
    Ok(())
}

type Kinds = (RLock, RwLock, FairLock, Semaphore, Lock, Condition);

fn use_all_until_killed((rlock, rw, fair, permits, lock, condition): Kinds) {
    let mut i = 0_u32;
    loop {
        i += 1;
        match rlock.lock() {
            Ok(_outer) => drop(rlock.lock().unwrap()),
            Err(_) => drop(rlock.recover().unwrap()),
        }
        match if i.is_multiple_of(3) { rw.write().map(drop) } else { rw.read().map(drop) } {
            Ok(()) => {}
            Err(_) => drop(rw.recover().unwrap()),
        }
        match fair.lock() {
            Ok(guard) => drop(guard),
            Err(_) => drop(fair.recover().unwrap()),
        }
        drop(permits.acquire().unwrap());
        match lock.lock() {
            Ok(mut guard) => {
                condition.notify_one();
                let _told = condition.wait_timeout(&mut guard, Duration::from_micros(200));
            }
            Err(_) => drop(lock.recover().unwrap()),
        }
    }
}

#[test]
fn random_deaths_stop_none_of_the_other_kinds_either() -> Result<()> {
    let lock = Lock::new()?;
    let condition = Condition::new(&lock)?;
    let (rlock, rw, fair) = (RLock::new()?, RwLock::new()?, FairLock::new()?);
    let permits = Semaphore::bounded(2)?;
    let kinds = || {
        (rlock.clone(), rw.clone(), fair.clone(), permits.clone(), lock.clone(), condition.clone())
    };
    let start = Instant::now();
    let spawn = || Process::spawn(use_all_until_killed, kinds());
    let mut workers = vec![spawn()?, spawn()?, spawn()?];
    let (mut random, mut kills) = (7_u64, 0);
    while kills < 200 && (start.elapsed() < Duration::from_secs(4) || kills < 20) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros(random >> 51));
        let i = (random >> 33) as usize % workers.len();
        let victim = std::mem::replace(&mut workers[i], spawn()?);
        victim.kill()?;
        victim.wait();
        kills += 1;
        let limit = Duration::from_secs(5);
        let is_fine = |outcome: Result<bool>| match outcome {
            Ok(is_held) => is_held,
            Err(error) => error.is_poisoned(),
        };
        assert!(is_fine(rlock.lock_timeout(limit).map(|guard| guard.is_some())), "RLock");
        assert!(is_fine(rw.read_timeout(limit).map(|guard| guard.is_some())), "read");
        assert!(is_fine(rw.write_timeout(limit).map(|guard| guard.is_some())), "write");
        assert!(is_fine(fair.lock_timeout(limit).map(|guard| guard.is_some())), "FairLock");
        assert!(is_fine(permits.acquire_timeout(limit).map(|permit| permit.is_some())), "permit");
        assert!(is_fine(lock.lock_timeout(limit).map(|guard| guard.is_some())), "Lock");
    }
    for worker in workers {
        worker.kill()?;
        worker.wait();
    }
    let both = (permits.acquire_timeout(Duration::from_secs(5))?, permits.acquire()?);
    assert!(both.0.is_some() && permits.try_acquire()?.is_none());
    assert!(matches!(rw.write_timeout(Duration::from_secs(5)), Ok(Some(_)) | Err(_)));
    Ok(())
}
